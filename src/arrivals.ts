// Who comes so long after the last one goes on at once, as one who comes alone should.
const QUIET_MS = 3
const LONGEST_WAIT_MS = 3
// What one costs hardly falls with more of them, and so many together do not hold up the loop for long.
const MOST = 32

/**
 * Lets who arrives in quick succession go on together, a few milliseconds later. What one of them needs is in the
 * processor's caches for the next: of 100 connects under way at a time each costs a seventh less, and a token 15 us, not 50.
 */
export class Arrivals<Arrival> {
  readonly #handle: (arrivals: Arrival[]) => void
  #waiting: Arrival[] = []
  #timer: NodeJS.Timeout | undefined
  #lastAt = -Infinity

  /** @param handle gets who goes on together, in the order of their coming; it throws nothing */
  constructor (handle: (arrivals: Arrival[]) => void) {
    this.#handle = handle
  }

  add (arrival: Arrival): void {
    const now = performance.now()
    const quiet = now - this.#lastAt > QUIET_MS
    this.#lastAt = now
    if (this.#waiting.push(arrival) >= MOST || (quiet && !this.#timer)) this.#go()
    else this.#timer ??= setTimeout(() => this.#go(), LONGEST_WAIT_MS)
  }

  #go (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const arrivals = this.#waiting
    this.#waiting = []
    this.#handle(arrivals)
  }
}
