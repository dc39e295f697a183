import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
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
  // A sentinel writes its state to its file, and cannot be told to save nothing.
  const file = join(dir, 'redis.conf')
  writeFileSync(file, args.includes('--sentinel') ? '' : 'save ""\n')
  let child: ChildProcess

  const cli = (...command: string[]): string => execFileSync('redis-cli', ['-p', String(port), ...command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trimEnd()
  const answers = (): boolean => {
    try {
      return /^(PONG|NOAUTH)/.test(cli('ping'))
    } catch {
      return false
    }
  }
  async function run (): Promise<void> {
    child = spawn('redis-server', [file, '--port', String(port), '--bind', '127.0.0.1', '--dir', dir, ...args], { stdio: 'ignore' })
    // Rejects where there is no redis-server.
    await once(child, 'spawn')
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

/** Starts a Redis Cluster of three, each with so many replicas that know all it does, and returns its address. */
export async function startRedisCluster (t: Test, replicas = 0): Promise<{ servers: RedisServer[], url: string }> {
  const options = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--repl-diskless-sync-delay', '0']
  const servers = await Promise.all(Array.from({ length: 3 * (1 + replicas) }, () => startRedis(t, options)))
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`)
  // It takes seconds, in which what others do in this process must go on.
  await promisify(execFile)('redis-cli', ['--cluster', 'create', ...hosts, '--cluster-replicas', String(replicas), '--cluster-yes'])
  await until(() => servers.every(({ cli }) => cli('cluster', 'info').includes('cluster_state:ok')))
  await replicated(servers, 3 * replicas)
  return { servers, url: `redis+cluster://${hosts.join(',')}` }
}

/** Resolves as soon as so many replicas have all that their masters have done: what only a master has is gone with it. */
export async function replicated (servers: readonly RedisServer[], replicas: number): Promise<void> {
  await until(() => {
    const infos = servers.map(({ cli }) => cli('info', 'replication')).filter((info) => info.includes('role:master'))
    // A replica whose link is up may yet be sent nothing: its master waits for its first acknowledgement, up to a second.
    const upToDate = infos.flatMap((info) => [...info.matchAll(/^slave\d+:.*state=online,offset=(\d+)/gm)].filter(([_line, offset]) => info.includes(`master_repl_offset:${offset}\r`)))
    return upToDate.length === replicas
  })
}

/** Starts a master, its replica, and a sentinel that watches them. */
export async function startSentinel (t: Test): Promise<{ master: RedisServer, replica: RedisServer, sentinel: RedisServer, url: string }> {
  const master = await startRedis(t)
  const replica = await startRedis(t, ['--replicaof', '127.0.0.1', String(master.port)])
  const sentinel = await startRedis(t, ['--sentinel'])
  sentinel.cli('sentinel', 'monitor', 'main', '127.0.0.1', String(master.port), '1')
  sentinel.cli('sentinel', 'set', 'main', 'down-after-milliseconds', '1000')
  sentinel.cli('sentinel', 'set', 'main', 'failover-timeout', '5000')
  await replicated([master, replica], 1)
  await until(() => sentinel.cli('sentinel', 'replicas', 'main').includes(String(replica.port)))
  return { master, replica, sentinel, url: `redis+sentinel://127.0.0.1:${sentinel.port}/main` }
}
