import { Backlog } from './backlog.ts'
import type { Channel, Subscription } from './channel.ts'
import type { Connection } from './connection.ts'
import { Gathering } from './gathering.ts'
import { Overfull } from './overfull.ts'
import type { Publication } from './publication.ts'
import { letWait, takeAnswers } from './waiting-answers.ts'

// A write costs 2 to 3 us, so that 64 of them between two looks at the clock cost less than 0.2 ms.
const WRITES_PER_LOOK = 64
// How long one flush may keep the event loop from accepting, reading and pinging.
const SLICE_MS = 5
// What publishers get before that. With 64 writes instead, scenario d of bench/, where 200 publish, took 0.63 us a delivery and not 0.51.
const PUBLISHERS_MS = 2.5
// A receiver with this much waiting has fallen behind: what it lacks is counted from here on.
const LAGGING_BYTES = 65_536
// Publishers are not preferred in a channel that has more than this to deliver: without a limit, 100 senders with 10 messages in
// flight each cost the same and waited longer (p50 69 ms, not 42).
const SMALL_BYTES = 4096
// What a message takes beside its data.
const FRAME_BYTES = 2

/** What the fan-out needs of those who own it. */
export interface FanOutParts {
  /** What may wait for one connection. */
  readonly maxBufferedBytes: number
  /** Gets each connection that has more than that waiting when it should get yet more. */
  onSlow (connection: Connection): void
  /** Gets each subscription that has missed publications for that, and how many, before anything newer comes. */
  onSkipped (subscription: Subscription, count: number): void
  /** Finds a connection of this node by its id. */
  find (id: string): Connection | undefined
}

/**
 * Brings publications to subscribers: what is published during one turn of the event loop goes out at its end, with
 * one encoding per kind of client and one write per receiver. The write is what costs; see docs/architecture.md.
 */
export class FanOut {
  readonly backlog = new Backlog()
  readonly #parts: FanOutParts
  readonly #gathering = new Gathering()
  #due = new Set<Channel>()
  /** Who published something that has not been flushed to all, and would hear it. */
  readonly #publishers = new Set<Subscription>()
  #scheduled = false
  #severalChannels = false
  /** Whether channels have more to deliver of what the flush under way began with. */
  #unfinished = false
  /** Connections that several channels may have something for; the first so many have been written to. */
  #reached: Connection[] = []
  #written = 0
  #writes = 0
  readonly #overfull: Overfull

  constructor (parts: FanOutParts) {
    this.#parts = parts
    this.#overfull = new Overfull(parts.maxBufferedBytes, (connection) => parts.onSlow(connection))
  }

  /** Appends publications to a channel, and sees to it that they are flushed when this turn of the loop ends. */
  publish (channel: Channel, publications: readonly Publication[]): void {
    this.#gathering.add(publications.length)
    if (channel.subscriptions.size > WRITES_PER_LOOK) this.#notePublishers(channel, publications)
    if (channel.append(publications, () => this.#schedule(channel))) this.#schedule(channel)
  }

  /**
   * Brings one connection to the end of a channel, ahead of the flush. To be called before the connection is told
   * anything about that channel, leaves it, or is closed.
   */
  catchUp (channel: Channel, subscription: Subscription): void {
    channel.catchUp(subscription, this.#deliver)
    this.writeDue(subscription.connection)
  }

  /** Writes what a flush under way has for a connection. To be called before something is encoded that does not wait for its end. */
  writeDue (connection: Connection): void {
    const { due, open, transport } = connection
    if (!due) return
    connection.due = undefined
    this.#writes++
    if (!open) return
    const isCounted = connection.backlog !== undefined
    transport.writeAll(due)
    if (due.reduce((sum, { length }) => sum + length, 0) > LAGGING_BYTES) this.#lookAfter(connection, isCounted ? undefined : due)
  }

  /**
   * Answers what a connection has published: after all that its channel has for it so far, and with that in one write.
   *
   * @param subscription that of the connection, if it hears the channel
   */
  answer (connection: Connection, subscription: Subscription | undefined, bytes: Buffer): void {
    if (!subscription?.echo || !letWait(subscription, bytes)) this.#tell(connection, [bytes])
  }

  /** Writes the answers that still wait. To be called before a subscriber leaves that is not brought to the end. */
  answerAll ({ connection, answers = [] }: Subscription): void {
    this.#tell(connection, answers.map(({ bytes }) => bytes))
  }

  #tell (connection: Connection, answers: readonly Buffer[]): void {
    if (answers.length === 0 || !connection.open) return
    this.writeDue(connection)
    connection.transport.writeAll(answers)
  }

  #notePublishers (channel: Channel, publications: readonly Publication[]): void {
    const { pending } = channel
    publications.forEach(({ from, data }, index) => {
      if (from === undefined || (pending + index + 1) * (data.length + FRAME_BYTES) > SMALL_BYTES) return
      const publisher = this.#parts.find(from)?.subscriptions.get(channel)
      if (publisher?.echo) this.#publishers.add(publisher)
    })
  }

  #schedule (channel: Channel): void {
    this.#due.add(channel)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#begin)
  }

