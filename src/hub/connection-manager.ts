import type { Broker } from '../brokers/broker.ts'
import { closeCodes, endsRights, type Close } from '../close-codes.ts'
import { fanfareError, type FanfareError } from '../errors.ts'
import type { Admission, Wish } from './access-api.ts'
import type { ChannelRules } from './channel-rules.ts'
import { Channels } from './channels.ts'
import { ClientApi, IDENTIFY_S } from './client-api.ts'
import type { ClusterApi, NodeName } from './cluster-api.ts'
import { ConnectionLimits } from './connection-limits.ts'
import { Connection, type Peer } from './connection.ts'
import type { Encoding } from './encoding.ts'
import { FanOut } from './fan-out.ts'
import { Heartbeat } from './heartbeat.ts'
import { callerOn, Hooks } from './hooks.ts'
import { hasMuchWaiting, Inbox } from './inbox.ts'
import { Lifetimes } from './lifetimes.ts'
import { isBacklogged } from './limits.ts'
import type { Hearing, Log, ManagerSettings } from './manager-settings.ts'
import { spread } from './spread.ts'
import type { Transport } from './transport.ts'

/**
 * Who is connected, and who hears what: the heart of Fanfare, shared by all routes as `app.connections`.
 */
export class ConnectionManager extends ClientApi {
  readonly #settings: ManagerSettings
  protected override readonly log: Log
  protected override readonly maxChannels: number
  readonly #connections = new Map<string, Connection>()
  /** Closed from our side, but not gone yet: they have sockets. */
  readonly #closing = new Set<Connection>()
  readonly #limits: ConnectionLimits
  protected override readonly table: Channels
  readonly #fanOut: FanOut
  protected override readonly heartbeat: Heartbeat
  protected override readonly inbox: Inbox
  protected override readonly lifetimes: Lifetimes
  #stopping = false

