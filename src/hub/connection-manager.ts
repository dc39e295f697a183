import type { Broker } from '../brokers/broker.ts'
import { closeCodes, type Close } from '../close-codes.ts'
import { fanfareError, type FanfareError } from '../errors.ts'
import { Channel, type Subscription } from './channel.ts'
import { Connection, type Peer } from './connection.ts'
import type { Encoding } from './encoding.ts'
import { FanOut, type SlowReceivers } from './fan-out.ts'
import { Heartbeat, type HeartbeatTimes } from './heartbeat.ts'
import { AddressCounts, holdBackSender, Throttle } from './limits.ts'
import { channelNameRefusal, publicationOf, type Publication, type PublicationData } from './publication.ts'
import { spread } from './spread.ts'
import type { Transport } from './transport.ts'

/** The manager's limits; 0 switches a limit off where that is said. */
export interface ManagerSettings extends SlowReceivers, HeartbeatTimes {
  readonly maxConnections: number
  /** 0: off. */
  readonly maxConnectionsPerIp: number
  readonly maxChannels: number
  /** Messages per second and connection; 0: off. */
  readonly messageRate: number
}

/** Where the manager reports what happens: any pino-like logger. */
export interface Log {
  info (facts: object, sentence: string): void
  debug (facts: object, sentence: string): void
}

/** Which connections are meant: all conditions that are given must hold. */
export interface ConnectionFilter {
  readonly id?: string
  readonly user?: string
  readonly channel?: string
}

/**
 * Who is connected, and who hears what: the heart of Fanfare, shared by all routes as `app.connections`.
 */
export class ConnectionManager {
  readonly #broker: Broker
  readonly #settings: ManagerSettings
  readonly #log: Log
  readonly #connections = new Set<Connection>()
  readonly #channels = new Map<string, Channel>()
  readonly #addresses = new AddressCounts()
  readonly #fanOut: FanOut
  readonly #heartbeat: Heartbeat
  #stopping = false

  constructor (broker: Broker, settings: ManagerSettings, log: Log) {
    this.#broker = broker
    this.#settings = settings
    this.#log = log
    this.#fanOut = new FanOut(settings, (connection) => this.close(connection, closeCodes.slow))
    this.#heartbeat = new Heartbeat(settings, (connection) => this.#silent(connection))
    broker.deliver = (name, publications) => {
      const channel = this.#channels.get(name)
      if (channel) this.#fanOut.publish(channel, publications)
    }
  }

  /** How many are connected to this node. */
  get count (): number {
    return this.#connections.size
  }

  /** Whether the node closes its connections and takes no new ones. */
  get stopping (): boolean {
    return this.#stopping
  }

