const STEP_MS = 250

/** What has a time; made for it, and given up with it. */
export interface Deadline {
  /** Only for the Expiry. */
  step?: number
}

/**
 * Calls back when the time of something has come. One timer for all of them, and none if there are none. On the monotonic
 * clock: setting the machine's clock ends nobody.
 */
export class Expiry<What extends Deadline> {
  readonly #callback: (what: What) => void
  readonly #steps = new Map<number, Set<What>>()
  #timer: NodeJS.Timeout | undefined
  #done = stepAt(performance.now())

  constructor (callback: (what: What) => void) {
    this.#callback = callback
  }

  /**
   * Sets the time of something that has none.
   *
   * @param at by the wall clock, in milliseconds
   */
  set (what: What, at: number): void {
    if (!this.#timer) this.#done = stepAt(performance.now())
    // The step after: nobody is closed before the time has come.
    what.step = Math.max(this.#done, stepAt(performance.now() + at - Date.now())) + 1
    const others = this.#steps.get(what.step)
    if (others) others.add(what)
    else this.#steps.set(what.step, new Set([what]))
    this.#timer ??= setInterval(() => this.#tick(), STEP_MS).unref()
  }

  remove (what: What): void {
    const { step = NaN } = what
    const others = this.#steps.get(step)
    if (others?.delete(what) && others.size === 0) this.#steps.delete(step)
    if (this.#steps.size === 0) this.stop()
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tick (): void {
    for (const now = stepAt(performance.now()); this.#done < now;) {
      for (const what of this.#steps.get(++this.#done) ?? []) this.#callback(what)
    }
  }
}

function stepAt (ms: number): number {
  return Math.floor(ms / STEP_MS)
}
