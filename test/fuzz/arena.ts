import { createHmac } from 'node:crypto'
import type { Test } from 'tap'
import { connect, type Client } from '../helper.ts'
import { KEY } from '../routes/api-client.ts'
import { startProbed, type Probed } from '../security/probed.ts'

const MOST_STALL_MS = 200
const MOST_MIB = 128
const ANSWER_MS = 3000

export const MAX_MESSAGE_BYTES = 4096
export const SECRET = 'a-secret-of-32-bytes-or-more-please'

/** A token of nobody in particular that both servers take. */
export const TOKEN = tokenOf({ alg: 'HS256', typ: 'JWT' }, { sub: 'fuzz', exp: 4_000_000_000 })

export function tokenOf (header: object, claims: object): string {
  const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`
}

/** A promise that does not hold. */
export class Violation extends Error {}

/** Resolves as the promise does, and rejects with a Violation if that takes too long. */
export async function inTime<Value> (what: string, promise: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Violation(`${what}: nothing for ${ANSWER_MS} ms`)), ANSWER_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** A server that is fed with hostile bytes, and a healthy client that it serves meanwhile. */
export class Arena {
  readonly server: Probed
  longestStallMs = 0
  readonly #t: Test
  readonly #healthyUrl: string
  #healthy!: Client
  #memory = 0
  #printed = 0

  private constructor (t: Test, server: Probed) {
    this.server = server
    this.#t = t
    this.#healthyUrl = `${server.wsUrl}?channel=healthy`
  }

  /** @param settings of the server */
  static async start (t: Test, settings: NodeJS.ProcessEnv): Promise<Arena> {
    const arena = new Arena(t, await startProbed(t, {
      API_KEY: KEY,
      MAX_HISTORY_BYTES: '8388608',
      MAX_MESSAGE_BYTES: String(MAX_MESSAGE_BYTES),
      CHANNELS_FILE: `${t.testdir({ 'rules.json': '[{"match":"typed:*","schema":{"type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}},{"match":"quiet:*","historySize":0,"presence":false}]' })}/rules.json`,
      ...settings
    }))
    await arena.#connect()
    await arena.server.probe(true)
    arena.#memory = arena.server.mark()
    return arena
  }

  /** Whether the server has ended: nothing more can be learned from it. */
  get dead (): boolean {
    return this.server.child.exitCode !== null || this.server.child.signalCode !== null
  }

  /** What is behind an error: what the server logged meanwhile, or its end, which takes a moment to be known. */
  async causeOf (error: Error): Promise<Error> {
    if ('code' in error) await inTime('the end of the server', this.server.exit).catch(() => {})
    const [logged] = this.server.errors().slice(-1)
    return this.dead ? this.#end() : logged ? new Violation(`the server logged ${logged}`) : error
  }

  /** What the server has grown by at most, in MiB. */
  get grownMiB (): number {
    return this.server.peak() - this.#memory
  }

  /**
   * Sees whether the server is as it should be.
   *
   * @throws {Violation}
   */
  async verify (): Promise<void> {
    if (this.dead) throw this.#end()
    const { length } = this.server.output()
    const [error] = length === this.#printed ? [] : this.server.errors().slice(-1)
    this.#printed = length
    if (error) throw new Violation(`the server logged ${error}`)
    await this.#servesHealthy()
    const { stallMs } = await inTime('the probe', this.server.probe())
    this.longestStallMs = Math.max(this.longestStallMs, stallMs)
    if (stallMs > MOST_STALL_MS) throw new Violation(`a stall of ${stallMs.toFixed(0)} ms`)
    if (this.grownMiB > MOST_MIB) throw new Violation(`memory + ${this.grownMiB.toFixed(0)} MiB`)
  }

  #end (): Violation {
    const { exitCode, signalCode } = this.server.child
    return new Violation(`the server has ended with ${exitCode ?? signalCode}: ${this.server.output().slice(-2000)}`)
  }

  async #servesHealthy (): Promise<void> {
    // The server API may disconnect it, by its right.
    if (this.#healthy.ws.readyState !== this.#healthy.ws.OPEN) await inTime('connecting', this.#connect())
    const client = this.#healthy
    client.heard.length = 0
    client.ws.send('healthy')
    const [text] = await inTime('the echo of a healthy client', client.hears(1))
    if (text !== 'healthy') throw new Violation(`a healthy client heard ${JSON.stringify(text)}`)
  }

  async #connect (): Promise<void> {
    this.#healthy = await connect(this.#t, this.#healthyUrl, { headers: { authorization: `Bearer ${TOKEN}` } })
  }
}

/** The arenas of a run: one that lets everyone in, and one that asks for tokens. */
export interface Arenas { readonly open: Arena, readonly guarded: Arena }

export async function startArenas (t: Test): Promise<Arenas> {
  const [open, guarded] = await Promise.all([
    Arena.start(t, {}),
    Arena.start(t, { TOKEN_HMAC_SECRET: SECRET, ALLOWED_ORIGINS: 'https://*.example.org', TRUST_PROXY: '127.0.0.1' })
  ])
  return { open, guarded }
}

/** One of the parsers that clients reach: what it is fed with, and what must hold of its answer. */
export interface Parser<Case> {
  readonly name: string
  readonly cases: import('fast-check').Arbitrary<Case>
  arenaOf (arenas: Arenas, fed: Case): Arena
  /** @throws {Violation} */
  feed (arena: Arena, fed: Case): Promise<void>
}
