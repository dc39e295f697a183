import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from './helper.ts'
import { freePort } from './process.ts'

/** A redis-server of a test's own. */
export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Runs a command with redis-cli, and returns what it prints. */
  cli (...args: string[]): string
  /** Sends its process a signal: SIGSTOP, SIGCONT … */
  signal (name: NodeJS.Signals): void
  /** Kills it; nothing is saved. */
  kill (): Promise<void>
  /** Starts it again on its port, with what it has on disk. */
  restart (): Promise<void>
}

/** Starts a Redis on a free port of the loopback address, without persistence unless `args` say otherwise; it ends with the test. */
export async function startRedis (t: Test, args: readonly string[] = []): Promise<RedisServer> {
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'fanfare-redis-'))
  let child: ChildProcess

  const cli = (...command: string[]): string => execFileSync('redis-cli', ['-p', String(port), ...command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trimEnd()
  const answers = (): boolean => {
    try {
      return cli('ping') === 'PONG'
    } catch {
      return false
    }
  }
  async function run (): Promise<void> {
    child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', ...args], { stdio: 'ignore' })
    await until(answers)
  }
  async function kill (): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  await run()
  t.teardown(async () => {
    await kill()
    rmSync(dir, { recursive: true, force: true })
  })
  return { port, url: `redis://127.0.0.1:${port}`, cli, signal: (name) => child.kill(name), kill, restart: run }
}
