import type { Connection } from './connection.ts'

// Timers of more milliseconds than a signed number of 32 bits can hold fire at once.
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** So many of something in a second. */
export class Bucket {
  readonly #rate: number
  readonly #capacity: number
  #tokens: number
  #countedAt = performance.now()

  /**
   * @param rate per second, above 0
   * @param capacity how many may come at once; those of a second by default
   */
  constructor (rate: number, capacity = Math.max(1, rate)) {
    this.#rate = rate
    this.#capacity = capacity
    this.#tokens = this.#capacity
  }

  /** Milliseconds until there is one; 0 if there is. */
  get waitMs (): number {
    this.#refill()
    return this.#tokens >= 1 ? 0 : Math.ceil((1 - this.#tokens) * 1000 / this.#rate)
  }

  /** Milliseconds until all that may come at once may come again. */
  get refillMs (): number {
    this.#refill()
    return Math.ceil((this.#capacity - this.#tokens) * 1000 / this.#rate)
  }

  take (): void {
    this.#tokens--
  }

  #refill (): void {
    const now = performance.now()
    this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#countedAt) * this.#rate / 1000)
    this.#countedAt = now
  }
}

/**
 * Holds one connection to a number of messages per second: what is above it waits, and while anything waits nothing more
 * is read from the connection. So nothing is dropped, and what waits is at most what one read from the socket held.
 */
export class Throttle {
  readonly #buckets: Bucket[]
  readonly #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined

  /** @param buckets each of which must have one for every message; connections of one user share one of them */
  constructor (buckets: readonly Bucket[]) {
    this.#buckets = Array.from(buckets)
  }

  /** Counts by one more from now on. */
  add (bucket: Bucket): void {
    this.#buckets.push(bucket)
  }

  /** Whether messages wait for their turn. */
  get busy (): boolean {
    return this.#timer !== undefined
  }

  /** How many messages wait for their turn. */
  get waiting (): number {
    return this.#waiting.length
  }

  /** Runs what handles a message, now or when its turn has come. */
  run (connection: Connection, handle: () => void): void {
    if (!this.#timer && this.#waitMs === 0) {
      this.#take()
      handle()
      return
    }
    this.#waiting.push(handle)
    if (this.#timer) return
    connection.hold()
    this.#wait(connection)
  }

  /** Forgets all that waits. */
  clear (): void {
    clearTimeout(this.#timer)
    this.#waiting.length = 0
  }

  /** Handles all that waits at once: the node stops, and what was read must not be lost. */
  flush (): void {
    clearTimeout(this.#timer)
    for (const handle of this.#waiting.splice(0)) handle()
  }

  get #waitMs (): number {
    let longest = 0
    for (const { waitMs } of this.#buckets) longest = Math.max(longest, waitMs)
    return longest
  }

  #take (): void {
    for (const bucket of this.#buckets) bucket.take()
  }

  #wait (connection: Connection): void {
    this.#timer = setTimeout(() => {
      while (this.#waiting.length > 0 && this.#waitMs === 0) {
        this.#take()
        this.#waiting.shift()?.()
      }
      if (this.#waiting.length > 0) {
        this.#wait(connection)
        return
      }
      this.#timer = undefined
      connection.release()
    }, Math.min(this.#waitMs, LONGEST_TIMER_MS))
  }
}

/** What the messages of one user are counted by; `leaving`: it is looked at again when it should be full. */
interface UserBucket { readonly bucket: Bucket, connections: number, leaving: boolean }

/** What the messages of each user are counted by, as long as the user is connected, and a little longer. */
export class UserBuckets {
  readonly #rate: number
  readonly #users = new Map<string, UserBucket>()

  /** @param rate messages per second and user */
  constructor (rate: number) {
    this.#rate = rate
  }

  add (user: string): Bucket {
    let entry = this.#users.get(user)
    if (!entry) {
      entry = { bucket: new Bucket(this.#rate), connections: 0, leaving: false }
      this.#users.set(user, entry)
    }
    entry.connections++
    return entry.bucket
  }

  remove (user: string): void {
    const entry = this.#users.get(user)
    if (entry && --entry.connections === 0 && !entry.leaving) this.#forgetWhenFull(user, entry)
  }

  // Who comes back before its bucket is full again goes on with it.
  #forgetWhenFull (user: string, entry: UserBucket): void {
    const { refillMs } = entry.bucket
    entry.leaving = entry.connections === 0 && refillMs > 0
    if (entry.leaving) setTimeout(() => this.#forgetWhenFull(user, entry), Math.min(refillMs, LONGEST_TIMER_MS)).unref()
    else if (entry.connections === 0) this.#users.delete(user)
  }
}

/**
 * Whether so much waits for a connection that what it asks for next should wait as well.
 *
 * @param maxBufferedBytes with which it would be cut
 */
export function isBacklogged ({ transport }: Connection, maxBufferedBytes: number): boolean {
  return transport.bufferedBytes > maxBufferedBytes / 4
}

/**
 * Stops reading from a client that sends faster than it reads, until it has taken what waits for it. It would be cut as
 * slow for its own echoes otherwise. What it has sent counts before it is echoed: one turn of the loop can read megabytes
 * from a socket.
 *
 * @param bytes that it has just sent
 * @param maxBufferedBytes with which it would be cut
 */
export function holdBackSender (connection: Connection, bytes: number, maxBufferedBytes: number): void {
  const { transport } = connection
  const allowed = maxBufferedBytes / 4
  connection.intake += bytes
  if (connection.heldForBacklog || connection.intake + transport.bufferedBytes <= allowed) return
  connection.heldForBacklog = true
  connection.hold()
  const look = (): void => {
    if (connection.open && isBacklogged(connection, maxBufferedBytes)) {
      transport.onceDrained(look)
      return
    }
    connection.intake = 0
    connection.heldForBacklog = false
    connection.release()
  }
  // After the flush of this turn.
  setImmediate(look)
}
