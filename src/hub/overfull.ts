import { patience } from '../patience.ts'
import type { Connection } from './connection.ts'

// Who has been given more at once than may wait has this long to take it: nothing may come that would show whether it is slow.
const GRACE_MS = 1000

/** Connections that have been given more at once than may wait for one: they are slow if that still waits a second later. */
export class Overfull {
  readonly #maxBufferedBytes: number
  readonly #onSlow: (connection: Connection) => void
  /** Those that have that second. */
  readonly #waitedFor = new Set<Connection>()

  /** @param onSlow gets each that none of its channels lets skip something */
  constructor (maxBufferedBytes: number, onSlow: (connection: Connection) => void) {
    this.#maxBufferedBytes = maxBufferedBytes
    this.#onSlow = onSlow
  }

  /** To be called for a connection that has more waiting than may. */
  add (connection: Connection): void {
    if (this.#waitedFor.has(connection)) return
    this.#waitedFor.add(connection)
    const { over, end } = patience(GRACE_MS)
    over.then(() => this.#look(connection))
    connection.transport.onceDrained(() => {
      this.#waitedFor.delete(connection)
      end()
    })
  }

  #look (connection: Connection): void {
    this.#waitedFor.delete(connection)
    const maySkip = Array.from(connection.subscriptions.keys()).some(({ slowReceiver }) => slowReceiver !== 'close')
    if (connection.open && !maySkip && connection.transport.bufferedBytes > this.#maxBufferedBytes) this.#onSlow(connection)
  }
}
