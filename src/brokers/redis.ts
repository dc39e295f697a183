import type { PluginSettings } from '../config.ts'
import { fanfareError } from '../errors.ts'
import type { Position, Publication } from '../hub/publication.ts'
import type { Broker, BrokerListener, History, HistoryQuery, Member, PresenceChange, PublishOptions } from './broker.ts'
import { Feed } from './feed.ts'
import { Availability, available, type Log } from './redis/availability.ts'
import { Calls } from './redis/calls.ts'
import { decodeHeard } from './redis/codec.ts'
import { Hearing } from './redis/hearing.ts'
import { Keys } from './redis/keys.ts'
import { RedisLink } from './redis/link.ts'
import { Outbox, type SendBatch } from './redis/outbox.ts'
import { QuietChannels } from './redis/quiet-channels.ts'
import { within } from './redis/within.ts'
import { Writes } from './redis/writes.ts'
import { parseRedisUrl, type RedisPlace } from './redis-url.ts'

// A channel that nobody is in any more is heard a little longer, as clients that were cut come back.
const LINGER_MS = 5000
const LOOK_MS = 1000
// Calls for one channel that are sent before the first of them is answered: each of the senders of a moment is heard soon.
const CALLS_UNDER_WAY = 4
// How long somebody who wants to join waits for a channel to be heard.
const JOIN_TIMEOUT_MS = 2000

type RedisSettings = Pick<PluginSettings, 'redisUrl' | 'redisPrefix' | 'redisShardedPubsub'>

interface Followed { readonly feed: Feed, heard: boolean, linger: NodeJS.Timeout | undefined, readonly onLive: (() => void)[] }

