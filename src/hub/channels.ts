import type { Broker, HistoryQuery } from '../brokers/broker.ts'
import { closeCodes, type Close } from '../close-codes.ts'
import { Channel, type Subscription } from './channel.ts'
import { matcherOf, type ChannelRules } from './channel-rules.ts'
import type { Connection } from './connection.ts'
import { callerOn } from './access-api.ts'
import { prepareAll, type Encoding } from './encoding.ts'
import type { FanOut } from './fan-out.ts'
import type { Hooks } from './hooks.ts'
import { pieceOf, type Piece } from './piece.ts'
import { Presence } from './presence.ts'
import type { Position, Publication } from './publication.ts'

// A history is sent in pieces, each when the one before has left: a client that reads slowly holds one of them.
const PIECE = 100

/** Where a connection begins to hear a channel. */
export interface Start {
  /** With what came after this position. */
  readonly since?: Position | undefined
  /** With the last so many publications. */
  readonly last?: number | undefined
}

/** What the channels need of those who own them. */
export interface ChannelsParts {
  readonly broker: Broker
  readonly fanOut: FanOut
  readonly hooks: Hooks
  readonly rules: ChannelRules
  /** In seconds. */
  readonly presenceTtl: number
  readonly maxBufferedBytes: number
  /** Closes a connection. */
  readonly close: (connection: Connection, close: Close) => void
}

/** The channels of this node: who is in which, and how they come and go without missing or doubling anything. */
export class Channels {
  readonly #parts: ChannelsParts
  readonly #channels = new Map<string, Channel>()
  readonly #presence: Presence

  constructor (parts: ChannelsParts) {
    this.#parts = parts
    this.#presence = new Presence(parts.broker, parts.presenceTtl, () => this.#membersHere())
  }

  get size (): number {
    return this.#channels.size
  }

