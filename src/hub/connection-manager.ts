import type { Broker } from '../brokers/broker.ts'
import { closeCodes, endsRights, type Close } from '../close-codes.ts'
import { fanfareError, type FanfareError } from '../errors.ts'
import { callerOn, type Admission, type Wish } from './access-api.ts'
import type { ChannelRules } from './channel-rules.ts'
import { Channels } from './channels.ts'
import { ClusterApi, type NodeName, type Renewal } from './cluster-api.ts'
import { Connection, type Peer } from './connection.ts'
import type { Encoding } from './encoding.ts'
import { FanOut } from './fan-out.ts'
import { Heartbeat } from './heartbeat.ts'
import { Hooks } from './hooks.ts'
import { Inbox } from './inbox.ts'
import { Lifetimes } from './lifetimes.ts'
import { AddressCounts } from './limits.ts'
import type { Hearing, Log, ManagerSettings } from './manager-settings.ts'
import type { Publication } from './publication.ts'
import { spread } from './spread.ts'
import type { Transport } from './transport.ts'

/**
 * Who is connected, and who hears what: the heart of Fanfare, shared by all routes as `app.connections`.
 */
export class ConnectionManager extends ClusterApi {
  readonly #settings: ManagerSettings
  readonly #log: Log
  readonly #connections = new Map<string, Connection>()
  readonly #addresses = new AddressCounts()
  readonly #channels: Channels
  readonly #fanOut: FanOut
  readonly #heartbeat: Heartbeat
  readonly #inbox: Inbox
  readonly #lifetimes: Lifetimes
  #stopping = false

