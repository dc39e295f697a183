import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Connection } from '../../hub/connection.ts'
import { isBacklogged } from '../../hub/limits.ts'

// How long the commands of one client may keep the event loop from everything else. One message can hold a thousand of them.
const SLICE_MS = 5

/** Lets a client have answers as fast as it takes them, and the loop go on between them. */
export class Pace {
  readonly #connection: Connection
  readonly #maxBufferedBytes: number
  /** When commands of this turn of the loop began to be handled; 0: none yet. */
  #began = 0

  /** @param maxBufferedBytes with which the client would be cut */
  constructor (connection: Connection, maxBufferedBytes: number) {
    this.#connection = connection
    this.#maxBufferedBytes = maxBufferedBytes
  }

  /** Resolves when the next command may be handled; nothing if it may now. */
  wait (): Promise<void> | undefined {
    const now = performance.now()
    if (this.#began === 0) {
      this.#began = now
      setImmediate(() => { this.#began = 0 })
    }
    if (now - this.#began >= SLICE_MS || this.#isFull) return this.#rest()
  }

  get #isFull (): boolean {
    return this.#connection.open && isBacklogged(this.#connection, this.#maxBufferedBytes)
  }

  async #rest (): Promise<void> {
    do {
      await nextTurn()
      if (this.#isFull) await new Promise<void>((resolve) => this.#connection.transport.onceDrained(resolve))
    } while (this.#isFull)
  }
}
