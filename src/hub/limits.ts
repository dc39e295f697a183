import type { Connection } from './connection.ts'

/**
 * Holds one connection to a number of messages per second: a second's worth may come at once, what is above it waits,
 * and while anything waits nothing more is read from the connection. So nothing is dropped, and what waits is at most
 * what one read from the socket held.
 */
export class Throttle {
  readonly #rate: number
  readonly #capacity: number
  readonly #waiting: (() => void)[] = []
  #tokens: number
  #countedAt = performance.now()
  #timer: NodeJS.Timeout | undefined

  /** @param rate messages per second, above 0 */
  constructor (rate: number) {
    this.#rate = rate
    this.#capacity = Math.max(1, rate)
    this.#tokens = this.#capacity
  }

  /** Whether messages wait for their turn. */
  get busy (): boolean {
    return this.#timer !== undefined
  }

  /** Runs what handles a message, now or when its turn has come. */
  run (connection: Connection, handle: () => void): void {
    if (!this.#timer && this.#take()) {
      handle()
      return
    }
    this.#waiting.push(handle)
    if (this.#timer) return
    connection.hold()
    this.#wait(connection)
  }

  /** Handles all that waits at once: the node stops, and what was read must not be lost. */
  flush (): void {
    clearTimeout(this.#timer)
    for (const handle of this.#waiting.splice(0)) handle()
  }

  #take (): boolean {
    const now = performance.now()
    this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#countedAt) * this.#rate / 1000)
    this.#countedAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  #wait (connection: Connection): void {
    this.#timer = setTimeout(() => {
      while (this.#waiting.length > 0 && this.#take()) this.#waiting.shift()?.()
      if (this.#waiting.length > 0) {
        this.#wait(connection)
        return
      }
      this.#timer = undefined
      connection.release()
    }, Math.ceil((1 - this.#tokens) * 1000 / this.#rate))
  }
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
    if (connection.open && transport.bufferedBytes > allowed) {
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

/** Connections by address, so that one address cannot take them all. */
export class AddressCounts {
  readonly #counts = new Map<string, number>()

  of (address: string): number {
    return this.#counts.get(address) ?? 0
  }

  add (address: string): void {
    this.#counts.set(address, this.of(address) + 1)
  }

  remove (address: string): void {
    const count = this.of(address) - 1
    if (count > 0) this.#counts.set(address, count)
    else this.#counts.delete(address)
  }
}
