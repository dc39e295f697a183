import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Broker } from '../brokers/broker.ts'
import { closeCodes, endsRights, type Close } from '../close-codes.ts'
import { fanfareError } from '../errors.ts'
import { AccessApi } from './access-api.ts'
import { actOnAll } from './act-on-all.ts'
import type { ChannelRules } from './channel-rules.ts'
import type { Channels } from './channels.ts'
import { Cluster, type NodeFacts } from './cluster.ts'
import type { Connection, Grant } from './connection.ts'
import type { Hooks } from './hooks.ts'
import type { Inbox } from './inbox.ts'
import { serverRefusal } from './permissions.ts'
import { channelNameRefusal, mustBeJson } from './publication.ts'
import { RecentDisconnects, type Disconnect, type LateDisconnect } from './recent-disconnects.ts'

/** What this node is called, for the other nodes. */
export interface NodeName { readonly name: string, readonly version: string }

/** Which connections are meant: all conditions that are given must hold. */
export interface ConnectionFilter {
  readonly id?: string | undefined
  readonly user?: string | undefined
  /** Of a client that sends by requests of their own; any other has its id for one. */
  readonly session?: string | undefined
  readonly channel?: string | undefined
  /** Ids of connections that are spared. */
  readonly except?: readonly string[] | undefined
}

/** What is new of who a connection is. */
export interface Renewal {
  /** When it ends now, by the wall clock in milliseconds; never, if that is not given. */
  readonly expiresAt?: number | undefined
  /** What others may see of the user; as before, if that is not given. */
  readonly info?: unknown
}

/** What nodes tell each other of connections. */
interface Told<What> { readonly filter: ConnectionFilter, readonly what: What }

/** What can be done with all nodes that share the broker. */
export abstract class ClusterApi extends AccessApi {
  /** What nodes ask each other. */
  readonly cluster: Cluster
  readonly #name: NodeName
  readonly #startedAt = performance.now()
  readonly #recent = new RecentDisconnects()

