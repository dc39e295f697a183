import type { Broker } from '../brokers/broker.ts'
import { closeCodes, endCodes, type Close } from '../close-codes.ts'
import { Channel, type Subscription } from './channel.ts'
import type { ChannelRules } from './channel-rules.ts'
import { withoutHooks, type Connection, type Grant } from './connection.ts'
import type { FanOut } from './fan-out.ts'
import { matcherOf } from './glob.ts'
import { callerOn, type Hooks } from './hooks.ts'
import { Joining } from './joining.ts'
import { Presence } from './presence.ts'
import type { Position, Publication } from './publication.ts'

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
  /** Puts a connection into a channel, and tells it where that stands. */
  readonly place: (connection: Connection, channel: string, grant?: Grant) => void
}

/** The channels of this node: who is in which, and how they come and go without missing or doubling anything. */
export class Channels {
  readonly #parts: ChannelsParts
  readonly #channels = new Map<string, Channel>()
  readonly presence: Presence
  readonly joining: Joining

  constructor (parts: ChannelsParts) {
    this.#parts = parts
    this.presence = new Presence(parts.broker, parts.presenceTtl, () => this.#membersHere())
    this.joining = new Joining({
      ...parts,
      open: (name) => this.#open(name),
      closeIfIdle: (channel) => this.#closeIfIdle(channel),
      join: (connection, name, echo) => this.join(connection, name, echo),
      writeDue: (connection) => parts.fanOut.writeDue(connection),
      tell: (connection, name, recovered, position) => { if (!this.#tell(connection, name, recovered, position)) this.#endLacking(connection, name) }
    })
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
    if (!connection.open) return
    const channel = this.#open(name)
    if (connection.subscriptions.has(channel)) return
    connection.subscriptions.set(channel, channel.join(connection, echo))
    if (channel.presence) this.presence.joined(name, connection)
    if (channel.subscriptions.size === 1) this.#parts.hooks.tell('onOccupied', () => ({ channel: name }))
  }

  /**
   * Lets a connection hear a channel no more; it hears first what was published so far.
   *
   * @returns whether it did
   */
  leave (connection: Connection, name: string): boolean {
    connection.placed?.delete(name)
    connection.dropGrant(name)
    const wasAsking = connection.asking === name
    if (wasAsking) connection.asking = undefined
    const wasJoining = connection.joining?.delete(name) ?? false
    const subscription = this.#subscriptionOf(connection, name)
    if (!subscription) return wasJoining || wasAsking
    this.#parts.fanOut.catchUp(subscription.channel, subscription)
    this.#drop(subscription)
    return true
  }

  /** The same from our side: it is told so, where its protocol has a word for that. */
  remove (connection: Connection, name: string): void {
    if (this.leave(connection, name)) this.#tellEnd(connection, name, endCodes.unsubscribed)
  }

  /** Takes a connection out of a channel that it has no right to hear any more, or closes it where that cannot be told. */
  expel (connection: Connection, name: string): void {
    if (!connection.isIn(name)) return
    // The server has given it until now.
    if (connection.peer.grants?.get(name)?.single) connection.placed?.delete(name)
    this.#end(connection, name, endCodes.subscriptionExpired, closeCodes.subscriptionExpired)
  }

  /** Tells a subscriber that was too slow that it has missed so many publications. */
  skipped (subscription: Subscription, count: number): void {
    const { connection, channel } = subscription
    const { encoding, transport } = connection
    const bytes = encoding.encodeSkipped?.(channel.name, count)
    if (bytes) transport.write(bytes)
    else if (encoding.encodeEnd && connection.subscriptions.get(channel) === subscription) {
      // Not brought to the end of the channel: it would take what comes now for what comes next.
      this.#drop(subscription)
      this.#endLacking(connection, channel.name)
    }
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

  /** Answers what a connection has published to a channel, see `FanOut.answer`. */
  answer (connection: Connection, name: string, bytes: Buffer): void {
    this.#parts.fanOut.answer(connection, this.#subscriptionOf(connection, name), bytes)
  }

  /** Hands publications to all who are in a channel. */
  deliver (name: string, publications: readonly Publication[]): void {
    const channel = this.#channels.get(name)
    if (channel) this.#parts.fanOut.publish(channel, publications)
  }

  /** Tells all who are in a channel that publications are lost to them, and where the channel goes on. */
  lost (name: string, position: Position): void {
    const channel = this.#channels.get(name)
    channel?.lose((subscription) => {
      this.#parts.fanOut.catchUp(channel, subscription)
      return this.#tell(subscription.connection, name, false, position)
    }, ({ connection }) => this.#endLacking(connection, name))
  }

  * #membersHere (): Iterable<[string, ReadonlySet<Subscription>]> {
    for (const { name, presence, subscriptions } of this.#channels.values()) {
      if (presence) yield [name, subscriptions]
    }
  }

  // Gives false if it has lost something, and its protocol has no word for that.
  #tell (connection: Connection, name: string, recovered: boolean, position: Position): boolean {
    this.#parts.fanOut.writeDue(connection)
    const bytes = connection.encoding.encodeRecovery?.(name, recovered, position)
    if (bytes) connection.transport.write(bytes)
    return recovered || bytes !== undefined
  }

  #endLacking (connection: Connection, name: string): void {
    this.#end(connection, name, endCodes.insufficientState, closeCodes.insufficientState)
  }

  // Who is in the channel by its token comes back to it only as a whole. Whom the server has put there it puts there anew.
  #end (connection: Connection, name: string, end: Close, close: Close): void {
    const isPlaced = connection.placed?.has(name) ?? false
    const grant = connection.peer.grants?.get(name)
    const token = withoutHooks(grant)
    if (!connection.encoding.encodeEnd || (isPlaced && token && !token.single)) {
      this.#parts.close(connection, close)
      return
    }
    this.leave(connection, name)
    this.#tellEnd(connection, name, end)
    if (isPlaced) this.#parts.place(connection, name, grant)
  }

  #tellEnd (connection: Connection, name: string, end: Close): void {
    const bytes = connection.encoding.encodeEnd?.(name, end)
    if (bytes && connection.open && connection.known) connection.transport.write(bytes)
  }

  #subscriptionOf (connection: Connection, name: string): Subscription | undefined {
    const channel = this.#channels.get(name)
    return channel && connection.subscriptions.get(channel)
  }

  #drop (subscription: Subscription): void {
    const { connection, channel } = subscription
    this.#parts.fanOut.answerAll(subscription)
    connection.subscriptions.delete(channel)
    this.#left(channel, subscription)
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
    if (channel.presence) this.presence.left(channel.name, connection)
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
