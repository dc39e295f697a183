import { spawn, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Test } from 'tap'
import { until } from './helper.ts'

// Header and payload of a JWT, which begin as JSON objects do.
const TOKEN = /eyJ[\w-]{8,}\.eyJ/

const SERVER = ['dist/src/server.js']

/** A Fanfare server as a process of its own. */
export interface ServerProcess {
  child: ChildProcess
  url: string
  wsUrl: string
  /** All that it printed. */
  output: () => string
  /** Resolves with the exit code. */
  exit: Promise<number | null>
}

/**
 * A command that runs without what tap loads into every Node that a test starts, to see what it covers: 0.7 s of CPU and some
 * MiB for each. tap puts it into the environment of all children; only a program in between can take it out again.
 *
 * @example spawn(...bare(process.execPath, ['dist/src/server.js']))
 */
export function bare (command: string, args: readonly string[] = []): [command: string, args: string[]] {
  return ['/usr/bin/env', ['-u', 'NODE_OPTIONS', command, ...args]]
}

/**
 * A port that is free now, that the kernel gives to no client meanwhile (it takes theirs from 32,768 upwards), and that
 * `fetch` and browsers go to: 10,080 is none such.
 */
export async function freePort (): Promise<number> {
  for (;;) {
    // That of the bus of a Redis Cluster is 10,000 higher, and is none that is given out here.
    const port = randomInt(11_000, 20_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(() => true, () => false)
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

/** Runs the built server with these settings until it has ended by itself. */
export async function runToEnd (t: Test, settings: NodeJS.ProcessEnv, args = SERVER, cwd?: string): Promise<{ code: number | null, output: string }> {
  const { exit, output } = spawnServer(bare, t, args, settings, cwd)
  return { code: await exit, output: output() }
}

/** Starts the built server, or what else `args` say, and ends it with the test. Waits until its readiness has the status `ready`. */
export async function startProcess (t: Test, settings: NodeJS.ProcessEnv = {}, args?: string[], cwd?: string, ready?: number): Promise<ServerProcess> {
  return startBy(bare, t, settings, args, cwd, ready)
}

/** The same, for a test of what runs in a process of its own only: what it covers counts. */
export async function startCovered (t: Test, settings: NodeJS.ProcessEnv = {}, args?: string[]): Promise<ServerProcess> {
  return startBy((command, rest = []) => [command, [...rest]], t, settings, args)
}

async function startBy (how: typeof bare, t: Test, settings: NodeJS.ProcessEnv, args = SERVER, cwd?: string, ready = 200): Promise<ServerProcess> {
  const port = await freePort()
  const server = spawnServer(how, t, args, { PORT: String(port), ...settings }, cwd)
  const url = `http://127.0.0.1:${port}`
  // Nothing stays open that a test would count.
  await until(async () => hasEnded(server.child) || await fetch(`${url}/health/ready`, { headers: { connection: 'close' } }).then((answer) => answer.status === ready, () => false))
  if (hasEnded(server.child)) throw new Error(`The server ended: ${server.output()}`)
  return { ...server, url, wsUrl: `ws://127.0.0.1:${port}/ws` }
}

function hasEnded ({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

function spawnServer (how: typeof bare, t: Test, args: string[], settings: NodeJS.ProcessEnv, cwd?: string): Pick<ServerProcess, 'child' | 'output' | 'exit'> {
  const [command, rest] = args[0] === 'npm' ? ['npm', args.slice(1)] : [process.execPath, args]
  const child = spawn(...how(command, rest), { cwd, env: { ...process.env, ...settings }, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  const exit = once(child, 'close').then(([code]) => code as number | null)
  t.teardown(async () => {
    // The whole group: npm is not the server, it only started it.
    if (!hasEnded(child) && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    await exit
    // Of every server of every test: whatever is sent to it, no token is to be found in what it prints.
    if (TOKEN.test(printed)) throw new Error('the server has printed a token')
  })
  let printed = ''
  child.stdout.on('data', (chunk: Buffer) => { printed += String(chunk) })
  child.stderr.on('data', (chunk: Buffer) => { printed += String(chunk) })
  return { child, exit, output: () => printed }
}