  constructor (broker: Broker, rules: ChannelRules, settings: ManagerSettings, log: Log, name: NodeName) {
    super(broker, rules, new Hooks(settings.hookTimeout, log), settings.openToAll, name)
    this.#settings = settings
    this.#limits = new ConnectionLimits(settings)
    this.log = log
    this.maxChannels = settings.maxChannels
    const close = this.close.bind(this)
    this.#fanOut = new FanOut({
      maxBufferedBytes: settings.maxBufferedBytes,
      onSlow: (connection) => close(connection, closeCodes.slow),
      onSkipped: (subscription, count) => this.table.skipped(subscription, count),
      find: (id) => this.#connections.get(id)
    })
    this.heartbeat = new Heartbeat(settings, (connection) => this.#silent(connection))
    this.table = new Channels({ ...settings, broker, rules, fanOut: this.#fanOut, hooks: this.hooks, close, place: (connection, channel, grant) => this.place(connection, channel, grant) })
    this.lifetimes = new Lifetimes(this.hooks, settings.hookTimeout, { close, present: (connection) => this.table.presence.renewed(connection), expel: (connection, channel) => this.table.expel(connection, channel) })
    this.inbox = new Inbox(settings, {
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
      deliver: (channel, publications) => this.table.deliver(channel, publications),
      lost: (channel, position) => this.table.lost(channel, position),
      control: (message) => this.cluster.receive(message),
      reachable: () => {
        if (!broker.shared) return
        this.cluster.announce()
        this.table.presence.repeat()
      }
    })
  }

  /** How many are connected to this node. */
  get count (): number {
    return this.#connections.size
  }

  /** How many channels of this node somebody is in. */
  get channelCount (): number {
    return this.table.size
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
    if (this.#stopping) return fanfareError('FANFARE_STOPPING')
    const refusal = this.#limits.refusalOf(peer.address)
    if (refusal) return refusal
    if (channels.length > this.maxChannels) return fanfareError('FANFARE_TOO_MANY_CHANNELS', this.maxChannels)
  }

  /**
   * Sees whether somebody may come, by limits, permissions and hooks.
   *
   * @param then gets why not, or who it is, as hooks may know more, and what it hears
   */
  admit (peer: Peer, wish: Wish, then: (refusal: Error | undefined, admission?: Admission) => void): void {
    const refusal = this.refusalOf(peer, wish.channels)
    if (refusal) then(refusal)
    else if (this.asksBeforeConnecting) {
      this.#limits.add(peer.address)
      this.askBeforeConnecting(peer, wish).finally(() => this.#limits.remove(peer.address)).then((admission) => then(undefined, admission), then)
    } else {
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
    const wait = this.table.prepare(channels)
    if (wait) wait.then(() => then(this.refusalOf(peer, channels)), then)
    else then(this.refusalOf(peer, channels))
  }

  /**
   * Takes a new connection in.
   *
   * @param admission who it is, and what it hears from now on
   */
  open (transport: Transport, encoding: Encoding, { peer, channels }: Admission, hearing: Hearing = {}): Connection {
    const connection = this.#take(transport, encoding, peer)
    this.heartbeat.add(connection)
    for (const channel of channels) this.subscribe(connection, channel, hearing)
    this.lifetimes.add(connection, channels)
    this.opened(connection, channels)
    return connection
  }

  /**
   * Takes in a new connection that will say who it is, see `identify`. It hears nothing until then, and is closed with 3502 if
   * it does not within seconds.
   *
   * @param peer where it comes from
   */
  accept (transport: Transport, encoding: Encoding, peer: Peer): Connection {
    const connection = this.#take(transport, encoding, peer)
    connection.known = false
    this.lifetimes.limit(connection, IDENTIFY_S, closeCodes.stale)
    this.log.debug({ connection: connection.id, address: peer.address }, 'connection accepted')
    return connection
  }

  #take (transport: Transport, encoding: Encoding, peer: Peer): Connection {
    const connection = new Connection(transport, encoding, peer)
    this.inbox.opened(connection)
    this.#connections.set(connection.id, connection)
    this.#limits.add(peer.address)
    return connection
  }

  /** Closes a connection from our side; it hears first what was published to it so far. */
  close (connection: Connection, { code, reason }: Close): void {
    if (!connection.open) return
    if (code !== closeCodes.slow.code) this.table.catchUp(connection)
    if (!connection.open) return
    connection.dismissed ||= endsRights(code)
    this.#end(connection, code)
    this.#closing.add(connection)
    connection.transport.close(code, reason)
  }

  /** Takes a connection out of every table; to be called as soon as a transport is closed. */
  closed (connection: Connection, code: number): void {
    if (!this.#closing.delete(connection) && !connection.open) return
    this.#limits.remove(connection.peer.address)
    this.#end(connection, code)
  }

  #end (connection: Connection, code: number): void {
    if (!connection.open) return
    connection.open = false
    this.#connections.delete(connection.id)
    this.heartbeat.remove(connection)
    this.#fanOut.backlog.release(connection)
    this.inbox.closed(connection)
    this.lifetimes.remove(connection)
    this.table.leaveAll(connection)
    const { id, peer: { address, user } } = connection
    const seconds = Math.round(performance.now() - connection.openedAt) / 1000
    this.log.info({ connection: id, address, user, code, seconds, connections: this.count }, 'connection closed')
    if (connection.known) this.hooks.tell('onDisconnect', () => ({ caller: callerOn(connection), code, seconds }))
  }

  /**
   * Stops: takes no new connections, and closes those there are with 1012, few of them at once, many spread over time.
   *
   * @param seconds over which the closing is spread at most
   */
  async drain (seconds: number): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.inbox.flush()
    await spread(Array.from(this.#connections.values()), seconds, (connection) => {
      connection.throttle?.flush()
      this.close(connection, closeCodes.restart)
    })
    await this.inbox.settled(Math.min(this.#settings.hookTimeout, seconds * 0.3) * 1000)
    this.heartbeat.stop()
  }

  /** Ends, after `drain`: says goodbye to the other nodes and lets go of the broker. */
  async stop (): Promise<void> {
    await this.table.presence.stop()
    await this.cluster.stop()
    await this.broker.close()
  }

  protected override here (): ReturnType<ClusterApi['here']> {
    return { connections: this.#connections, channels: this.table, inbox: this.inbox }
  }

  // While we do not read from a connection, its answer cannot be seen. One that is held for its rate, or by a hook, is read from
  // a little, until the next time; one that has taken nothing of what waits for it in all this time is a slow one.
  #silent (connection: Connection): void {
    const isFull = connection.heldForBacklog || isBacklogged(connection, this.#settings.maxBufferedBytes)
    const isHeld = connection.throttle?.busy || connection.turn !== undefined
    if (!isFull && isHeld && hasMuchWaiting(connection)) return
    if (!isFull && isHeld && !connection.peeking) connection.peek()
    else this.close(connection, isFull ? closeCodes.slow : closeCodes.noPong)
  }
}
