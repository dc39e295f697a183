import type { Position, Publication } from '../hub/publication.ts'

/** How a publication is kept. */
export interface PublishOptions {
  /** How many publications the channel keeps; 0: none. */
  readonly historySize: number
  /** How long the channel keeps them after its last publication, in seconds. */
  readonly historyTtl: number
  /** Publications with a key that was used within the last five minutes are not published again. */
  readonly idempotencyKey?: string | undefined
  /** Goes to who is there, without a position and past the history. */
  readonly skipHistory?: boolean | undefined
}

/** Which part of a channel's history is wanted. */
export interface HistoryQuery {
  /** Only what came after this (with `reverse`: before it). */
  readonly since?: Position | undefined
  /** Only the last so many; without `since` and `reverse`. */
  readonly last?: number | undefined
  /** At most so many, from the oldest on; 0: just the position. */
  readonly limit: number
  /** From the latest on. */
  readonly reverse?: boolean | undefined
  /** No more than fits into so many bytes, but one at least; without bound by default. */
  readonly maxBytes?: number | undefined
}

/** Part of a channel's history. */
export interface History {
  /** In order of their offsets; the latest first if `reverse` was asked for. */
  readonly publications: readonly Publication[]
  /** Where the channel stood when this was read; `offset` is 0 before the first publication. */
  readonly position: Position
  /** Whether `since` is of this channel, and what came right after it is still there. With `limit` 0 only the first is looked at. */
  readonly continuous: boolean
  /** Whether `maxBytes` left out some of what was asked for. */
  readonly cut?: boolean
}

/** One who is in a channel. */
export interface Member {
  /** Id of the connection. */
  readonly client: string
  /** Empty where no user is known. */
  readonly user: string
  /** What the user's token says of the user, for others to see. */
  readonly info?: unknown
  /** The same for this channel alone. */
  readonly channelInfo?: unknown
}

/** Who has come to a channel and who has gone. */
export interface PresenceChange {
  readonly joined: readonly Member[]
  /** Ids of connections. */
  readonly left: readonly string[]
}

/** What a broker tells its node. */
export interface BrokerListener {
  /** Gets the publications of a channel, in the order of their offsets, each once. */
  deliver (channel: string, publications: readonly Publication[]): void
  /** Says that publications of a channel are gone that this node has not delivered, and from where on it goes on. */
  lost (channel: string, position: Position): void
  /** Gets what nodes send each other, also what this one sent. */
  control (message: string): void
  /** Says that the broker can be reached, for the first time or again. */
  reachable (): void
}

/**
 * Where publications go before anyone gets them. What every broker promises, and test/brokers/contract.ts proves:
 *
 * - `publish` resolves once the publication is ordered and stored, or rejects, within a second or so; it never hangs. One
 *   that was rejected may still have been published if the answer was lost; none is ever published twice.
 * - Every publication comes back through `deliver`, also to the node that published it, and in the same order on every
 *   node: there is one way for a message and one order for all.
 * - Between `subscribe` and `unsubscribe` a node gets everything that is published, without a hole. What it missed is
 *   fetched from the history; `lost` is called only if that no longer holds it, before anything newer is delivered.
 * - The end of a history (neither `limit` 0 nor `reverse`) has been delivered before it is returned, if the node is subscribed.
 * - Epochs change when publications may have been lost: nothing lost looks continuous.
 */
export interface Broker {
  /** In a word or two, for the start-up log. */
  readonly name: string
  /** What the broker lacks in order to publish, in a sentence; nothing if all is well. */
  readonly trouble: string | undefined
  /** Whether there may be other nodes. */
  readonly shared: boolean

  /** Begins to work; called once, before all else. Does not wait for servers that are away. */
  start (listener: BrokerListener): Promise<void>
  close (): Promise<void>

  publish (channel: string, publication: Publication, options: PublishOptions): Promise<Position>

  /** Lets the node hear a channel; resolves when it does. May be called for a channel that it hears. */
  subscribe (channel: string): Promise<void> | undefined
  unsubscribe (channel: string): void

  history (channel: string, query: HistoryQuery): Promise<History>
  /** Forgets the publications of a channel, but not its position. */
  removeHistory (channel: string): Promise<void>

  /** Notes who is there, for `ttl` seconds: members that are not named again by then are gone. Nothing to wait for where that is done at once. */
  updatePresence (channel: string, change: PresenceChange, ttl: number): Promise<void> | undefined
  presence (channel: string): Promise<Member[]>

  /** Sends a message to all nodes. */
  send (message: string): Promise<void>
}
