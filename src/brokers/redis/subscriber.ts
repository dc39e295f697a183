import type { Redis } from 'ioredis'
import { CLOSED, PROBE_MS, PROBE_TIMEOUT_MS, reasonOf } from './link.ts'
import { within } from './within.ts'

// So many channels are subscribed to with one command.
const CHANNELS_AT_ONCE = 200
const FIRST_RETRY_MS = 50
const LONGEST_RETRY_MS = 1000

/** What is heard, and when that can be relied on. */
export interface SubscriberEvents {
  onMessage (channel: string, message: Buffer): void
  /** The channels are heard from now on; what was published before may have been missed. */
  onHeard (channels: readonly string[]): void
  onUp (): void
  /** @param channels that are not heard any more */
  onDown (reason: string, channels: Iterable<string>): void
}

/** One connection on which channels are heard, made anew whenever it is lost. */
export class Subscriber {
  readonly #connect: () => Redis
  readonly #sharded: boolean
  readonly #events: SubscriberEvents
  readonly #channels = new Set<string>()
  readonly #come = new Set<string>()
  readonly #gone = new Set<string>()
  readonly #timer: NodeJS.Timeout
  #redis: Redis
  #asked = false
  /** Whether Redis has refused to let it hear something. */
  #refused = false
  #failures = 0
  #closed = false
  #retry: NodeJS.Timeout | undefined

  /**
   * @param connect makes a connection that does not reconnect by itself
   * @param sharded whether channels are those of SPUBLISH
   */
  constructor (connect: () => Redis, sharded: boolean, events: SubscriberEvents) {
    this.#connect = connect
    this.#sharded = sharded
    this.#events = events
    this.#redis = this.#open()
    this.#timer = setInterval(() => this.#probe(), PROBE_MS).unref()
  }

  get up (): boolean {
    return this.#isConnected && !this.#refused
  }

  get #isConnected (): boolean {
    return this.#redis.status === 'ready'
  }

  /** How many channels it is to hear. */
  get size (): number {
    return this.#channels.size
  }

  /** Hears a channel from soon on: `onHeard` says when. */
  add (channel: string): void {
    this.#channels.add(channel)
    this.#gone.delete(channel)
    this.#come.add(channel)
    this.#askSoon()
  }

  remove (channel: string): void {
    if (!this.#channels.delete(channel)) return
    this.#come.delete(channel)
    this.#gone.add(channel)
    this.#askSoon()
  }

  close (): void {
    this.#closed = true
    clearInterval(this.#timer)
    clearTimeout(this.#retry)
    this.#redis.disconnect()
  }

  #open (): Redis {
    const redis = this.#connect()
    redis.on('error', (error: Error) => { if (redis === this.#redis) this.#events.onDown(reasonOf(error), []) })
    redis.on('ready', () => {
      this.#failures = 0
      this.#events.onUp()
      for (const channel of this.#channels) this.#come.add(channel)
      this.#gone.clear()
      this.#askSoon()
    })
    redis.on('end', () => this.#reopen())
    redis.on(this.#sharded ? 'smessageBuffer' : 'messageBuffer', (channel: Buffer, message: Buffer) => this.#events.onMessage(channel.toString(), message))
    return redis
  }

  #reopen (): void {
    if (this.#closed) return
    this.#events.onDown(CLOSED, this.#channels)
    const pause = Math.min(FIRST_RETRY_MS * 2 ** this.#failures++, LONGEST_RETRY_MS) * (0.5 + Math.random() / 2)
    this.#retry = setTimeout(() => { this.#redis = this.#open() }, pause)
  }

  // What comes and goes in one turn of the loop goes to Redis together.
  #askSoon (): void {
    if (this.#asked) return
    this.#asked = true
    setImmediate(() => {
      this.#asked = false
      if (!this.#isConnected) return
      for (const channels of this.#commandsFor(this.#gone)) this.#unsubscribe(channels)
      for (const channels of this.#commandsFor(this.#come)) this.#subscribe(channels)
    })
  }

  // Sharded channels can share a command only if they belong to the same slot, which they hardly ever do.
  #commandsFor (channels: Set<string>): string[][] {
    const all = Array.from(channels)
    channels.clear()
    const size = this.#sharded ? 1 : CHANNELS_AT_ONCE
    return Array.from({ length: Math.ceil(all.length / size) }, (_none, index) => all.slice(index * size, (index + 1) * size))
  }

  async #subscribe (channels: string[]): Promise<void> {
    const redis = this.#redis
    try {
      await within(PROBE_TIMEOUT_MS, this.#sharded ? redis.ssubscribe(...channels) : redis.subscribe(...channels))
      this.#events.onHeard(channels.filter((channel) => this.#channels.has(channel)))
      if (!this.#refused) return
      this.#refused = false
      this.#events.onUp()
    } catch (error) {
      // On a new connection all is asked for again. Otherwise the channels of a cluster are on the move, Redis is slow, or an ACL forbids it.
      if (redis !== this.#redis || !this.#isConnected) return
      if (/\bNOPERM\b/.test((error as Error).message)) {
        this.#refused = true
        this.#events.onDown(reasonOf(error as Error), [])
      }
      setTimeout(() => {
        for (const channel of channels) if (this.#channels.has(channel)) this.#come.add(channel)
        this.#askSoon()
      }, LONGEST_RETRY_MS).unref()
    }
  }

  #unsubscribe (channels: string[]): void {
    const asked = this.#sharded ? this.#redis.sunsubscribe(...channels) : this.#redis.unsubscribe(...channels)
    asked.catch(() => {})
  }

  async #probe (): Promise<void> {
    const redis = this.#redis
    if (!this.#isConnected) return
    try {
      await within(PROBE_TIMEOUT_MS, redis.ping())
    } catch {
      redis.disconnect()
    }
  }
}
