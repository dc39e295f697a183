import type { Connection } from './connection.ts'

// Who has been given more at once than may wait has this long to take it: nothing may come that would show whether it is slow.
const GRACE_MS = 1000

/** Connections that have been given more at once than may wait for one: they are slow if that still waits a second later. */
export class Overfull {
  readonly #maxBufferedBytes: number
  readonly #onSlow: (connection: Connection) => void
  /** Since when each has had more waiting than may, and has not taken all of it. */
  readonly #since = new Map<Connection, number>()
  #timer: NodeJS.Timeout | undefined

  /** @param onSlow gets each that none of its channels lets skip something */
  constructor (maxBufferedBytes: number, onSlow: (connection: Connection) => void) {
    this.#maxBufferedBytes = maxBufferedBytes
    this.#onSlow = onSlow
  }

  /** To be called for a connection that has more waiting than may. */
  add (connection: Connection): void {
    if (this.#since.has(connection)) return
    this.#timer ??= setTimeout(this.#look, GRACE_MS).unref()
    this.#since.set(connection, performance.now())
    connection.transport.onceDrained(() => this.#since.delete(connection))
  }

  readonly #look = (): void => {
    const now = performance.now()
    for (const [connection, since] of this.#since) {
      if (now - since < GRACE_MS - 1) continue
      this.#since.delete(connection)
      const maySkip = Array.from(connection.subscriptions.keys()).some(({ slowReceiver }) => slowReceiver !== 'close')
      if (connection.open && !maySkip && connection.transport.bufferedBytes > this.#maxBufferedBytes) this.#onSlow(connection)
    }
    this.#timer = this.#since.size > 0 ? setTimeout(this.#look, GRACE_MS / 4).unref() : undefined
  }
}
