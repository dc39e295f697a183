import { LRUCache } from 'lru-cache'
import type { Broker, History, HistoryQuery, Member, PublishOptions } from '../brokers/broker.ts'
import { fanfareError } from '../errors.ts'
import type { ChannelBehaviour, ChannelRules } from './channel-rules.ts'
import { serverRefusal, type Action } from './permissions.ts'
import { channelNameRefusal, mustBeTags, publicationOf, type Position, type Publication, type PublicationData } from './publication.ts'

// To name as many costs milliseconds, which all who ask within a moment can share.
const CROWD = 1000
const FRESH_MS = 250
const MOST_CROWDS = 1000

/** How something is published. */
export interface PublishExtras {
  /** Not published again if the channel has had a publication with this key within the last five minutes. */
  readonly idempotencyKey?: string
  /** Only for who is there now: it gets no position, and cannot be recovered. */
  readonly skipHistory?: boolean
  /** For filters and handlers. */
  readonly tags?: Readonly<Record<string, string>>
}

/** How many are in a channel. */
export interface PresenceStats {
  readonly clients: number
  /** Different users among them; all who have no user count as one. */
  readonly users: number
}

/** What can be done with any channel, on whatever nodes its subscribers are. */
export class ChannelApi {
  protected readonly broker: Broker
  /** How each channel behaves. */
  readonly rules: ChannelRules
  readonly #crowds = new LRUCache<string, Member[]>({ max: MOST_CROWDS, ttl: FRESH_MS, ttlAutopurge: true })
  /** What is being read, and what will be for those who have asked since. */
  readonly #asked = new Map<string, { readonly now: Promise<Member[]>, next: Promise<Member[]> | undefined }>()

  constructor (broker: Broker, rules: ChannelRules) {
    this.broker = broker
    this.rules = rules
  }

  /** What keeps messages from being published, in a sentence; nothing if all is well. */
  get trouble (): string | undefined {
    return this.broker.trouble
  }

  /**
   * Publishes to a channel, for all who are in it, on all nodes.
   *
   * @param channel its name
   * @param data a string goes out as text, a Buffer as binary, everything else as JSON
   * @param extras `tags`, `skipHistory`, `idempotencyKey`; none by default
   * @returns where the publication stands in its channel, once it is ordered and stored; within a second
   * @throws {FanfareError} FANFARE_BAD_CHANNEL, FANFARE_BAD_DATA, FANFARE_REFUSED_DATA by the channel's schema,
   * FANFARE_FORBIDDEN where nobody may publish (`allow.publish` is `none`),
   * FANFARE_UNAVAILABLE if the broker is away: it may have been published then, and a repetition with the same
   * `idempotencyKey` will not double it
   * @example await app.connections.publish('orders:42', { state: 'shipped' })
   */
  async publish (channel: string, data: PublicationData, { tags, ...extras }: PublishExtras = {}): Promise<Position> {
    this.#check(channel, 'publish')
    const publication = publicationOf(data)
    if (tags) mustBeTags(tags)
    return this.order(channel, tags ? { ...publication, tags } : publication, extras)
  }

  /**
   * Part of a channel's history, and where the channel stands.
   *
   * @param query `limit` is without bound by default; `since` leaves out what is not after it; `reverse` begins with the latest
   * @throws {FanfareError} FANFARE_BAD_CHANNEL, FANFARE_FORBIDDEN, FANFARE_UNAVAILABLE
   * @example const { publications, position } = await app.connections.history('orders:42', { limit: 10, reverse: true })
   */
  async history (channel: string, query: Partial<HistoryQuery> = {}): Promise<History> {
    this.#check(channel, 'history')
    return this.broker.history(channel, { limit: Infinity, ...query })
  }

  /**
   * Where a channel stands: the position of its latest publication. Who may hear a channel may know it, also where nobody
   * may read its history.
   *
   * @throws {FanfareError} FANFARE_BAD_CHANNEL, FANFARE_UNAVAILABLE
   */
  async position (channel: string): Promise<Position> {
    const refusal = channelNameRefusal(channel)
    if (refusal) throw refusal
    return (await this.broker.history(channel, { limit: 0 })).position
  }

  /**
   * Forgets the history of a channel. Its offsets go on.
   *
   * @throws {FanfareError} FANFARE_BAD_CHANNEL, FANFARE_FORBIDDEN, FANFARE_UNAVAILABLE
   */
  async removeHistory (channel: string): Promise<void> {
    this.#check(channel, 'history')
    await this.broker.removeHistory(channel)
  }

  /**
   * Who is in a channel, on all nodes.
   *
   * @throws {FanfareError} FANFARE_NO_PRESENCE where it is not known, FANFARE_BAD_CHANNEL, FANFARE_FORBIDDEN, FANFARE_UNAVAILABLE
   */
  async presence (channel: string): Promise<Member[]> {
    if (!this.#check(channel, 'presence').presence) throw fanfareError('FANFARE_NO_PRESENCE', channel)
    return this.broker.presence(channel)
  }

  /**
   * The same for clients, who can be many and ask often: of a channel with 1,000 members and more it may be 250 ms old.
   * Throws like `presence`.
   */
  async recentPresence (channel: string): Promise<Member[]> {
    const crowd = this.#crowds.get(channel)
    if (crowd) return crowd
    const asked = this.#asked.get(channel)
    if (!asked) return this.#ask(channel)
    // What is read already may not hold who asks now. All who ask meanwhile share what is read after that.
    asked.next ??= asked.now.catch(() => {}).then(() => this.recentPresence(channel))
    return asked.next
  }

  async #ask (channel: string): Promise<Member[]> {
    const now = this.presence(channel)
    this.#asked.set(channel, { now, next: undefined })
    try {
      const members = await now
      if (members.length >= CROWD) this.#crowds.set(channel, members)
      return members
    } finally {
      this.#asked.delete(channel)
    }
  }

  /** How many that are; throws like `presence`. */
  async presenceStats (channel: string): Promise<PresenceStats> {
    return statsOf(await this.presence(channel))
  }

  /** Has the broker order a publication, if its channel takes it. */
  protected async order (channel: string, publication: Publication, extras?: Partial<PublishOptions>): Promise<Position> {
    const behaviour = this.mustTake(channel, publication)
    return this.broker.publish(channel, publication, extras ? { ...behaviour, ...extras } : behaviour)
  }

  /** How a channel behaves, if it takes a publication; throws FANFARE_REFUSED_DATA otherwise. */
  protected mustTake (channel: string, publication: Publication): ChannelBehaviour {
    const behaviour = this.rules.of(channel)
    const reason = behaviour.refuse?.(publication)
    if (reason !== undefined) throw fanfareError('FANFARE_REFUSED_DATA', channel, reason)
    return behaviour
  }

  #check (channel: string, action: Action): ChannelBehaviour {
    const behaviour = this.rules.of(channel)
    const refusal = channelNameRefusal(channel) ?? serverRefusal(behaviour.allow[action], action, channel)
    if (refusal) throw refusal
    return behaviour
  }
}

/** How many members those are. */
export function statsOf (members: readonly Member[]): PresenceStats {
  return { clients: members.length, users: new Set(members.map(({ user }) => user)).size }
}
