import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { WebSocket, type ClientOptions } from 'ws'
import fanfare, { type FanfareOptions } from '../src/app.ts'

/** A Fanfare app that listens on a free port. */
export interface Running {
  app: FastifyInstance
  url: string
  wsUrl: string
}

/** Builds an app that closes itself at the end of the test. */
export async function build (t: Test, options: FanfareOptions = {}, server: FastifyServerOptions = {}): Promise<FastifyInstance> {
  // Loading compiles the sources; beside other tests that may take longer than the 10 s that Fastify waits.
  const app = fastify({ pluginTimeout: 60_000, ...server })
  t.teardown(() => app.close())
  await app.register(fanfare, { drainTimeout: 2, ...options })
  return app
}

/** Starts an app on a free port of the loopback address. */
export async function start (t: Test, options: FanfareOptions = {}, server: FastifyServerOptions = {}): Promise<Running> {
  return listen(await build(t, options, server))
}

/** The same, and waits until it can publish: Redis may be there only later. */
export async function startReady (t: Test, options: FanfareOptions = {}): Promise<Running> {
  const running = await start(t, options)
  await until(() => running.app.connections.trouble === undefined)
  return running
}

/** Makes a built app listen. */
export async function listen (app: FastifyInstance): Promise<Running> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return { app, url: `http://127.0.0.1:${port}`, wsUrl: `ws://127.0.0.1:${port}/ws` }
}

/** A real client that keeps what it hears. */
export class Client {
  readonly ws: WebSocket
  readonly heard: { data: Buffer, binary: boolean }[] = []
  readonly #waiting = new Set<() => void>()
  readonly #closed: Promise<{ code: number, reason: string }>

  constructor (url: string, options: ClientOptions = {}) {
    this.ws = new WebSocket(url, options)
    this.ws.on('error', () => {})
    this.#closed = new Promise((resolve) => this.ws.on('close', (code, reason) => resolve({ code, reason: String(reason) })))
    this.ws.on('message', (data: Buffer, binary) => {
      this.heard.push({ data, binary })
      for (const look of this.#waiting) look()
    })
  }

  get texts (): string[] {
    return this.heard.map(({ data }) => String(data))
  }

  /** Resolves as soon as it has heard so many messages, with their texts; rejects with the close code if it is closed before. */
  async hears (count: number): Promise<string[]> {
    if (this.heard.length < count) {
      await new Promise<void>((resolve, reject) => {
        const look = (): void => {
          if (this.heard.length < count) return
          this.#waiting.delete(look)
          resolve()
        }
        this.#waiting.add(look)
        this.#closed.then((close) => reject(Object.assign(new Error(`closed after ${this.heard.length} of ${count}: ${close.code} ${close.reason}`), close)))
      })
    }
    return this.texts
  }

  /** Resolves with close code and reason, also after it has closed. */
  async closed (): Promise<{ code: number, reason: string }> {
    return this.#closed
  }
}

/** Connects a client, and ends it with the test. */
export async function connect (t: Test, url: string, options: ClientOptions = {}): Promise<Client> {
  const client = new Client(url, options)
  t.teardown(() => client.ws.terminate())
  await once(client.ws, 'open')
  return client
}

/** Connects many. */
export async function connectMany (t: Test, url: string, count: number, options: ClientOptions = {}): Promise<Client[]> {
  return Promise.all(Array.from({ length: count }, () => connect(t, url, options)))
}

/** The HTTP status, and the body, with which an upgrade is refused; 101 if it is not. */
export async function refusal (url: string, options: ClientOptions = {}, protocols: string[] = []): Promise<{ status: number, body: string }> {
  const ws = new WebSocket(url, protocols, options)
  return new Promise((resolve, reject) => {
    ws.on('error', reject)
    ws.on('open', () => {
      ws.terminate()
      resolve({ status: 101, body: '' })
    })
    ws.on('unexpected-response', (_request, response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => { body += String(chunk) })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
  })
}

const LONGEST_WAIT_MS = 120_000

/** Looks again every few milliseconds until a condition holds that nothing announces; throws if that does not come within minutes. */
export async function until (holds: () => boolean | Promise<boolean>): Promise<void> {
  const from = performance.now()
  while (!await holds()) {
    if (performance.now() - from > LONGEST_WAIT_MS) throw new Error(`within ${LONGEST_WAIT_MS / 1000} s this did not come true: ${holds}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const TURN_MS = 5
const LONGEST_TURN_MS = 25

/**
 * Begins to count the milliseconds in which this process runs. For bounds that a busy machine could break alone: a time in
 * which nothing ran is no delay of what is measured, and counts as one turn.
 *
 * @returns stops, and gives them
 */
export function stopwatch (): () => number {
  let [counted, turnAt] = [0, performance.now()]
  const turn = (): void => {
    const now = performance.now()
    counted += Math.min(now - turnAt, LONGEST_TURN_MS)
    turnAt = now
  }
  const timer = setInterval(turn, TURN_MS)
  return () => {
    clearInterval(timer)
    turn()
    return counted
  }
}

/** The value that so large a share of the values does not exceed: 0.5 is the median; NaN of none. */
export function percentile (values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? NaN
}
