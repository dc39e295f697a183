import { Backlog } from './backlog.ts'
import type { Channel, Subscription } from './channel.ts'
import type { Connection } from './connection.ts'
import type { Publication } from './publication.ts'

// A write costs 2 to 3 us, so that 64 of them between two looks at the clock cost less than 0.2 ms.
const WRITES_PER_LOOK = 64
// A flush may wait this long for each receiver that it will write to, 4 % of what the write takes, for more publications
// to come in; with fewer than 200 receivers that is too short to look at all. Ten senders whose messages arrive within
// 50 us then cost one write per receiver, not two or three (scenario b: 0.67 us a delivery before, 0.36 after).
const GATHER_MS_PER_RECEIVER = 0.0001
const SHORTEST_GATHER_MS = 0.02
const LONGEST_GATHER_MS = 1
// How long one flush may keep the event loop from accepting, reading and pinging.
const SLICE_MS = 5
// A receiver with this much waiting has fallen behind: what it lacks is counted from here on.
const LAGGING_BYTES = 65_536

/**
 * Brings publications to subscribers: what is published during one turn of the event loop goes out at its end, with
 * one encoding per kind of client and one write per receiver. The write is what costs; see docs/architecture.md.
 */
export class FanOut {
  readonly backlog = new Backlog()
  readonly #maxBufferedBytes: number
  readonly #onSlow: (connection: Connection) => void
  #due = new Set<Channel>()
  #scheduled = false
  #arrived = false
  #gatherUntil = 0
  #severalChannels = false
  #reached: Connection[] = []

  /**
   * @param maxBufferedBytes that may wait for one connection
   * @param onSlow gets each connection that has more than `maxBufferedBytes` waiting when it should get yet more
   */
  constructor (maxBufferedBytes: number, onSlow: (connection: Connection) => void) {
    this.#maxBufferedBytes = maxBufferedBytes
    this.#onSlow = onSlow
  }

  /** Appends publications to a channel, and sees to it that they are flushed when this turn of the loop ends. */
  publish (channel: Channel, publications: readonly Publication[]): void {
    this.#arrived = true
    if (channel.append(publications, () => this.#schedule(channel))) this.#schedule(channel)
  }

  /**
   * Brings one connection to the end of a channel, ahead of the flush. To be called before the connection is told
   * anything about that channel, leaves it, or is closed.
   */
  catchUp (channel: Channel, subscription: Subscription): void {
    channel.catchUp(subscription, this.#deliver)
  }

  #schedule (channel: Channel, next = this.#begin): void {
    this.#due.add(channel)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(next)
  }

  readonly #begin = (): void => {
    let receivers = 0
    for (const { subscriptions } of this.#due) receivers += subscriptions.size
    const patience = Math.min(receivers * GATHER_MS_PER_RECEIVER, LONGEST_GATHER_MS)
    if (patience < SHORTEST_GATHER_MS) {
      this.#flush()
      return
    }
    this.#gatherUntil = performance.now() + patience
    this.#gather()
  }

  // Goes round the loop as long as every turn brings something, and the patience lasts.
  readonly #gather = (): void => {
    this.#arrived = false
    setImmediate(() => {
      if (this.#arrived && performance.now() < this.#gatherUntil) this.#gather()
      else this.#flush()
    })
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    const deadline = performance.now() + SLICE_MS
    const due = this.#due
    this.#due = new Set()
    const unfinished: Channel[] = []
    this.#severalChannels = due.size > 1
    for (const channel of due) {
      let finished = false
      while (!finished && performance.now() < deadline) finished = channel.flush(this.#deliver, WRITES_PER_LOOK)
      if (!finished) unfinished.push(channel)
    }
    // The one that has had a turn comes last in the next slice.
    const [interrupted, ...waiting] = unfinished
    for (const channel of waiting) this.#schedule(channel, this.#flush)
    if (interrupted) this.#schedule(interrupted, this.#flush)
    this.#writeReached()
  }

  readonly #deliver = (subscription: Subscription, bytes: Buffer, count: number): void => {
    const { connection } = subscription
    const { transport } = connection
    const { bufferedBytes } = transport
    // Who has missed something is told of it before anything newer comes.
    if (bufferedBytes > this.#maxBufferedBytes || subscription.skipped > 0) {
      this.#tooSlow(subscription, count)
      return
    }
    if (bufferedBytes > LAGGING_BYTES) this.backlog.add(connection, bytes)
    if (!this.#severalChannels) transport.write(bytes)
    else if (connection.due) connection.due.push(bytes)
    else {
      connection.due = [bytes]
      this.#reached.push(connection)
    }
  }

  // Whatever number of channels has reached a connection in this flush, it costs one write.
  #writeReached (): void {
    for (const { transport, due } of this.#reached) transport.writeAll(due as Buffer[])
    for (const connection of this.#reached) connection.due = undefined
    this.#reached = []
    this.#severalChannels = false
  }

  #tooSlow (subscription: Subscription, count: number): void {
    const { connection, channel } = subscription
    if (channel.slowReceiver === 'close') {
      this.#onSlow(connection)
      return
    }
    if (subscription.skipped === 0) connection.transport.onceDrained(() => tellSkipped(subscription))
    subscription.skipped += count
  }
}

function tellSkipped (subscription: Subscription): void {
  const { connection, channel, skipped } = subscription
  subscription.skipped = 0
  const bytes = connection.encoding.encodeSkipped?.(channel.name, skipped)
  if (bytes && connection.open) connection.transport.write(bytes)
}
