import { actOnAll } from './act-on-all.ts'

const STEP_MS = 250
const REMOVED = -1

/** What can have a time: one, until that has come or it is removed. */
export interface Deadline {
  /** Where it is; only for the Expiry. */
  step: number
  place: number
}

/**
 * Calls back when the time of something has come. One timer for all of them, and none if there are none. On the monotonic
 * clock: setting the machine's clock ends nobody.
 */
export class Expiry<What extends Deadline> {
  readonly #callback: (what: What) => void
  // Lists in which each knows its place: a Set would hash, which is most of what a deadline costs a connect.
  readonly #steps = new Map<number, What[]>()
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
    what.place = others?.length ?? 0
    if (others) others.push(what)
    else this.#steps.set(what.step, [what])
    this.#timer ??= setInterval(() => setImmediate(this.#tick), STEP_MS).unref()
  }

  remove (what: What): void {
    const { step, place } = what
    what.place = REMOVED
    const others = this.#steps.get(step)
    if (others?.[place] !== what) return
    const last = others.pop() as What
    if (last !== what) {
      others[place] = last
      last.place = place
    }
    if (others.length === 0) this.#forget(step)
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  // After a timer of a loop that was blocked, what lets somebody go on may lie unread in a socket; it is read before the next immediate runs.
  readonly #tick = (): void => {
    if (!this.#timer) return
    for (const now = stepAt(performance.now()); this.#done < now;) {
      const step = ++this.#done
      const due = this.#steps.get(step) ?? []
      this.#forget(step)
      // 15,000 whose tokens end in the same second would hold up the loop for half of one.
      actOnAll(due, (what) => { if (what.place !== REMOVED) this.#callback(what) })
    }
  }

  #forget (step: number): void {
    this.#steps.delete(step)
    if (this.#steps.size === 0) this.stop()
  }
}

function stepAt (ms: number): number {
  return Math.floor(ms / STEP_MS)
}