  /** The channels of this node, and how many are in each. */
  channels (): Map<string, number> {
    return new Map(Array.from(this.#channels.values(), ({ name, subscriptions }) => [name, subscriptions.size]))
  }

  /**
   * Publishes to a channel, for all who are in it.
   *
   * @param channel its name
   * @param data a string goes out as text, a Buffer as binary, everything else as JSON
   * @throws {FanfareError} FANFARE_BAD_CHANNEL, FANFARE_BAD_DATA
   * @example await app.connections.publish('orders:42', { state: 'shipped' })
   */
  async publish (channel: string, data: PublicationData): Promise<void> {
    const refusal = channelNameRefusal(channel)
    if (refusal) throw refusal
    await this.#broker.publish(channel, publicationOf(data))
  }

  /**
   * Closes connections of this node.
   *
   * @param filter which ones; one that names nobody is an error, so that a user who is not known does not end everyone
   * @param close code and reason that they get
   * @returns how many
   * @throws {FanfareError} FANFARE_BAD_FILTER
   * @example app.connections.disconnect({ user: 'ada' })
   */
  disconnect ({ id, user, channel }: ConnectionFilter, close: Close = closeCodes.disconnected): number {
    if (id === undefined && user === undefined && channel === undefined) throw fanfareError('FANFARE_BAD_FILTER')
    const meant = Array.from(this.#connections).filter((connection) =>
      (id === undefined || connection.id === id) &&
      (user === undefined || connection.peer.user === user) &&
      (channel === undefined || Array.from(connection.subscriptions.keys()).some(({ name }) => name === channel))
    )
    for (const connection of meant) this.close(connection, close)
    return meant.length
  }

  /**
   * Says why a connection may not come, if so. To be asked before an upgrade is answered, and in the same turn of the
   * event loop as `open`.
   *
   * @returns FANFARE_STOPPING, FANFARE_FULL, FANFARE_TOO_MANY_FROM_ADDRESS, FANFARE_TOO_MANY_CHANNELS,
   * FANFARE_BAD_CHANNEL, or nothing
   */
  refusalOf (peer: Peer, channels: readonly string[]): FanfareError | undefined {
    const { maxConnections, maxConnectionsPerIp, maxChannels } = this.#settings
    if (this.#stopping) return fanfareError('FANFARE_STOPPING')
    if (this.count >= maxConnections) return fanfareError('FANFARE_FULL', maxConnections)
    if (maxConnectionsPerIp > 0 && this.#addresses.of(peer.address) >= maxConnectionsPerIp) {
      return fanfareError('FANFARE_TOO_MANY_FROM_ADDRESS', maxConnectionsPerIp)
    }
    if (channels.length > maxChannels) return fanfareError('FANFARE_TOO_MANY_CHANNELS', maxChannels)
    return channels.map(channelNameRefusal).find((refusal) => refusal !== undefined)
  }

  /**
   * Takes a new connection in.
   *
   * @param channels what it hears from now on
   * @param echo whether it hears what it publishes itself
   */
  open (transport: Transport, encoding: Encoding, peer: Peer, channels: readonly string[], echo = true): Connection {
    const connection = new Connection(transport, encoding, peer)
    if (this.#settings.messageRate > 0) connection.throttle = new Throttle(this.#settings.messageRate)
    this.#connections.add(connection)
    this.#addresses.add(peer.address)
    this.#heartbeat.add(connection)
    for (const channel of channels) this.subscribe(connection, channel, echo)
    this.#log.info({ ...factsOf(connection), channels, connections: this.count }, 'connection opened')
    return connection
  }

  /** Lets a connection hear a channel: all that is published from now on. Nothing changes if it does already. */
  subscribe (connection: Connection, name: string, echo = true): void {
    let channel = this.#channels.get(name)
    if (!channel) {
      channel = new Channel(name)
      this.#channels.set(name, channel)
    }
    if (!connection.subscriptions.has(channel)) connection.subscriptions.set(channel, channel.join(connection, echo))
  }

  /** Ends that; the connection hears first what was published so far. */
  unsubscribe (connection: Connection, name: string): void {
    const channel = this.#channels.get(name)
    const subscription = channel && connection.subscriptions.get(channel)
    if (!subscription) return
    this.#fanOut.catchUp(channel, subscription)
    this.#leave(channel, subscription)
    connection.subscriptions.delete(channel)
  }

  /** Tells a connection something directly, after all that was published to it so far. */
  send (connection: Connection, bytes: Buffer): void {
    this.#catchUp(connection)
    if (connection.open) connection.transport.write(bytes)
  }

  /** Handles what a connection sent: publishes it to the channel, at the rate that the connection may have. */
  receive (connection: Connection, channel: string, publication: Publication): void {
    if (!connection.open) return
    connection.awaitingPong = false
    this.#log.debug({ connection: connection.id, channel, bytes: publication.data.length }, 'message')
    holdBackSender(connection, publication.data.length, this.#settings.maxBufferedBytes)
    if (connection.throttle) connection.throttle.run(connection, () => this.#publishFrom(connection, channel, publication))
    else this.#publishFrom(connection, channel, publication)
  }

  /** Takes note of a sign of life. */
  alive (connection: Connection): void {
    connection.awaitingPong = false
  }

  /** Closes a connection from our side; it hears first what was published to it so far. */
  close (connection: Connection, { code, reason }: Close): void {
    if (!connection.open) return
    if (code !== closeCodes.slow.code) this.#catchUp(connection)
    if (!connection.open) return
    this.closed(connection, code)
    connection.transport.close(code, reason)
  }

  /** Takes a connection out of every table; to be called as soon as a transport is closed. */
  closed (connection: Connection, code: number): void {
    if (!connection.open) return
    connection.open = false
    this.#connections.delete(connection)
    this.#addresses.remove(connection.peer.address)
    this.#heartbeat.remove(connection)
    for (const [channel, subscription] of connection.subscriptions) this.#leave(channel, subscription)
    connection.subscriptions.clear()
    const seconds = Math.round(performance.now() - connection.openedAt) / 1000
    this.#log.info({ ...factsOf(connection), code, seconds, connections: this.count }, 'connection closed')
  }

  /**
   * Stops: takes no new connections, and closes those there are with 1012, few of them at once, many spread over time.
   *
   * @param seconds over which the closing is spread at most
   */
  async drain (seconds: number): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    await spread(Array.from(this.#connections), seconds, (connection) => {
      connection.throttle?.flush()
      this.close(connection, closeCodes.restart)
    })
    this.#heartbeat.stop()
  }

  #leave (channel: Channel, subscription: Subscription): void {
    channel.leave(subscription)
    if (channel.subscriptions.size === 0) this.#channels.delete(channel.name)
  }

  #catchUp (connection: Connection): void {
    for (const [channel, subscription] of connection.subscriptions) this.#fanOut.catchUp(channel, subscription)
  }

  #publishFrom (connection: Connection, channel: string, publication: Publication): void {
    this.#broker.publish(channel, { kind: publication.kind, data: publication.data, from: connection.id }).catch((error: Error) => {
      this.#log.info({ connection: connection.id, channel, error: error.message }, 'message could not be published')
      this.close(connection, closeCodes.tryAgainLater)
    })
  }

  // While we do not read from a connection, its answer cannot be seen. One that is held for its rate will be read again;
  // one that has taken nothing of what waits for it in all this time is a slow one.
  #silent (connection: Connection): void {
    if (connection.throttle?.busy) return
    this.close(connection, connection.heldForBacklog ? closeCodes.slow : closeCodes.noPong)
  }
}

function factsOf ({ id, peer }: Connection): object {
  return { connection: id, address: peer.address, user: peer.user }
}
