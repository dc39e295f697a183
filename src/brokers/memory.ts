import Denque from 'denque'
import { LRUCache } from 'lru-cache'
import type { Position, Publication } from '../hub/publication.ts'
import type { Broker, BrokerListener, History, HistoryQuery, Member, PresenceChange, PublishOptions } from './broker.ts'
import { newEpoch } from './epoch.ts'
import { historyOf } from './history.ts'
import { sweep } from './sweep.ts'

// How long the position of an idle channel is remembered at least, so that a client that comes back late is told what it missed
// or that it missed something; and of how many idle channels.
const POSITION_TTL_MS = 3_600_000
const MAX_POSITIONS = 100_000
const IDEMPOTENCY_TTL_MS = 300_000
const MAX_IDEMPOTENCY_KEYS = 100_000
// What a stored publication takes beside its data.
const OVERHEAD_BYTES = 200
// What a history takes beside its publications, and the name of its channel, which is kept several times.
const HISTORY_BYTES = 700
const SWEEP_MS = 10_000
// How old the caches' idea of the time may be. With their default, 1 ms, nearly every publication starts two timers.
const CLOCK_MS = 100

/** Where a channel stands; changed in place, as one lookup costs less than two. */
interface Numbering { readonly epoch: string, offset: number }

// An array would be moved as a whole for each publication beyond the limit: 460 us with 100,000.
interface Stored { readonly publications: Denque<Publication>, bytes: number }

/** The broker of a node that is alone: the order of a channel is the order of the calls. */
export class MemoryBroker implements Broker {
  readonly name = 'memory'
  readonly trouble = undefined
  readonly shared = false
  readonly #positions = new LRUCache<string, Numbering>({
    max: MAX_POSITIONS,
    ttl: POSITION_TTL_MS,
    ttlResolution: CLOCK_MS,
    updateAgeOnGet: true,
    // A channel that was forgotten begins anew, and must not look like the one before.
    dispose: (_position, channel, reason) => {
      if (reason === 'set') return
      this.#epoch = newEpoch()
      this.#histories.delete(channel)
    }
  })

  readonly #histories: LRUCache<string, Stored>
  readonly #published = new LRUCache<string, Position>({ max: MAX_IDEMPOTENCY_KEYS, ttl: IDEMPOTENCY_TTL_MS, ttlResolution: CLOCK_MS })
  readonly #members = new Map<string, Map<string, Member>>()
  readonly #sweep: NodeJS.Timeout
  /** Of channels that nothing is known of. */
  #epoch = newEpoch()
  #listener: BrokerListener | undefined

  /** @param maxHistoryBytes that the histories of all channels take; the idlest channels' give way */
  constructor (maxHistoryBytes: number) {
    this.#histories = new LRUCache({ maxSize: maxHistoryBytes, ttlResolution: CLOCK_MS, sizeCalculation: ({ bytes }) => HISTORY_BYTES + bytes })
    this.#sweep = setInterval(() => {
      sweep(this.#histories)
      sweep(this.#positions)
      sweep(this.#published)
    }, SWEEP_MS).unref()
  }

  async start (listener: BrokerListener): Promise<void> {
    this.#listener = listener
    listener.reachable()
  }

  async close (): Promise<void> {
    clearInterval(this.#sweep)
  }

  async publish (channel: string, publication: Publication, { historySize, historyTtl, idempotencyKey, skipHistory }: PublishOptions): Promise<Position> {
    const key = idempotencyKey === undefined ? undefined : `${channel}\n${idempotencyKey}`
    const known = key === undefined ? undefined : this.#published.get(key)
    if (known) return known
    if (skipHistory) {
      const position = this.#position(channel)
      if (key !== undefined) this.#published.set(key, position)
      this.#listener?.deliver(channel, [publication])
      return position
    }
    const numbering = this.#positions.get(channel) ?? this.#begin(channel, historyTtl)
    numbering.offset++
    const position = { epoch: numbering.epoch, offset: numbering.offset }
    if (key !== undefined) this.#published.set(key, position)
    // Without spreading, here and below: what comes of it is slow to make and to read, and this is done for every message.
    const { kind, data, from, by, tags } = publication
    const numbered = { kind, data, from, by, tags, position }
    if (historySize > 0 && historyTtl > 0) this.#store(channel, numbered, historySize, historyTtl)
    this.#listener?.deliver(channel, [numbered])
    return position
  }

  subscribe (): undefined {}

  unsubscribe (): void {}

  async history (channel: string, query: HistoryQuery): Promise<History> {
    const stored = this.#histories.get(channel)?.publications
    const publications = stored ? { length: stored.length, at: (index: number) => stored.peekAt(index) } : []
    return historyOf({ position: this.#position(channel), publications }, query)
  }

  async removeHistory (channel: string): Promise<void> {
    this.#histories.delete(channel)
  }

  updatePresence (channel: string, { joined, left }: PresenceChange): undefined {
    let members = this.#members.get(channel)
    if (!members) this.#members.set(channel, members = new Map())
    for (const member of joined) members.set(member.client, member)
    for (const client of left) members.delete(client)
    if (members.size === 0) this.#members.delete(channel)
  }

  async presence (channel: string): Promise<Member[]> {
    return Array.from(this.#members.get(channel)?.values() ?? [])
  }

  async send (message: string): Promise<void> {
    this.#listener?.control(message)
  }

  // To ask for a channel makes nothing of it: the names are made up by clients.
  #position (channel: string): Position {
    const { epoch = this.#epoch, offset = 0 } = this.#positions.get(channel) ?? {}
    return { epoch, offset }
  }

  #begin (channel: string, historyTtl: number): Numbering {
    const numbering = { epoch: this.#epoch, offset: 0 }
    this.#positions.set(channel, numbering, { ttl: Math.max(POSITION_TTL_MS, historyTtl * 1000) })
    // A history of older offsets would be taken for one of this epoch.
    this.#histories.delete(channel)
    return numbering
  }

  #store (channel: string, { kind, data, from, by, tags, position }: Publication, size: number, ttl: number): void {
    const { publications, bytes } = this.#histories.get(channel) ?? { publications: new Denque(), bytes: 0 }
    const stored = { publications, bytes }
    // A copy of its own: what comes from a socket is a piece of a chunk of up to 64 KiB, which would be kept with it.
    publications.push({ kind, data: Buffer.from(data), from, by, tags, position })
    stored.bytes += data.length + OVERHEAD_BYTES
    // A history that alone were too large the cache would forget as a whole.
    while (publications.length > size || HISTORY_BYTES + stored.bytes > this.#histories.maxSize) stored.bytes -= (publications.shift()?.data.length ?? 0) + OVERHEAD_BYTES
    if (publications.length > 0) this.#histories.set(channel, stored, { ttl: ttl * 1000 })
    else this.#histories.delete(channel)
  }
}