  readonly #begin = (): void => {
    let receivers = 0
    for (const { subscriptions } of this.#due) receivers += subscriptions.size
    this.#gathering.wait(receivers, this.#flush)
  }

  readonly #flush = (): void => {
    const start = performance.now()
    // What was reached before is written first. Publishers, who are reached at once, keep nobody else waiting.
    const goesOnWriting = this.#reached.length > 0
    this.#severalChannels = !goesOnWriting && this.#due.size > 1
    this.#deliverToPublishers(start + PUBLISHERS_MS)
    const deadline = performance.now() + SLICE_MS
    if (!goesOnWriting) this.#deliverDue(deadline)
    this.#severalChannels = false
    this.#writeReached(deadline)
    this.#gathering.measured(this.#writes, performance.now() - start)
    this.#writes = 0
    const goesOn = this.#unfinished || this.#reached.length > 0
    this.#scheduled = goesOn || this.#due.size > 0
    if (this.#scheduled) setImmediate(goesOn ? this.#flush : this.#begin)
    else this.#publishers.clear()
  }

  // Who waits for its own message can go on while the others are written to: a few writes more for publishers, and the
  // next flush brings everybody else more messages in one.
  #deliverToPublishers (deadline: number): void {
    let look = this.#writes + WRITES_PER_LOOK
    for (const publisher of this.#publishers) {
      if (this.#writes >= look) {
        if (performance.now() >= deadline) return
        look += WRITES_PER_LOOK
      }
      this.#publishers.delete(publisher)
      const { channel, connection } = publisher
      if (channel.hasMore && connection.subscriptions.get(channel) === publisher) channel.catchUp(publisher, this.#deliver, channel.ready)
    }
  }

  // Gives every channel a turn.
  #deliverDue (deadline: number): void {
    const due = this.#due
    this.#due = new Set()
    const unfinished: Channel[] = []
    for (const channel of due) {
      let finished = false
      while (!finished && performance.now() < deadline) finished = channel.flush(this.#deliver, WRITES_PER_LOOK)
      if (!finished) unfinished.push(channel)
      else if (channel.hasMore) this.#due.add(channel)
    }
    // The one that has had a turn comes last in the next slice.
    const [interrupted, ...waiting] = unfinished
    for (const channel of waiting) this.#due.add(channel)
    if (interrupted) this.#due.add(interrupted)
    this.#unfinished = unfinished.length > 0
  }

  readonly #deliver = (subscription: Subscription, bytes: Buffer, count: number, mayLag: boolean): void => {
    const { transport } = subscription
    const answers = takeAnswers(subscription)
    // Only then can a connection have anything due; otherwise it need not be looked at.
    const due = this.#reached.length > 0 ? subscription.connection.due : undefined
    // Nothing has been written to it since its first publication of this flush was found to be in order.
    if (due && !subscription.connection.backlog && subscription.skipped === 0) {
      due.push(bytes, ...answers)
      return
    }
    const bufferedBytes = mayLag ? transport.bufferedBytes : 0
    // Who has missed something is told of it before anything newer comes.
    if (bufferedBytes > this.#parts.maxBufferedBytes || subscription.skipped > 0) {
      this.#tooSlow(subscription, count)
      this.#tell(subscription.connection, answers)
      return
    }
    const lags = bufferedBytes > LAGGING_BYTES
    if (lags) this.backlog.add(subscription.connection, bytes)
    if (due) due.push(bytes, ...answers)
    else if (this.#severalChannels) {
      subscription.connection.due = [bytes, ...answers]
      this.#reached.push(subscription.connection)
    } else {
      if (answers.length > 0) transport.writeAll([bytes, ...answers])
      else transport.write(bytes)
      this.#writes++
      if (bytes.length > LAGGING_BYTES) this.#lookAfter(subscription.connection, lags ? undefined : [bytes])
    }
  }

  // One write may be more than may wait, and nothing may come after it that would show whether that is taken.
  #lookAfter (connection: Connection, uncounted: readonly Buffer[] = []): void {
    const { transport } = connection
    if (transport.bufferedBytes <= this.#parts.maxBufferedBytes) return
    for (const bytes of uncounted) this.backlog.add(connection, bytes)
    this.#overfull.add(connection)
  }

  // Whatever number of channels has reached a connection in this flush, it costs one write.
  #writeReached (deadline: number): void {
    const reached = this.#reached
    while (this.#written < reached.length) {
      const stop = Math.min(this.#written + WRITES_PER_LOOK, reached.length)
      for (; this.#written < stop; this.#written++) this.writeDue(reached[this.#written] as Connection)
      if (performance.now() >= deadline) break
    }
    if (this.#written < reached.length) return
    this.#reached = []
    this.#written = 0
  }

  #tooSlow (subscription: Subscription, count: number): void {
    const { connection, channel } = subscription
    if (channel.slowReceiver === 'close') {
      this.#parts.onSlow(connection)
      return
    }
    if (subscription.skipped === 0) connection.transport.onceDrained(() => this.#tellSkipped(subscription))
    subscription.skipped += count
  }

  #tellSkipped (subscription: Subscription): void {
    const { connection, skipped } = subscription
    this.writeDue(connection)
    subscription.skipped = 0
    if (connection.open) this.#parts.onSkipped(subscription, skipped)
  }
}
