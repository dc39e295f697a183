import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises'
import pRetry from 'p-retry'
import type { Cluster } from '../hub/cluster.ts'
import type { EventQueue } from './event-queue.ts'

const QUESTION = 'occupancy'
// Asked for at a time.
const MAX_CHANNELS = 500
// What waits for an answer of the other nodes at most.
const MAX_CHANGES = 10_000
const LONGEST_PAUSE_MS = 5000

interface Change {
  readonly type: 'occupied' | 'vacated'
  readonly channel: string
  readonly time: number
  /** Whether it is known if the back end must be told. */
  settled: boolean
}

/**
 * Tells the back end which channels have somebody in them, on any node. A node whose first connection comes to a channel asks
 * the others: if one is in it already, and has told that or knows that it was told, there is nothing to tell. Two nodes
 * that begin at the same time both tell it. Likewise when the last one goes: who is the last of all tells it.
 */
export class Occupancy {
  readonly #cluster: Cluster
  readonly #queue: EventQueue
  readonly #stopping = new AbortController()
  /** With which change each channel of this node was occupied. */
  readonly #here = new Map<string, Change>()
  #changes: Change[] = []
  #running: Promise<void> | undefined

  constructor (cluster: Cluster, queue: EventQueue) {
    this.#cluster = cluster
    this.#queue = queue
    cluster.answer(QUESTION, (channels: readonly string[]) => channels.flatMap((channel) => {
      const change = this.#here.get(channel)
      return change ? [[channel, change.settled]] : []
    }))
  }

  /** Takes note that the first connection of this node is in a channel. */
  occupied (channel: string): void {
    const change: Change = { type: 'occupied', channel, time: Date.now(), settled: false }
    this.#here.set(channel, change)
    this.#add(change)
  }

  /** Takes note that the last one has left it. */
  vacated (channel: string): void {
    this.#here.delete(channel)
    this.#add({ type: 'vacated', channel, time: Date.now(), settled: false })
  }

  /**
   * Ends; what is not known by then counts as lost.
   *
   * @param ms how long to wait for the other nodes
   */
  async stop (ms: number): Promise<void> {
    const late = new AbortController()
    await Promise.race([this.#running, wait(ms, undefined, { signal: late.signal }).catch(() => {})])
    late.abort()
    this.#stopping.abort()
    for (let left = this.#changes.length; left > 0; left--) this.#queue.lose()
    this.#changes = []
  }

  #add (change: Change): void {
    if (this.#changes.length < MAX_CHANGES) this.#changes.push(change)
    else this.#queue.lose()
    this.#running ??= this.#settleAll().catch(() => {}).finally(() => { this.#running = undefined })
  }

  async #settleAll (): Promise<void> {
    const { signal } = this.#stopping
    await turn()
    while (this.#changes.length > 0) {
      const changes = this.#changes.slice(0, MAX_CHANNELS)
      const channels = Array.from(new Set(changes.map(({ channel }) => channel)))
      const elsewhere = await pRetry(async () => this.#elsewhere(channels), { retries: Infinity, minTimeout: 100, maxTimeout: LONGEST_PAUSE_MS, randomize: true, signal })
      this.#changes = this.#changes.slice(changes.length)
      for (const change of changes) this.#settle(change, elsewhere.get(change.channel))
    }
  }

  // An older change of the same channel says nothing of the latest: each is settled by itself.
  #settle (change: Change, elsewhere: boolean | undefined): void {
    change.settled = true
    const { type, channel, time } = change
    if (type === 'occupied' ? elsewhere !== true : elsewhere === undefined) this.#queue.add({ type, channel, time })
  }

  // The channels in which somebody is on another node, and whether that is settled there.
  async #elsewhere (channels: readonly string[]): Promise<Map<string, boolean>> {
    const found = new Map<string, boolean>()
    const answers = await this.#cluster.ask<[channel: string, settled: boolean][] | undefined>(QUESTION, channels)
    // Who is silent may be in all of them.
    if (answers.length < this.#cluster.size) throw new Error('A node has not answered')
    for (const [channel, settled] of answers.slice(1).flatMap((answer) => answer ?? [])) found.set(channel, settled || found.get(channel) === true)
    return found
  }
}