/** The broker of a cluster: Redis orders, stores and passes on; what it loses on the way to this node is fetched again. */
export class RedisBroker implements Broker {
  readonly name = 'Redis'
  readonly shared = true
  readonly #log: Log
  readonly #availability: Availability
  readonly #sharded: RedisSettings['redisShardedPubsub']
  readonly #keys: Keys
  readonly #place: RedisPlace
  readonly #feeds = new Map<string, Followed>()
  readonly #quiet = new QuietChannels<Followed>({
    channels: this.#feeds,
    fetch: (followed) => this.#fetch(followed),
    onUnheard: (channel) => this.#hearing.add(this.#keys.pubSub(channel))
  })

  readonly #outbox: Outbox
  readonly #writes: Writes
  /** Decided when Redis is first reached: who hears one way must not publish the other. Outside of a cluster it would change nothing. */
  #isSharded = false
  #listener!: BrokerListener
  #link!: RedisLink
  #calls!: Calls
  #hearing!: Hearing
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor ({ redisUrl, redisPrefix, redisShardedPubsub }: RedisSettings, log: Log) {
    this.#place = parseRedisUrl(redisUrl) as RedisPlace
    this.#keys = new Keys(redisPrefix, this.#place.db)
    this.#sharded = redisShardedPubsub
    this.#log = log
    this.#availability = new Availability(log)
    // Of two calls to a cluster the first may be sent on to another server, and come second.
    const underWay = this.#place.kind === 'cluster' ? 1 : CALLS_UNDER_WAY
    this.#outbox = new Outbox((channel, batch, timeoutMs) => this.#publish(channel, batch, timeoutMs), underWay)
    this.#writes = new Writes((channel) => this.#link.attempt(this.#keys.attempt(channel)), log)
  }

  get trouble (): string | undefined {
    const { reason } = this.#availability
    if (reason !== undefined) return `Redis is away: ${reason}`
    const { refusal } = this.#writes
    return refusal === undefined ? undefined : `Redis refuses to write: ${refusal}`
  }

  async start (listener: BrokerListener): Promise<void> {
    this.#listener = listener
    let started = false
    this.#link = new RedisLink(this.#place, {
      onUp: () => {
        if (!started) {
          this.#isSharded = this.#sharded === 'on' || (this.#sharded === 'auto' && this.#link.canShard)
          this.#hearing.start(this.#isSharded)
        }
        started = true
        this.#noteUp()
      },
      onDown: (reason) => this.#noteDown(reason)
    })
    this.#calls = new Calls({ link: this.#link, keys: this.#keys, isSharded: () => this.#isSharded })
    this.#hearing = new Hearing(this.#link, this.#keys.control, {
      onMessage: (name, message) => this.#receive(name, message),
      onHeard: (names) => { for (const name of names) this.#heard(name) },
      onUp: () => this.#noteUp(),
      onDown: (reason, names) => {
        for (const name of names) this.#unheard(name)
        this.#noteDown(reason)
      }
    })
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
  }

  async close (): Promise<void> {
    await this.#outbox.idle()
    this.#closed = true
    clearInterval(this.#timer)
    for (const { linger } of this.#feeds.values()) clearTimeout(linger)
    this.#feeds.clear()
    this.#hearing.close()
    this.#link.close()
  }

  publish (channel: string, publication: Publication, options: PublishOptions): Promise<Position> {
    if (!this.#link.up) return Promise.reject(fanfareError('FANFARE_UNAVAILABLE', this.#availability.reason ?? 'not connected'))
    return this.#outbox.publish(channel, publication, options)
  }

  subscribe (channel: string): Promise<void> | undefined {
    let followed = this.#feeds.get(channel)
    if (!followed) {
      followed = { feed: new Feed(channel, (query) => this.#calls.read(channel, query, true), this.#listener), heard: false, linger: undefined, onLive: [] }
      this.#feeds.set(channel, followed)
      this.#hearing.add(this.#keys.pubSub(channel))
    }
    clearTimeout(followed.linger)
    followed.linger = undefined
    if (followed.heard && followed.feed.live) return
    const { reason } = this.#availability
    if (reason !== undefined) return Promise.reject(fanfareError('FANFARE_UNAVAILABLE', reason))
    const { heard, onLive } = followed
    const live = new Promise<void>((resolve) => onLive.push(resolve))
    // Somebody else may be fetching, who does not know who waits here.
    if (heard) this.#fetch(followed)
    return available(within(JOIN_TIMEOUT_MS, live))
  }

  unsubscribe (channel: string): void {
    const followed = this.#feeds.get(channel)
    if (!followed || followed.linger) return
    followed.linger = setTimeout(() => {
      this.#feeds.delete(channel)
      this.#hearing.remove(this.#keys.pubSub(channel))
    }, LINGER_MS).unref()
  }

  async history (channel: string, query: HistoryQuery): Promise<History> {
    return available((async () => {
      const history = await this.#calls.read(channel, query)
      const { publications, position } = history
      const feed = this.#feeds.get(channel)?.feed
      // Only the end of a history can be ahead of what is delivered.
      if (!feed || query.limit === 0 || query.reverse || feed.reached(position)) return history
      if (publications.length > 0 && publications.at(-1)?.position?.offset !== position.offset) return history
      if (feed.offer({ epoch: position.epoch, publications }) && feed.reached(position)) return history
      await feed.fetch()
      // What was being fetched already may have been read before this history; what is fetched now is not.
      if (!feed.reached(position)) await feed.fetch()
      return history
    })())
  }

  async removeHistory (channel: string): Promise<void> {
    await available(this.#link.delete(this.#keys.stream(channel)))
  }

  async updatePresence (channel: string, { joined, left }: PresenceChange, ttl: number): Promise<void> {
    const facts = joined.flatMap((member) => [member.client, JSON.stringify(member)])
    await available(this.#link.run('update-presence', this.#keys.presence(channel), [Math.ceil(ttl), joined.length, ...facts, ...left]))
  }

  async presence (channel: string): Promise<Member[]> {
    const members = await available(this.#link.run('presence', this.#keys.presence(channel), [])) as Buffer[]
    return members.map((facts) => JSON.parse(facts.toString()) as Member)
  }

  async send (message: string): Promise<void> {
    await available(this.#link.publish(this.#keys.control, message))
  }

  async #publish (...call: Parameters<SendBatch>): Promise<Position[]> {
    try {
      const positions = await this.#calls.publish(...call)
      this.#writes.succeeded(call[0])
      return positions
    } catch (error) {
      this.#writes.failed(call[0], error as Error)
      throw error
    }
  }

  // Anybody who may use this Redis can publish anything there, and a node of another version something else.
  #receive (name: string, message: Buffer): void {
    const feed = this.#feeds.get(this.#keys.channelOf(name))?.feed
    try {
      if (name === this.#keys.control) this.#listener.control(message.toString())
      else feed?.receive(decodeHeard(message))
    } catch (error) {
      this.#log.warn(`What came from Redis in ${JSON.stringify(name)} was not written by this version of Fanfare: ${(error as Error).message}`)
      feed?.check()
    }
  }

  #heard (name: string): void {
    const followed = this.#feeds.get(this.#keys.channelOf(name))
    if (!followed) return
    followed.heard = true
    followed.feed.doubt()
    this.#fetch(followed)
  }

  #unheard (name: string): void {
    const followed = this.#feeds.get(this.#keys.channelOf(name))
    if (!followed) return
    followed.heard = false
    followed.feed.doubt()
  }

  async #fetch ({ feed, onLive }: Followed): Promise<void> {
    await feed.fetch().then(() => { for (const resolve of onLive.splice(0)) resolve() }, () => {})
  }

  #look (): void {
    this.#noteUp()
    if (!this.#link.up) return
    this.#writes.look()
    this.#quiet.look()
  }

  #noteUp (): void {
    if (this.#link.up && this.#hearing.up && this.#availability.up()) this.#listener.reachable()
  }

  #noteDown (reason: string): void {
    if (!this.#closed) this.#availability.down(reason)
  }
}
