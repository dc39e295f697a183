import { readFileSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import type { Test } from 'tap'
import { startProcess, type ServerProcess } from '../process.ts'

const ERROR_LEVEL = 50

/** What a server process holds, and for how long its loop stood still since that was asked last. */
export interface Holding {
  readonly connections: number
  readonly channels: number
  readonly waitingBytes: number
  /** Open files, that of the question among them. */
  readonly fds: number
  /** Timers, sockets and the like by kind. */
  readonly resources: Readonly<Record<string, number>>
  readonly heapUsed: number
  readonly stallMs: number
}

/** A server process that tells what it costs. */
export interface Probed extends ServerProcess {
  readonly port: number
  /** Asks what it holds. With `gc` it collects its garbage first. */
  probe (gc?: boolean): Promise<Holding>
  /** Memory that it has now, in MiB; `peak` counts from here. */
  mark (): number
  /** The most memory that it has had since `mark`, in MiB. */
  peak (): number
  /** What it has logged as an error. */
  errors (): string[]
}

/** A folder with the probe, and with this plugin too. */
export function routesWith (t: Test, plugin: string): string {
  return t.testdir({ 'probe.js': readFileSync(join(import.meta.dirname, 'routes/probe.js'), 'utf8'), 'plugin.js': plugin })
}

/** Starts the built server with a probe inside, which logs warnings and errors alone unless `settings` say otherwise. */
export async function startProbed (t: Test, settings: NodeJS.ProcessEnv = {}): Promise<Probed> {
  const server = await startProcess(t, { LOG_LEVEL: 'warn', ROUTES_DIR: join(import.meta.dirname, 'routes'), ...settings }, ['--expose-gc', 'dist/src/server.js'])
  const { pid } = server.child
  const status = (key: string): number => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  return {
    ...server,
    port: Number(new URL(server.url).port),
    probe: (gc = false) => new Promise((resolve, reject) => {
      get(`${server.url}/probe${gc ? '?gc=1' : ''}`, { agent: false }, (answer) => { json(answer).then((holding) => resolve(holding as Holding), reject) }).on('error', reject)
    }),
    mark: () => {
      writeFileSync(`/proc/${pid}/clear_refs`, '5')
      return status('VmRSS')
    },
    peak: () => status('VmHWM'),
    errors: () => server.output().split('\n').filter((line) => line !== '' && levelOf(line) >= ERROR_LEVEL)
  }
}

// What is no line of the log is printed by Node itself.
function levelOf (line: string): number {
  try {
    return (JSON.parse(line) as { level: number }).level
  } catch {
    return line.includes('ExperimentalWarning') || line.includes('--trace-warnings') ? 0 : Infinity
  }
}
