import type { Connection } from './connection.ts'

const STEP_MS = 250

/**
 * Calls back when the time of a connection has come. One timer for all of them, and none if there are none. On the
 * monotonic clock: setting the machine's clock ends nobody.
 */
export class Expiry<What> {
  readonly #callback: (connection: Connection, what: What) => void
  readonly #steps = new Map<number, Map<Connection, What>>()
  readonly #stepOf = new Map<Connection, number>()
  #timer: NodeJS.Timeout | undefined
  #done = stepAt(performance.now())

  constructor (callback: (connection: Connection, what: What) => void) {
    this.#callback = callback
  }

  /**
   * Sets the time of a connection, instead of any that was set before.
   *
   * @param at by the wall clock, in milliseconds; Infinity: never
   * @param what the callback is told
   */
  set (connection: Connection, at: number, what: What): void {
    this.remove(connection)
    if (at === Infinity) return
    if (!this.#timer) this.#done = stepAt(performance.now())
    // The step after: nobody is closed before the time has come.
    const step = Math.max(this.#done, stepAt(performance.now() + at - Date.now())) + 1
    this.#stepOf.set(connection, step)
    const others = this.#steps.get(step)
    if (others) others.set(connection, what)
    else this.#steps.set(step, new Map([[connection, what]]))
    this.#timer ??= setInterval(() => this.#tick(), STEP_MS).unref()
  }

  remove (connection: Connection): void {
    const step = this.#stepOf.get(connection)
    if (step === undefined) return
    this.#stepOf.delete(connection)
    const others = this.#steps.get(step)
    others?.delete(connection)
    if (others?.size === 0) this.#steps.delete(step)
    if (this.#steps.size === 0) this.stop()
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tick (): void {
    for (const now = stepAt(performance.now()); this.#done < now;) {
      const due = this.#steps.get(++this.#done)
      for (const [connection, what] of due ?? []) this.#callback(connection, what)
    }
  }
}

function stepAt (ms: number): number {
  return Math.floor(ms / STEP_MS)
}
