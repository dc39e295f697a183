import type { Close } from '../close-codes.ts'
import type { ConnectionFilter } from './cluster-api.ts'

const KEPT_MS = 3_600_000
// Some 30,000 of a user each.
const MOST_BYTES = 4_194_304
// What a node does within the second that it has to answer.
const BYTES_AT_A_TIME = 16_384

/** What closes connections that a filter means. */
export interface Disconnect { readonly filter: ConnectionFilter, readonly close: Close }

/** One that was said so many milliseconds ago: those who have connected since are not meant. */
export interface LateDisconnect extends Disconnect { readonly agoMs: number }

/** Who was disconnected within the last hour, for nodes that could not be told so when it was said. */
export class RecentDisconnects {
  readonly #said: (Disconnect & { readonly at: number, readonly bytes: number })[] = []
  #bytes = 0

  add (disconnect: Disconnect): void {
    const bytes = JSON.stringify(disconnect).length
    this.#said.push({ ...disconnect, at: performance.now(), bytes })
    this.#bytes += bytes
    while (this.#bytes > MOST_BYTES || performance.now() - (this.#said[0]?.at ?? Infinity) > KEPT_MS) this.#bytes -= this.#said.shift()?.bytes ?? 0
  }

  /** Gives what was said within so many milliseconds, in that order, a few kilobytes at a time. */
  * within (milliseconds: number): Generator<LateDisconnect[]> {
    let some: LateDisconnect[] = []
    let left = BYTES_AT_A_TIME
    for (const { filter, close, at, bytes } of Array.from(this.#said)) {
      const agoMs = performance.now() - at
      if (agoMs > milliseconds) continue
      some.push({ filter, close, agoMs })
      left -= bytes
      if (left > 0) continue
      yield some
      some = []
      left = BYTES_AT_A_TIME
    }
    if (some.length > 0) yield some
  }
}
