import { actOnAll } from './act-on-all.ts'
import type { ChannelBehaviour, SlowReceiver } from './channel-rules.ts'
import type { Connection } from './connection.ts'
import { prepareAll, type Encoding } from './encoding.ts'
import type { Publication } from './publication.ts'
import type { Transport } from './transport.ts'
import type { WaitingAnswer } from './waiting-answers.ts'

// So many subscribers are looked at before the first of them is written to: what has to come from memory for them then
// comes together, and not each between two writes. With `transport` and `encoding` of Subscription it saves 2 % of a write.
const LOOKED_AT = 8

/** One connection in one channel. */
export interface Subscription {
  readonly connection: Connection
  /** Those of the connection, which a flush need not look at then. */
  readonly transport: Transport
  readonly encoding: Encoding
  readonly channel: Channel
  /** Whether the connection hears what it published itself. */
  readonly echo: boolean
  /** Number in the channel's log up to which it has been written to the connection. */
  next: number
  /** Publications that it did not get because it was too slow, and has not been told of. */
  skipped: number
  /** Answers that must not come before what it lacks. */
  answers: WaitingAnswer[] | undefined
}

type Deliver = (subscription: Subscription, bytes: Buffer, count: number, mayLag: boolean) => void
interface Encoded { readonly encoding: Encoding, readonly from: number, readonly to: number, readonly bytes: Buffer }

/**
 * The subscribers of one channel, and a log of the publications that not all of them have yet.
 *
 * Every subscription knows how far into the log it has been written. That number keeps the order right without any
 * further rule: who joins starts at the end of the log; who must be told something directly is first brought to the
 * end of it; a flush may stop half-way through the subscribers and go on later; nobody gets a publication twice.
 */
export class Channel {
  readonly name: string
  readonly slowReceiver: SlowReceiver
  /** Whether it is to be known who is here. */
  readonly presence: boolean
  readonly subscriptions = new Set<Subscription>()
  /** Each gets what is published while somebody who is about to join reads the history. */
  readonly collectors = new Set<Publication[]>()
  /** How many are about to join. */
  joining = 0
  /** How often publications were lost to all who are here. */
  losses = 0
  readonly #log: Publication[] = []
  readonly #encodings = new Map<Encoding, number>()
  #publishers = new Set<string | undefined>()
  #start = 0
  /** Numbers in the log, ascending, of what an encoding still prepares. */
  readonly #preparing = new Set<number>()
  readonly #encoded = new Map<Encoding, Encoded[]>()
  #latest: Encoded | undefined
  #flush: { readonly to: number, readonly rest: Iterator<Subscription, undefined> } | undefined

  constructor (name: string, { slowReceiver, presence }: ChannelBehaviour) {
    this.name = name
    this.slowReceiver = slowReceiver
    this.presence = presence
  }

  /** Whether nobody is there or about to come. */
  get idle (): boolean {
    return this.subscriptions.size === 0 && this.joining === 0
  }

  /** Whether there is something to flush now. */
  get hasMore (): boolean {
    return this.ready > this.#start
  }

  /** Publications that not all have yet. */
  get pending (): number {
    return this.#log.length
  }

  /** Number up to which the log can be flushed: nothing overtakes what is still being prepared. */
  get ready (): number {
    return this.#preparing.values().next().value ?? this.end
  }

  /** Number that the next publication will have. */
  get end (): number {
    return this.#start + this.#log.length
  }

  join (connection: Connection, echo: boolean): Subscription {
    const { transport, encoding } = connection
    const subscription = { connection, transport, encoding, channel: this, echo, next: this.end, skipped: 0, answers: undefined }
    this.subscriptions.add(subscription)
    this.#encodings.set(encoding, (this.#encodings.get(encoding) ?? 0) + 1)
    return subscription
  }

