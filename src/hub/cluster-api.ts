import type { Broker } from '../brokers/broker.ts'
import { closeCodes, type Close } from '../close-codes.ts'
import { fanfareError } from '../errors.ts'
import { ChannelApi } from './channel-api.ts'
import type { ChannelRules } from './channel-rules.ts'
import type { Channels } from './channels.ts'
import { Cluster, type NodeFacts } from './cluster.ts'
import type { Connection } from './connection.ts'

/** What this node is called, for the other nodes. */
export interface NodeName { readonly name: string, readonly version: string }

/** Which connections are meant: all conditions that are given must hold. */
export interface ConnectionFilter {
  readonly id?: string | undefined
  readonly user?: string | undefined
  readonly channel?: string | undefined
  /** Ids of connections that are spared. */
  readonly except?: readonly string[] | undefined
}

/** What can be done with all nodes that share the broker. */
export abstract class ClusterApi extends ChannelApi {
  protected readonly cluster: Cluster
  readonly #name: NodeName
  readonly #startedAt = performance.now()

  constructor (broker: Broker, rules: ChannelRules, name: NodeName) {
    super(broker, rules)
    this.#name = name
    this.cluster = new Cluster(broker, () => this.#facts())
    this.cluster.answer('channels', (names?: string) => Object.fromEntries(this.here().channels.counts(names)))
    this.cluster.answer('disconnect', ({ filter, close }: { filter: ConnectionFilter, close: Close }) => this.#disconnectHere(filter, close))
  }

  /** Closes a connection of this node. */
  abstract close (connection: Connection, close: Close): void

  /** What there is on this node. */
  protected abstract here (): { readonly connections: ReadonlyMap<string, Connection>, readonly channels: Channels }

  /**
   * The channels that somebody is in, on all nodes, and how many are in each.
   *
   * @param names a glob of those that are wanted; all by default
   * @throws {FanfareError} FANFARE_UNAVAILABLE if the other nodes cannot be asked
   * @example for (const [name, count] of await app.connections.channels('chat:*')) console.log(name, count)
   */
  async channels (names?: string): Promise<Map<string, number>> {
    const total = new Map<string, number>()
    for (const counts of await this.cluster.ask<Record<string, number>>('channels', names)) {
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
    const { id, user, channel } = filter
    if (id === undefined && user === undefined && channel === undefined) throw fanfareError('FANFARE_BAD_FILTER')
    const counts = await this.cluster.ask<number>('disconnect', { filter, close })
    return counts.reduce((sum, count) => sum + count, 0)
  }

  #disconnectHere (filter: ConnectionFilter, close: Close): number {
    const { id, user, channel, except } = filter
    const { connections } = this.here()
    const candidates = id === undefined ? Array.from(connections.values()) : [connections.get(id)]
    const meant = candidates.filter((connection) => connection !== undefined &&
      (user === undefined || connection.peer.user === user) &&
      (channel === undefined || Array.from(connection.subscriptions.keys()).some(({ name }) => name === channel)) &&
      !except?.includes(connection.id)
    ) as Connection[]
    for (const connection of meant) this.close(connection, close)
    return meant.length
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
