import calculateSlot from 'cluster-key-slot'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { RedisPlace } from '../redis-url.ts'
import { commandOf, scripts, type ScriptName } from './scripts.ts'
import { within } from './within.ts'

// How long a command may take. A publish must have succeeded or failed within a second.
const COMMAND_TIMEOUT_MS = 800
const CONNECT_TIMEOUT_MS = 3000
// A link that says nothing is found within two of these.
export const PROBE_MS = 2500
/** It ends before the next one begins. */
export const PROBE_TIMEOUT_MS = 2400
// Only an answer within this time says anew how far the clock of Redis is ahead.
const TRUSTED_MS = 200
const LONGEST_RETRY_MS = 1000
const SLOTS_REFRESH_MS = 2000
const CONNECT_ANEW_MS = 100

export const CLOSED = 'the connection is closed'

type Value = string | number | Buffer
type Run = (keys: number, ...rest: Value[]) => Promise<unknown>

/** What a link tells. */
export interface LinkEvents {
  onUp (): void
  onDown (reason: string): void
}

/** The way to Redis for commands: one server, those that sentinels name, or a cluster. All of ioredis is here. */
export class RedisLink {
  readonly #place: RedisPlace
  readonly #events: LinkEvents
  readonly #client: Redis | Cluster
  readonly #timers: NodeJS.Timeout[]
  #clockAheadMs = 0
  #closed = false
  #up = false
  #probing = false
  #sharded = false

  constructor (place: RedisPlace, events: LinkEvents) {
    this.#place = place
    this.#events = events
    this.#client = place.kind === 'cluster' ? this.#makeCluster() : this.#make()
    this.#client.on('error', (error: Error) => this.#down(reasonOf(error)))
    this.#client.on('ready', () => this.#probe())
    this.#client.on('close', () => this.#down(CLOSED))
    // ioredis gives up for good when sentinels name another master while it is asking them for the master.
    this.#client.on('end', () => { if (!this.#closed) setTimeout(() => this.#connectAnew(), CONNECT_ANEW_MS) })
    this.#timers = [setInterval(() => this.#probe(), PROBE_MS).unref(), setInterval(() => this.#lookAtSlots(), SLOTS_REFRESH_MS).unref()]
  }

  /** Whether commands go through, as far as is known. */
  get up (): boolean {
    return this.#up
  }

  /** Whether it is a cluster with sharded Pub/Sub. Known once the link is up. */
  get canShard (): boolean {
    return this.#sharded
  }

  /** The server's time in so many milliseconds from now, by the clock of the server that is furthest ahead. */
  serverTimeIn (ms: number): number {
    return performance.now() + this.#clockAheadMs + ms
  }

