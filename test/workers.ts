import type { Test } from 'tap'
import { connect, until, type Client } from './helper.ts'
import { startProcess, type ServerProcess } from './process.ts'
import { startRedis, type RedisServer } from './redis.ts'

/** A line of the log. */
export interface LogLine { readonly pid: number, readonly msg: string, readonly address?: string, readonly time: number }

/** Fanfare with several workers, and the Redis that they share. */
export interface WorkersProcess extends ServerProcess {
  readonly redis: RedisServer
  /** The process that was started. */
  readonly primary: number
  /** What was logged with such a sentence, so far. */
  said: (sentence: RegExp) => LogLine[]
  /** Resolves when so many lines have such a sentence. */
  says: (sentence: RegExp, count?: number) => Promise<LogLine[]>
  /** Workers that listen, or have and still live, by their process ids. */
  workers: () => number[]
}

/** Starts workers and waits until all of them listen. */
export async function startWorkers (t: Test, count: number, settings: NodeJS.ProcessEnv = {}, args?: string[], start = startProcess): Promise<WorkersProcess> {
  const redis = await startRedis(t)
  const server = await start(t, { WORKERS: String(count), REDIS_URL: redis.url, DRAIN_TIMEOUT: '2', ...settings }, args)
  const said = (sentence: RegExp): LogLine[] => linesOf(server.output()).filter(({ msg }) => sentence.test(msg))
  const says = async (sentence: RegExp, count = 1): Promise<LogLine[]> => {
    await until(() => said(sentence).length >= count)
    return said(sentence)
  }
  const [all] = await says(/^Workers share the port/)
  // A worker that is not reaped by its parent would still count.
  const workers = (): number[] => said(/^Fanfare listens on/).map(({ pid }) => pid).filter(lives)
  // What they say of themselves may come after what is said of them.
  const expected = all?.msg.match(/\d+/g)?.length ?? 0
  await until(() => workers().length >= expected)
  return { ...server, redis, primary: server.child.pid as number, said, says, workers }
}

/** Whether there is such a process. */
export function lives (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Connects clients one by one, so that all workers get some, each from an address of its own: by it the log tells on which worker it is. */
export async function connectByAddress (t: Test, { wsUrl, says }: WorkersProcess, count: number, query = ''): Promise<{ client: Client, pid: number }[]> {
  const connected: { client: Client, pid: number }[] = []
  while (connected.length < count) {
    const localAddress = `127.${addressesUsed >> 8}.${addressesUsed++ & 255}.1`
    const client = await connect(t, wsUrl + query, { localAddress })
    connected.push({ client, pid: await workerOf(says, localAddress) })
  }
  return connected
}

// From 127.1.0.1 on, which nobody else has.
let addressesUsed = 256

async function workerOf (says: WorkersProcess['says'], address: string): Promise<number> {
  let line: LogLine | undefined
  await until(async () => {
    line = (await says(/^connection opened$/)).find((line) => line.address === address)
    return line !== undefined
  })
  return (line as LogLine).pid
}

function linesOf (output: string): LogLine[] {
  return output.split('\n').slice(0, -1).filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
}