  /** How many subscribers there are in all of them. */
  get subscribers (): number {
    let sum = 0
    for (const { subscriptions } of this.#channels.values()) sum += subscriptions.size
    return sum
  }

  /**
   * The channels, and how many connections of this node are in each.
   *
   * @param names a glob of those that are wanted; all by default
   */
  counts (names?: string): Map<string, number> {
    const matches = names === undefined ? () => true : matcherOf(names)
    const channels = Array.from(this.#channels.values()).filter(({ name, subscriptions }) => subscriptions.size > 0 && matches(name))
    return new Map(channels.map(({ name, subscriptions }) => [name, subscriptions.size]))
  }

  /**
   * Sees to it that the node hears these channels, so that who joins them next misses nothing.
   *
   * @returns nothing if it does already
   */
  prepare (names: readonly string[]): Promise<void> | undefined {
    const { broker } = this.#parts
    const waits: Promise<void>[] = []
    for (const name of names) {
      const wait = broker.subscribe(name)
      if (wait) waits.push(wait)
    }
    // Who joins subscribes again; a broker does not forget a channel at once.
    const release = (): void => {
      for (const name of names) if (!this.#channels.has(name)) broker.unsubscribe(name)
    }
    if (waits.length === 0) release()
    else return Promise.all(waits).then(() => {}).finally(release)
  }

  /** Lets a connection hear a channel: all that is published from now on. Nothing changes if it does already. */
  join (connection: Connection, name: string, echo: boolean): void {
    const channel = this.#open(name)
    if (connection.subscriptions.has(channel)) return
    connection.subscriptions.set(channel, channel.join(connection, echo))
    if (channel.presence) this.#presence.joined(name, connection)
    if (channel.subscriptions.size === 1) this.#parts.hooks.tell('onOccupied', () => ({ channel: name }))
  }

  /**
   * The same, beginning with what is in the history. Nothing is missing between the two, and nothing comes twice.
   *
   * @returns whether everything after `since` was there
   */
  async joinFrom (connection: Connection, name: string, echo: boolean, start: Start): Promise<boolean> {
    const channel = this.#open(name)
    channel.joining++
    connection.joining ??= new Set()
    connection.joining.add(name)
    try {
      return await this.#replay(connection, channel, echo, start)
    } catch {
      this.#parts.close(connection, { ...closeCodes.tryAgainLater, reason: 'history could not be read' })
      return false
    } finally {
      channel.joining--
      connection.joining.delete(name)
      this.#closeIfIdle(channel)
    }
  }

  // Piece by piece, until a piece reaches what the channel delivers from now on.
  async #replay (connection: Connection, channel: Channel, echo: boolean, { since, last = 0 }: Start): Promise<boolean> {
    const { transport, encoding } = connection
    const enough = this.#parts.maxBufferedBytes / 2
    let position = since
    for (let first = true; ; first = false) {
      if (transport.bufferedBytes > enough) await new Promise<void>((resolve) => transport.onceDrained(resolve))
      const piece = await this.#read(channel, encoding, { ...position ? { since: position } : { last }, limit: PIECE, maxBytes: enough / 2 })
      if (!connection.open) return false
      if ((first && since) || !piece.continuous) this.#tell(connection, channel.name, piece.continuous, piece.position)
      if (!connection.open) return false
      const heard = echo ? piece.publications : piece.publications.filter(({ from }) => from !== connection.id)
      const bytes = heard.length > 0 ? encoding.encode(channel.name, heard) : undefined
      if (piece.complete && (bytes?.length ?? 0) <= enough) this.join(connection, channel.name, echo)
      if (bytes) transport.write(bytes)
      if (connection.subscriptions.has(channel)) return piece.continuous
      position = piece.end
    }
  }

  async #read (channel: Channel, encoding: Encoding, query: HistoryQuery): Promise<Piece> {
    const meanwhile: Publication[] = []
    const { losses } = channel
    channel.collectors.add(meanwhile)
    try {
      const history = await this.#parts.broker.history(channel.name, query)
      // What is published in the meantime is collected, too.
      await prepareAll([encoding], channel.name, history.publications)
      return pieceOf(query, history, meanwhile, channel.losses > losses)
    } finally {
      channel.collectors.delete(meanwhile)
    }
  }

  /** Lets a connection hear a channel no more; it hears first what was published so far. */
  leave (connection: Connection, name: string): void {
    const channel = this.#channels.get(name)
    const subscription = channel && connection.subscriptions.get(channel)
    if (!subscription) return
    this.#parts.fanOut.catchUp(channel, subscription)
    connection.subscriptions.delete(channel)
    this.#left(channel, subscription)
  }

  /** Takes a connection out of all its channels. */
  leaveAll (connection: Connection): void {
    for (const [channel, subscription] of connection.subscriptions) this.#left(channel, subscription)
    connection.subscriptions.clear()
  }

  /** Brings a connection to the end of all its channels. */
  catchUp (connection: Connection): void {
    for (const [channel, subscription] of connection.subscriptions) this.#parts.fanOut.catchUp(channel, subscription)
  }

  /** Hands publications to all who are in a channel. */
  deliver (name: string, publications: readonly Publication[]): void {
    const channel = this.#channels.get(name)
    if (channel) this.#parts.fanOut.publish(channel, publications)
  }

  /** Tells all who are in a channel that publications are lost to them, and where the channel goes on. */
  lost (name: string, position: Position): void {
    const channel = this.#channels.get(name)
    if (!channel) return
    channel.losses++
    for (const subscription of Array.from(channel.subscriptions)) {
      this.#parts.fanOut.catchUp(channel, subscription)
      this.#tell(subscription.connection, name, false, position)
    }
  }

  /** Tells the broker again who is here: it may have forgotten. */
  repeatPresence (): void {
    this.#presence.repeat()
  }

  /** Ends; resolves when the broker knows that nobody is here any more. */
  async stop (): Promise<void> {
    await this.#presence.stop()
  }

  * #membersHere (): Iterable<[string, ReadonlySet<Subscription>]> {
    for (const { name, presence, subscriptions } of this.#channels.values()) {
      if (presence) yield [name, subscriptions]
    }
  }

  #tell (connection: Connection, name: string, recovered: boolean, position: Position): void {
    const bytes = connection.encoding.encodeRecovery?.(name, recovered, position)
    if (bytes) connection.transport.write(bytes)
    else if (!recovered) this.#parts.close(connection, closeCodes.insufficientState)
  }

  #open (name: string): Channel {
    let channel = this.#channels.get(name)
    if (!channel) {
      channel = new Channel(name, this.#parts.rules.of(name))
      this.#channels.set(name, channel)
      this.#parts.broker.subscribe(name)?.catch(() => {})
    }
    return channel
  }

  #left (channel: Channel, subscription: Subscription): void {
    channel.leave(subscription)
    const { connection } = subscription
    const { hooks } = this.#parts
    if (channel.presence) this.#presence.left(channel.name, connection)
    hooks.tell('onUnsubscribe', () => ({ caller: callerOn(connection), channel: channel.name }))
    if (channel.subscriptions.size === 0) hooks.tell('onVacated', () => ({ channel: channel.name }))
    this.#closeIfIdle(channel)
  }

  #closeIfIdle (channel: Channel): void {
    if (!channel.idle) return
    this.#channels.delete(channel.name)
    this.#parts.broker.unsubscribe(channel.name)
  }
}