  leave (subscription: Subscription): void {
    if (!this.subscriptions.delete(subscription)) return
    const { encoding } = subscription
    const others = (this.#encodings.get(encoding) ?? 1) - 1
    if (others > 0) this.#encodings.set(encoding, others)
    else this.#encodings.delete(encoding)
  }

  /**
   * Tells all subscribers that publications are lost to them.
   *
   * @param tell brings one to the end of the log, and tells it; gives false if its protocol has no word for that
   * @param end ends one that could not be told so, in its turn; until then it hears nothing
   */
  lose (tell: (subscription: Subscription) => boolean, end: (subscription: Subscription) => void): void {
    this.losses++
    const untold = Array.from(this.subscriptions).filter((subscription) => !tell(subscription))
    // It would take what comes now for what comes next.
    for (const subscription of untold) subscription.next = Infinity
    // To close 15,000 at once held up the loop for 0.8 s.
    actOnAll(untold, (subscription) => { if (subscription.connection.subscriptions.get(this) === subscription) end(subscription) })
  }

  /**
   * Adds publications to the log.
   *
   * @param onPrepared called when a publication that could not be flushed at once can be
   * @returns whether there is something to flush now
   */
  append (publications: readonly Publication[], onPrepared: () => void): boolean {
    for (const collector of this.collectors) for (const publication of publications) collector.push(publication)
    if (this.subscriptions.size === 0) return false
    for (const publication of publications) {
      const number = this.end
      this.#log.push(publication)
      this.#publishers.add(publication.from)
      const prepared = prepareAll(this.#encodings.keys(), this.name, [publication])
      if (prepared) this.#holdUntil(prepared, number, onPrepared)
    }
    return this.hasMore
  }

  #holdUntil (prepared: Promise<unknown>, number: number, onPrepared: () => void): void {
    this.#preparing.add(number)
    prepared.then(() => {
      this.#preparing.delete(number)
      if (this.hasMore) onPrepared()
    })
  }

  /**
   * Goes on handing what is in the log to the subscribers, one by one.
   *
   * @param deliver gets each subscriber that lacks something, the bytes, how many publications they hold, and whether anything may wait for it already
   * @param most subscribers of this call, or a few more; the next call continues after them
   * @returns whether all have all that was there when this flush began
   */
  flush (deliver: Deliver, most: number): boolean {
    if (!this.#flush) {
      if (!this.hasMore) return true
      this.#flush = { to: this.ready, rest: this.subscriptions.values() }
    }
    const { to, rest } = this.#flush
    for (let count = 0; count < most; count += LOOKED_AT) {
      const next: Subscription[] = []
      let bufferedBytes = 0
      for (let subscription; next.length < LOOKED_AT && (subscription = rest.next().value);) {
        next.push(subscription)
        bufferedBytes += subscription.transport.bufferedBytes
      }
      for (const subscription of next) this.#deliver(subscription, to, deliver, bufferedBytes > 0)
      if (next.length < LOOKED_AT) {
        this.#forget(to)
        return true
      }
    }
    return false
  }

  #forget (to: number): void {
    this.#log.splice(0, to - this.#start)
    this.#start = to
    this.#publishers = new Set(this.#log.map((publication) => publication.from))
    this.#encoded.clear()
    this.#latest = undefined
    this.#flush = undefined
  }

  /** Hands one subscriber what it lacks of the log, out of turn: all, or up to a number. */
  catchUp (subscription: Subscription, deliver: Deliver, to = this.end): void {
    this.#deliver(subscription, to, deliver, true)
  }

  #deliver (subscription: Subscription, to: number, deliver: Deliver, mayLag: boolean): void {
    const from = subscription.next
    if (from >= to) return
    subscription.next = to
    const bytes = subscription.echo ? this.#bytes(subscription.encoding, from, to) : this.#bytesWithoutOwn(subscription, from, to)
    if (bytes) deliver(subscription, bytes, to - from, mayLag)
  }

  #bytes (encoding: Encoding, from: number, to: number): Buffer {
    // Nearly always the same as for the receiver before.
    const latest = this.#latest
    if (latest && latest.encoding === encoding && latest.from === from && latest.to === to) return latest.bytes
    let known = this.#encoded.get(encoding)
    if (!known) this.#encoded.set(encoding, known = [])
    let encoded = known.find((other) => other.from === from && other.to === to)
    if (!encoded) known.push(encoded = { encoding, from, to, bytes: encoding.encode(this.name, this.#slice(from, to)) })
    this.#latest = encoded
    return encoded.bytes
  }

  #bytesWithoutOwn ({ connection, encoding }: Subscription, from: number, to: number): Buffer | undefined {
    if (!this.#publishers.has(connection.id)) return this.#bytes(encoding, from, to)
    const others = this.#slice(from, to).filter((publication) => publication.from !== connection.id)
    return others.length > 0 ? encoding.encode(this.name, others) : undefined
  }

  #slice (from: number, to: number): Publication[] {
    return this.#log.slice(from - this.#start, to - this.#start)
  }
}