  constructor (broker: Broker, rules: ChannelRules, hooks: Hooks, openToAll: boolean, name: NodeName) {
    super(broker, rules, hooks, openToAll)
    this.#name = name
    this.cluster = new Cluster(broker, () => this.#facts())
    this.cluster.answer('channels', (names?: string) => Object.fromEntries(this.here().channels.counts(names)))
    this.cluster.answer('disconnect', ({ filter, what: close }: Told<Close>) => {
      if (broker.shared) this.#recent.add({ filter, close })
      return this.#disconnect({ filter, close })
    })
    this.cluster.answer('disconnect late', async (missed: LateDisconnect[]) => {
      for (const { agoMs, ...disconnect } of missed) {
        await this.#disconnect(disconnect, performance.now() - agoMs)
        await nextTurn()
      }
    })
    this.cluster.greet('disconnect late', ({ uptime }) => this.#recent.within((uptime + 1) * 1000))
    this.#answer('refresh', (connection, renewal: Renewal) => this.renew(connection, renewal))
    this.#answer('subscribe', (connection, { channel, grant }: { channel: string, grant?: Grant }) => this.place(connection, channel, grant))
    this.#answer('unsubscribe', (connection, channel: string) => this.remove(connection, channel))
  }

  /** Closes a connection of this node. */
  abstract close (connection: Connection, close: Close): void

  /** Puts a connection of this node into a channel, or takes it out, and tells it so. */
  protected abstract place (connection: Connection, channel: string, grant?: Grant): Promise<void>
  protected abstract remove (connection: Connection, channel: string): void

  /** Takes note that a connection of this node may go on. */
  protected abstract renew (connection: Connection, renewal: Renewal): void

  /** What there is on this node. */
  protected abstract here (): { readonly connections: ReadonlyMap<string, Connection>, readonly channels: Channels, readonly inbox: Inbox }

  /**
   * The channels that somebody is in, on all nodes, and how many are in each.
   *
   * @param names a glob of those that are wanted; all by default
   * @throws {FanfareError} FANFARE_UNAVAILABLE if the other nodes cannot be asked
   * @example for (const [name, count] of await app.connections.channels('chat:*')) console.log(name, count)
   */
  async channels (names?: string): Promise<Map<string, number>> {
    const total = new Map<string, number>()
    for (const counts of await this.#askAll<Record<string, number>>('channels', names)) {
      for (const [name, count] of Object.entries(counts)) total.set(name, (total.get(name) ?? 0) + count)
    }
    return total
  }

  /** All nodes that share the broker, this one first. */
  nodes (): NodeFacts[] {
    return this.cluster.nodes()
  }

  /**
   * Closes connections, on all nodes.
   *
   * @param filter which ones; one that names nobody is an error, so that a user who is not known does not end everyone
   * @param close code and reason that they get
   * @returns how many
   * @throws {FanfareError} FANFARE_BAD_FILTER; FANFARE_UNAVAILABLE if other nodes cannot be told
   * @example await app.connections.disconnect({ user: 'ada' })
   */
  async disconnect (filter: ConnectionFilter, close: Close = closeCodes.disconnected): Promise<number> {
    return this.#tell('disconnect', filter, close)
  }

  /**
   * Lets connections go on that would end with their token, on all nodes.
   *
   * @param filter which ones, as for `disconnect`
   * @param renewal until when, and what is to be known of the user from now on
   * @returns how many
   * @throws {FanfareError} FANFARE_BAD_FILTER, FANFARE_UNAVAILABLE
   * @example await app.connections.refresh({ user: 'ada' }, { expiresAt: Date.now() + 3_600_000 })
   */
  async refresh (filter: ConnectionFilter, renewal: Renewal): Promise<number> {
    mustBeJson(renewal.info)
    return this.#tell('refresh', filter, renewal)
  }

  /**
   * Lets connections hear one more channel, on all nodes, whatever its rule says, unless that is `none`; throws like `refresh`,
   * FANFARE_BAD_CHANNEL and FANFARE_FORBIDDEN.
   *
   * @param grant what others may see of the user there, what the client is told with it, and when it ends; see `Grant`
   * @example await app.connections.addTo('orders:42', { user: 'ada' }, { expiresAt: Date.now() + 3_600_000 })
   */
  async addTo (channel: string, filter: ConnectionFilter, grant?: Omit<Grant, 'single' | 'byServer'>): Promise<number> {
    const refusal = channelNameRefusal(channel) ?? serverRefusal(this.rules.of(channel).allow.subscribe, 'subscribe', channel)
    if (refusal) throw refusal
    mustBeJson(grant)
    return this.#tell('subscribe', filter, { channel, grant })
  }

  /** Takes connections out of a channel, on all nodes; throws like `refresh`. */
  async removeFrom (channel: string, filter: ConnectionFilter): Promise<number> {
    return this.#tell('unsubscribe', filter, channel)
  }

  async #tell (question: string, filter: ConnectionFilter, what: unknown): Promise<number> {
    const { id, user, session, channel } = filter
    if (id === undefined && user === undefined && session === undefined && channel === undefined) throw fanfareError('FANFARE_BAD_FILTER')
    const counts = await this.#askAll<number>(question, { filter, what })
    return counts.reduce((sum, count) => sum + count, 0)
  }

  async #askAll<Answer> (question: string, subject: unknown): Promise<Answer[]> {
    const answers = await this.cluster.ask<Answer>(question, subject)
    if (answers.length < this.cluster.size) throw fanfareError('FANFARE_UNAVAILABLE', 'not every node has answered')
    return answers
  }

  async #disconnect ({ filter, close }: Disconnect, openedBefore = Infinity): Promise<number> {
    if (endsRights(close.code)) this.here().inbox.revoke((connection) => isMeant(connection, filter, openedBefore))
    return actOnAll(this.#meant(filter, openedBefore), (connection) => this.close(connection, close))
  }

  #answer<What> (question: string, act: (connection: Connection, what: What) => Promise<void> | void): void {
    this.cluster.answer(question, ({ filter, what }: Told<What>) => actOnAll(this.#meant(filter), (connection) => act(connection, what)))
  }

  #meant (filter: ConnectionFilter, openedBefore?: number): Connection[] {
    const { connections } = this.here()
    const candidates = filter.id === undefined ? Array.from(connections.values()) : [connections.get(filter.id)]
    return candidates.filter((connection) => connection !== undefined && isMeant(connection, filter, openedBefore)) as Connection[]
  }

  #facts (): NodeFacts {
    const { connections, channels } = this.here()
    return {
      ...this.#name,
      uid: this.cluster.id,
      num_clients: connections.size,
      num_users: new Set(Array.from(connections.values(), ({ peer }) => peer.user)).size,
      num_channels: channels.size,
      num_subs: channels.subscribers,
      uptime: Math.floor((performance.now() - this.#startedAt) / 1000)
    }
  }
}

function isMeant (connection: Connection, { id, user, session, channel, except }: ConnectionFilter, openedBefore = Infinity): boolean {
  return connection.openedAt < openedBefore && (id === undefined || connection.id === id) &&
    (user === undefined || connection.peer.user === user) &&
    (session === undefined || (connection.peer.session ?? connection.id) === session) &&
    (channel === undefined || connection.isIn(channel)) &&
    !except?.includes(connection.id)
}
