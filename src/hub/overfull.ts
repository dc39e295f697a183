import type { Connection } from './connection.ts'

// Who has been given more at once than may wait has four of these to take it: nothing may come that would show whether it is slow.
const LOOK_MS = 250
const LOOKS = 4

/** Connections that have been given more at once than may wait for one: they are slow if that still waits a second later. */
export class Overfull {
  readonly #maxBufferedBytes: number
  readonly #onSlow: (connection: Connection) => void
  /** How many looks each still has that has had more waiting than may, and has not taken all of it. */
  readonly #left = new Map<Connection, number>()
  #timer: NodeJS.Timeout | undefined

  /** @param onSlow gets each that none of its channels lets skip something */
  constructor (maxBufferedBytes: number, onSlow: (connection: Connection) => void) {
    this.#maxBufferedBytes = maxBufferedBytes
    this.#onSlow = onSlow
  }

  /** To be called for a connection that has more waiting than may. */
  add (connection: Connection): void {
    if (this.#left.has(connection)) return
    // The next look may be near.
    this.#left.set(connection, this.#timer ? LOOKS + 1 : LOOKS)
    this.#timer ??= setTimeout(this.#look, LOOK_MS).unref()
    connection.transport.onceDrained(() => this.#left.delete(connection))
  }

  // Looks are counted, not milliseconds: while the loop was blocked nobody could take anything.
  readonly #look = (): void => {
    for (const [connection, left] of this.#left) {
      if (left > 1) {
        this.#left.set(connection, left - 1)
        continue
      }
      this.#left.delete(connection)
      const maySkip = Array.from(connection.subscriptions.keys()).some(({ slowReceiver }) => slowReceiver !== 'close')
      if (connection.open && !maySkip && connection.transport.bufferedBytes > this.#maxBufferedBytes) this.#onSlow(connection)
    }
    this.#timer = this.#left.size > 0 ? setTimeout(this.#look, LOOK_MS).unref() : undefined
  }
}
