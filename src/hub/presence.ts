import type { Broker, Member } from '../brokers/broker.ts'
import type { Subscription } from './channel.ts'
import type { Connection } from './connection.ts'

// So many members are named again in one call, so that no call holds up others for long.
const MEMBERS_AT_ONCE = 500
// One after the other, many channels, or one that Redis does not answer for, would outlast the time that members are remembered.
const CHANNELS_AT_ONCE = 32
// Members are named again this often within the time that they are remembered for.
const TIMES_PER_TTL = 3

/** The channels of this node whose members are to be known, and who is in them. */
type Here = () => Iterable<readonly [channel: string, subscriptions: ReadonlySet<Subscription>]>

interface Change { readonly joined: Map<string, Member>, readonly left: Set<string> }

/**
 * Tells the broker who is where. One that nodes share is told what has changed once a tick, and everything now and then,
 * as it may forget it; one of our own at once, which costs less than gathering.
 */
export class Presence {
  readonly #broker: Broker
  readonly #ttl: number
  readonly #here: Here
  readonly #changes = new Map<string, Change>()
  readonly #timer: NodeJS.Timeout | undefined
  #repeating = false

  /** @param ttl in seconds: how long somebody is taken to be there whose node has died */
  constructor (broker: Broker, ttl: number, here: Here) {
    this.#broker = broker
    this.#ttl = ttl
    this.#here = here
    if (broker.shared) this.#timer = setInterval(() => this.repeat(), ttl * 1000 / TIMES_PER_TTL).unref()
  }

  joined (channel: string, connection: Connection): void {
    const member = memberOf(connection, channel)
    if (!this.#broker.shared) {
      this.#update(channel, [member], [])
      return
    }
    const { joined, left } = this.#changeOf(channel)
    left.delete(member.client)
    joined.set(member.client, member)
  }

  left (channel: string, { id }: Connection): void {
    if (!this.#broker.shared) {
      this.#update(channel, [], [id])
      return
    }
    const { joined, left } = this.#changeOf(channel)
    joined.delete(id)
    left.add(id)
  }

  /** Tells anew what others may see of a connection. */
  renewed (connection: Connection): void {
    for (const { name, presence } of connection.subscriptions.keys()) if (presence) this.joined(name, connection)
  }

  /** Ends; resolves when the broker knows of all who have left. */
  async stop (): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#tell())
  }

  #changeOf (channel: string): Change {
    if (this.#changes.size === 0) setImmediate(this.#tell)
    let change = this.#changes.get(channel)
    if (!change) {
      change = { joined: new Map(), left: new Set() }
      this.#changes.set(channel, change)
    }
    return change
  }

  readonly #tell = (): (Promise<void> | undefined)[] => {
    const updates = [...this.#changes].map(([channel, { joined, left }]) => this.#update(channel, [...joined.values()], [...left]))
    this.#changes.clear()
    return updates
  }

  /** Names all who are here again. */
  async repeat (): Promise<void> {
    if (this.#repeating) return
    this.#repeating = true
    // One after the other each takes the next one: a promise for each of 15,000 at once took 60 ms of the loop.
    const channels = this.#here()[Symbol.iterator]()
    await Promise.all(Array.from({ length: CHANNELS_AT_ONCE }, async () => {
      for (let next; !(next = channels.next()).done;) await this.#repeat(...next.value)
    }))
    this.#repeating = false
  }

  async #repeat (channel: string, subscriptions: ReadonlySet<Subscription>): Promise<void> {
    const all = Array.from(subscriptions)
    for (let from = 0; from < all.length; from += MEMBERS_AT_ONCE) {
      // Some may have left while the ones before were named.
      const here = all.slice(from, from + MEMBERS_AT_ONCE).filter((subscription) => subscriptions.has(subscription))
      await this.#update(channel, here.map(({ connection }) => memberOf(connection, channel)), [])
    }
  }

  // What fails is made up for: who has come is named again, who has gone is forgotten in time.
  #update (channel: string, joined: readonly Member[], left: readonly string[]): Promise<void> | undefined {
    return this.#broker.updatePresence(channel, { joined, left }, this.#ttl)?.catch(() => {})
  }
}

/** What others in a channel may see of a connection. */
export function memberOf ({ id, peer: { user = '', info, grants } }: Connection, channel: string): Member {
  const channelInfo = grants?.get(channel)?.info
  if (info === undefined && channelInfo === undefined) return { client: id, user }
  return { client: id, user, ...info !== undefined && { info }, ...channelInfo !== undefined && { channelInfo } }
}
