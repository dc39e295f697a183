// A flush may wait for this share of the time that it will take, for more publications to come in: where ten senders'
// messages arrive one after the other, one write per receiver then carries them all, and not two or three.
const SHARE = 0.05
// Too short to look at all: the flush begins at once.
const SHORTEST_MS = 0.02
const LONGEST_MS = 1
// What a write to one receiver takes until it has been measured; and how much each measurement of so many says of the next.
const WRITE_MS = 0.0025
const MEASURED_WRITES = 64
const WEIGHT = 0.1

// Where the flush before took at least this long, the coming one will as well, and less than this share of that has passed in
// between, a lone publication is held back for another: so many times as long as its flush at most, and no longer than the longest.
const LONG_MS = 1
const LITTLE_LEFT = 2 / 3
const HOLD = 2
const LONGEST_HOLD_MS = 6
// Only where something comes more often than not: senders that wait to hear themselves send nothing meanwhile. Tried again now and then.
const HOLD_WEIGHT = 0.25
const TRY_EVERY = 100

/** Waits before a flush, as long as that costs little beside the flush and more publications are likely to come. */
export class Gathering {
  #writeMs = WRITE_MS
  #arrived = 0
  #arrivedBefore = 0
  #expected = 0
  #until = 0
  /** How long the flush before took, or those slices of it that are done; and when the last one ended. */
  #took = 0
  #endedAt = 0
  /** How often holding back a flush has brought another publication lately, from 0 to 1. */
  #worth = 0.5
  #notHeld = 0
  #release: ((came: boolean) => void) | undefined

  /** Takes note of publications that the next flush will bring. */
  add (count: number): void {
    this.#arrived += count
    this.#release?.(true)
  }

  /** Takes note of how long a slice of a flush took. */
  measured (writes: number, milliseconds: number): void {
    this.#took += milliseconds
    this.#endedAt = performance.now()
    if (writes >= MEASURED_WRITES) this.#writeMs += (milliseconds / writes - this.#writeMs) * WEIGHT
  }

  /**
   * Calls back when the flush should begin.
   *
   * @param receivers that it will write to
   */
  wait (receivers: number, then: () => void): void {
    const expectedMs = receivers * this.#writeMs
    const gather = (): void => {
      this.#until = performance.now() + Math.min(expectedMs * SHARE, LONGEST_MS)
      this.#turn(then)
    }
    if (this.#shouldHold(expectedMs)) this.#hold(Math.min(expectedMs * HOLD, LONGEST_HOLD_MS), gather)
    else if (expectedMs * SHARE < SHORTEST_MS) this.#end(then)
    else gather()
  }

  #shouldHold (expectedMs: number): boolean {
    const took = this.#took
    this.#took = 0
    if (this.#arrived > 1 || Math.min(took, expectedMs) < LONG_MS || performance.now() - this.#endedAt > took * LITTLE_LEFT) return false
    if (this.#worth < 0.5 && ++this.#notHeld < TRY_EVERY) return false
    this.#notHeld = 0
    return true
  }

  #hold (longest: number, then: () => void): void {
    const timer = setTimeout(() => this.#release?.(false), longest)
    this.#release = (came) => {
      this.#release = undefined
      clearTimeout(timer)
      this.#worth += (Number(came) - this.#worth) * HOLD_WEIGHT
      then()
    }
  }

  // Goes round the loop as long as every turn brings something, or fewer have come than for the flush before, and the
  // patience lasts.
  #turn (then: () => void): void {
    this.#arrivedBefore = this.#arrived
    setImmediate(() => {
      const more = this.#arrived > this.#arrivedBefore || this.#arrived < this.#expected
      if (more && performance.now() < this.#until) this.#turn(then)
      else this.#end(then)
    })
  }

  #end (then: () => void): void {
    this.#expected = this.#arrived
    this.#arrived = 0
    then()
  }
}
