import type { RedisLink } from './link.ts'
import { Subscriber, type SubscriberEvents } from './subscriber.ts'

const LOOK_MS = 1000

/**
 * Everything that a node hears through Pub/Sub: on one connection, or, where it is sharded, on one to each server of the
 * cluster that has some of the channels, and on one more for what nodes say to each other.
 */
export class Hearing {
  readonly #link: RedisLink
  readonly #events: SubscriberEvents
  readonly #control: string
  readonly #channels = new Set<string>()
  readonly #shards = new Map<string, Subscriber>()
  readonly #servers = new Map<string, string>()
  #common: Subscriber | undefined
  #sharded = false
  #timer: NodeJS.Timeout | undefined

  /** @param control where nodes hear each other */
  constructor (link: RedisLink, control: string, events: SubscriberEvents) {
    this.#link = link
    this.#events = events
    this.#control = control
  }

  /** Begins; to be called once, when it is known whether the channels are sharded. */
  start (sharded: boolean): void {
    this.#sharded = sharded
    this.#common = new Subscriber(() => this.#link.makeSubscriber(), false, this.#events)
    this.#common.add(this.#control)
    for (const channel of this.#channels) this.#assign(channel)
    if (sharded) this.#timer = setInterval(() => this.#reassign(), LOOK_MS).unref()
  }

  /** Whether everything can be heard. */
  get up (): boolean {
    return this.#common?.up === true && Array.from(this.#shards.values()).every(({ up }) => up)
  }

  /** Hears a channel from soon on, also one that it should hear already; `onHeard` says when. */
  add (channel: string): void {
    this.#channels.add(channel)
    if (this.#common) this.#assign(channel)
  }

  remove (channel: string): void {
    this.#channels.delete(channel)
    this.#subscriberOf(channel)?.remove(channel)
    this.#servers.delete(channel)
  }

  close (): void {
    clearInterval(this.#timer)
    this.#common?.close()
    for (const shard of this.#shards.values()) shard.close()
  }

  #assign (channel: string): void {
    if (this.#sharded) {
      const server = this.#link.serverOf(channel)
      // Known by the next look.
      if (server === undefined) return
      if (server !== this.#servers.get(channel)) this.#subscriberOf(channel)?.remove(channel)
      this.#servers.set(channel, server)
      if (!this.#shards.has(server)) this.#shards.set(server, new Subscriber(() => this.#link.makeSubscriber(server), true, this.#events))
    }
    this.#subscriberOf(channel)?.add(channel)
  }

  #subscriberOf (channel: string): Subscriber | undefined {
    return this.#sharded ? this.#shards.get(this.#servers.get(channel) ?? '') : this.#common
  }

  // Channels move between the servers of a cluster, and servers take each other's place.
  #reassign (): void {
    for (const channel of this.#channels) {
      const server = this.#link.serverOf(channel)
      if (server !== undefined && server !== this.#servers.get(channel)) this.#assign(channel)
    }
    for (const [server, shard] of this.#shards) {
      if (shard.size > 0) continue
      shard.close()
      this.#shards.delete(server)
    }
  }
}