  /** Runs a script. Rejects when there is no answer in time: whether it ran is not known then. */
  async run (name: ScriptName, keys: readonly string[], values: readonly Value[], timeoutMs = COMMAND_TIMEOUT_MS): Promise<unknown> {
    if (!this.#up) throw new Error('not connected')
    const client = this.#client as unknown as Record<string, Run>
    return within(timeoutMs, (client[`${commandOf(name)}Buffer`] as Run)(keys.length, ...keys, ...values))
  }

  async publish (channel: string, message: string): Promise<void> {
    if (!this.#up) throw new Error('not connected')
    await within(COMMAND_TIMEOUT_MS, this.#client.publish(channel, message))
  }

  async delete (key: string): Promise<void> {
    if (!this.#up) throw new Error('not connected')
    await within(COMMAND_TIMEOUT_MS, this.#client.del(key))
  }

  /** Writes something that is gone at once, and publishes something that nobody hears. */
  async attempt (key: string): Promise<void> {
    if (!this.#up) throw new Error('not connected')
    await within(COMMAND_TIMEOUT_MS, Promise.all([this.#client.set(key, '', 'PX', 1), this.#client.publish(key, '')]))
  }

  /** A connection of its own to hear on: to the server that a key belongs to, or to any. It does not reconnect. */
  makeSubscriber (server?: string): Redis {
    if (this.#place.kind !== 'cluster') return this.#make({ retryStrategy: null, sentinelRetryStrategy: () => null })
    const nodes = this.nodes()
    const address = server ?? nodes[Math.floor(Math.random() * nodes.length)] ?? ''
    const at = address.lastIndexOf(':')
    const known = at > 0 ? { host: address.slice(0, at), port: Number(address.slice(at + 1)) } : this.#place.hosts[0]
    return new Redis({ ...this.#options(), ...known, retryStrategy: null })
  }

  /** The servers of a cluster that may be subscribed to, as `host:port`. */
  nodes (): string[] {
    return this.#client instanceof Cluster ? this.#client.nodes('master').map(({ options: { host, port } }) => `${host}:${port}`) : []
  }

  /** Which server a key belongs to, if that is known. */
  serverOf (key: string): string | undefined {
    return this.#client instanceof Cluster ? this.#client.slots[calculateSlot(key)]?.[0] : 'the only one'
  }

  close (): void {
    this.#closed = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#client.disconnect()
  }

  // By `slotsRefreshInterval` ioredis would do it for ever, and keep the process alive, if it was closed while it looked.
  #lookAtSlots (): void {
    if (this.#client instanceof Cluster) this.#client.refreshSlotsCache()
  }

  #connectAnew (): void {
    if (!this.#closed) this.#client.connect().catch(() => {})
  }

  #make (more: RedisOptions = {}): Redis {
    const { kind, hosts, db, master, tls, sentinels } = this.#place
    if (kind === 'single') return new Redis({ ...this.#options(), ...hosts[0], db, ...more })
    return new Redis({
      ...this.#options(),
      sentinels: hosts.slice(),
      name: master ?? '',
      db,
      ...sentinels.username !== undefined && { sentinelUsername: sentinels.username },
      ...sentinels.password !== undefined && { sentinelPassword: sentinels.password },
      ...sentinels.tls && { sentinelTLS: {} },
      enableTLSForSentinelMode: tls,
      // Without it a sentinel that hangs would be waited for for ever, though others know the master.
      sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
      failoverDetector: true,
      sentinelRetryStrategy: (times) => Math.min(times * 100, LONGEST_RETRY_MS),
      ...more
    })
  }

  #makeCluster (): Cluster {
    const { hosts, tls } = this.#place
    return new Cluster(hosts.map((host) => ({ ...host })), {
      scripts: scripts(),
      enableOfflineQueue: false,
      // What was under way when a connection was lost may have been done: it is not sent again.
      retryDelayOnFailover: 0,
      clusterRetryStrategy: (times) => Math.min(times * 100, LONGEST_RETRY_MS),
      slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
      // Certificates are for names.
      ...tls && { dnsLookup: (address, done) => done(null, address) },
      redisOptions: this.#options()
    })
  }

  #options (): RedisOptions {
    const { username, password, tls } = this.#place
    return {
      ...username !== undefined && { username },
      ...password !== undefined && { password },
      ...tls && { tls: {} },
      scripts: scripts(),
      // What cannot be sent now is for the caller to know of; what has been sent is not sent twice.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      // Without it a command whose connection is lost would never end (redis/ioredis#2193).
      commandTimeout: CONNECT_TIMEOUT_MS,
      connectTimeout: CONNECT_TIMEOUT_MS,
      retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), LONGEST_RETRY_MS) * (0.5 + Math.random() / 2),
      // Redis 6 says it in the middle of a sentence, if it is a script that it refuses.
      reconnectOnError: (error) => /\b(READONLY|LOADING|MASTERDOWN)\b/.test(error.message)
    }
  }

  // A link may be dead without a word: a server that was stopped, a route that swallows everything.
  async #probe (): Promise<void> {
    if (this.#probing || this.#client.status !== 'ready') return
    this.#probing = true
    const startedAt = performance.now()
    try {
      const clocks = await within(PROBE_TIMEOUT_MS, this.#clocks())
      const now = performance.now()
      // At the latest now: of an answer that took long it is not known when it was given, and nothing may come later than was said.
      if (!this.#up || now - startedAt < TRUSTED_MS) this.#clockAheadMs = Math.max(...clocks) - now
      if (this.#up) return
      const { db } = this.#place
      // ioredis goes on in database 0 if there is no such one: in that of others, perhaps.
      if (this.#client instanceof Redis && db > 0) await within(PROBE_TIMEOUT_MS, this.#client.select(db))
      this.#sharded = this.#client instanceof Cluster && await within(PROBE_TIMEOUT_MS, hasShardedPubSub(this.#client))
      this.#up = true
      this.#events.onUp()
    } catch (error) {
      this.#down(reasonOf(error as Error))
      // Begins anew: a cluster sees to its connections itself.
      if (this.#client instanceof Redis && this.#client.status === 'ready') this.#client.disconnect(true)
    } finally {
      this.#probing = false
    }
  }

  async #clocks (): Promise<number[]> {
    if (this.#client instanceof Redis) return [await clockOf(this.#client)]
    // Of a cluster some servers may be away.
    const clocks = await Promise.allSettled(this.#client.nodes('master').map(async (server) => {
      try {
        return await within(PROBE_TIMEOUT_MS / 2, clockOf(server))
      } catch (error) {
        // Its connection may be dead without a word. The next look at the slots makes another.
        server.disconnect()
        throw error
      }
    }))
    const known = clocks.flatMap((clock) => clock.status === 'fulfilled' ? [clock.value] : [])
    if (known.length === 0) throw new Error('no server of the cluster answers')
    return known
  }

  #down (reason: string): void {
    const wasUp = this.#up
    this.#up = false
    if (wasUp || this.#client.status !== 'ready') this.#events.onDown(reason)
  }
}

async function clockOf (server: Redis): Promise<number> {
  const [seconds, microseconds] = await server.time()
  return Number(seconds) * 1000 + Number(microseconds) / 1000
}

async function hasShardedPubSub (cluster: Cluster): Promise<boolean> {
  const info = await cluster.info('server') as unknown as string
  return Number(/redis_version:(\d+)/.exec(String(info))?.[1]) >= 7
}

/** What an error of a connection says; one of several addresses has no message of its own. */
export function reasonOf (error: Error & { code?: string, errors?: readonly Error[] }): string {
  const reason = error.message || error.errors?.[0]?.message || error.code || 'the connection is lost'
  return reason.replace(/\.$/, '')
}