  constructor (broker: Broker, rules: ChannelRules, settings: ManagerSettings, log: Log, name: NodeName) {
    super(broker, rules, new Hooks(settings.hookTimeout, log), settings.openToAll, name)
    this.#settings = settings
    this.#log = log
    const close = this.close.bind(this)
    this.#fanOut = new FanOut(settings.maxBufferedBytes, (connection) => close(connection, closeCodes.slow), (id) => this.#connections.get(id))
    this.#heartbeat = new Heartbeat(settings, (connection) => this.#silent(connection))
    this.#channels = new Channels({ ...settings, broker, rules, fanOut: this.#fanOut, hooks: this.hooks, close })
    this.#lifetimes = new Lifetimes(this.hooks, settings.hookTimeout, close)
    this.#inbox = new Inbox(settings, {
      refusalOf: (connection, channel) => this.publishRefusal(connection, channel),
      ask: (connection, channel, publication) => this.hooks.has('onPublish') ? this.askBeforePublishing(connection, channel, publication) : undefined,
      order: (channel, publication, extras) => this.order(channel, publication, extras),
      close,
      log
    })
  }

  /** Begins to work; to be called once, before all else. */
  async start (): Promise<void> {
    const { broker } = this
    await broker.start({
      deliver: (channel, publications) => this.#channels.deliver(channel, publications),
      lost: (channel, position) => this.#channels.lost(channel, position),
      control: (message) => this.cluster.receive(message),
      reachable: () => {
        if (!broker.shared) return
        this.cluster.announce()
        this.#channels.repeatPresence()
      }
    })
  }

  /** How many are connected to this node. */
  get count (): number {
    return this.#connections.size
  }

  /** How many channels of this node somebody is in. */
  get channelCount (): number {
    return this.#channels.size
  }

  /** Bytes that wait in this node for receivers that have fallen behind; what several of them wait for counts once. */
  get waitingBytes (): number {
    return this.#fanOut.backlog.bytes
  }

  /** Whether the node closes its connections and takes no new ones. */
  get stopping (): boolean {
    return this.#stopping
  }

  /**
   * Says why there is no room for a connection, if so. To be asked before an upgrade is answered, and in the same turn of
   * the event loop as `open`.
   *
   * @returns FANFARE_STOPPING, FANFARE_FULL, FANFARE_TOO_MANY_FROM_ADDRESS, FANFARE_TOO_MANY_CHANNELS, or nothing
   */
  refusalOf (peer: Peer, channels: readonly string[]): FanfareError | undefined {
    const { maxConnections, maxConnectionsPerIp, maxChannels } = this.#settings
    if (this.#stopping) return fanfareError('FANFARE_STOPPING')
    if (this.count >= maxConnections) return fanfareError('FANFARE_FULL', maxConnections)
    if (maxConnectionsPerIp > 0 && this.#addresses.of(peer.address) >= maxConnectionsPerIp) {
      return fanfareError('FANFARE_TOO_MANY_FROM_ADDRESS', maxConnectionsPerIp)
    }
    if (channels.length > maxChannels) return fanfareError('FANFARE_TOO_MANY_CHANNELS', maxChannels)
  }

  /**
   * Sees whether somebody may come, by limits, permissions and hooks.
   *
   * @param then gets why not, or who it is, as hooks may know more, and what it hears
   */
  admit (peer: Peer, wish: Wish, then: (refusal: Error | undefined, admission?: Admission) => void): void {
    const refusal = this.refusalOf(peer, wish.channels)
    if (refusal) then(refusal)
    else if (this.asksBeforeConnecting) this.askBeforeConnecting(peer, wish).then((admission) => then(undefined, admission), then)
    else {
      const admission = this.admitted(peer, wish)
      if (admission instanceof Error) then(admission)
      else then(undefined, admission)
    }
  }

  /**
   * Gets ready for a connection, so that it hears all that is published from the moment on that it is accepted.
   *
   * @param then gets why it may not come, if so; `open` may be called in the same turn of the loop
   */
  prepare ({ peer, channels }: Admission, then: (refusal?: Error) => void): void {
    const wait = this.#channels.prepare(channels)
    if (wait) wait.then(() => then(this.refusalOf(peer, channels)), then)
    else then(this.refusalOf(peer, channels))
  }

  /**
   * Takes a new connection in.
   *
   * @param admission who it is, and what it hears from now on
   */
  open (transport: Transport, encoding: Encoding, { peer, channels }: Admission, hearing: Hearing = {}): Connection {
    const connection = new Connection(transport, encoding, peer)
    this.#inbox.opened(connection)
    this.#connections.set(connection.id, connection)
    this.#addresses.add(peer.address)
    this.#heartbeat.add(connection)
    for (const channel of channels) this.subscribe(connection, channel, hearing)
    this.#lifetimes.add(connection, channels)
    this.#log.info({ connection: connection.id, address: peer.address, user: peer.user, channels, connections: this.count }, 'connection opened')
    return connection
  }

  /**
   * Lets a connection hear a channel: all that is published from now on, or from where it says on. Nothing changes if it
   * does already.
   */
  subscribe (connection: Connection, channel: string, { echo = true, since, last, positions }: Hearing = {}): void {
    const from = positions?.get(channel) ?? since
    if (from || last) this.#channels.joinFrom(connection, channel, echo, { since: from, last })
    else this.#channels.join(connection, channel, echo)
  }

  /** Ends that; the connection hears first what was published so far. */
  unsubscribe (connection: Connection, channel: string): void {
    this.#channels.leave(connection, channel)
  }

  /** Tells a connection something directly, after all that was published to it so far. */
  send (connection: Connection, bytes: Buffer): void {
    this.#channels.catchUp(connection)
    if (connection.open) connection.transport.write(bytes)
  }

  /** Handles what a connection sent: publishes it to the channel, at the rate that the connection may have. */
  receive (connection: Connection, channel: string, publication: Publication): void {
    if (!connection.open) return
    connection.awaitingPong = false
    this.#inbox.receive(connection, channel, publication)
  }

  /** Takes note of a sign of life. */
  alive (connection: Connection): void {
    connection.awaitingPong = false
  }

  /** Closes a connection from our side; it hears first what was published to it so far. */
  close (connection: Connection, { code, reason }: Close): void {
    if (!connection.open) return
    if (code !== closeCodes.slow.code) this.#channels.catchUp(connection)
    if (!connection.open) return
    connection.dismissed ||= endsRights(code)
    this.closed(connection, code)
    connection.transport.close(code, reason)
  }

  /** Takes a connection out of every table; to be called as soon as a transport is closed. */
  closed (connection: Connection, code: number): void {
    if (!connection.open) return
    connection.open = false
    this.#connections.delete(connection.id)
    this.#addresses.remove(connection.peer.address)
    this.#heartbeat.remove(connection)
    this.#fanOut.backlog.release(connection)
    this.#inbox.closed(connection)
    this.#lifetimes.remove(connection)
    this.#channels.leaveAll(connection)
    const { id, peer: { address, user } } = connection
    const seconds = Math.round(performance.now() - connection.openedAt) / 1000
    this.#log.info({ connection: id, address, user, code, seconds, connections: this.count }, 'connection closed')
    this.hooks.tell('onDisconnect', () => ({ caller: callerOn(connection), code, seconds }))
  }

  /**
   * Stops: takes no new connections, and closes those there are with 1012, few of them at once, many spread over time.
   *
   * @param seconds over which the closing is spread at most
   */
  async drain (seconds: number): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    await spread(Array.from(this.#connections.values()), seconds, (connection) => {
      connection.throttle?.flush()
      this.close(connection, closeCodes.restart)
    })
    this.#heartbeat.stop()
  }

  /** Ends, after `drain`: says goodbye to the other nodes and lets go of the broker. */
  async stop (): Promise<void> {
    await this.#channels.stop()
    await this.cluster.stop()
    await this.broker.close()
  }

  protected override renew (connection: Connection, renewal: Renewal): void {
    this.#lifetimes.renew(connection, renewal)
  }

  protected override here (): ReturnType<ClusterApi['here']> {
    return { connections: this.#connections, channels: this.#channels }
  }

  // While we do not read from a connection, its answer cannot be seen. One that is held for its rate, or by a hook, will be
  // read again; one that has taken nothing of what waits for it in all this time is a slow one.
  #silent (connection: Connection): void {
    if (connection.throttle?.busy || connection.turn) return
    this.close(connection, connection.heldForBacklog ? closeCodes.slow : closeCodes.noPong)
  }
}
