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

/** Waits before a flush, as long as that costs little beside the flush and more publications are likely to come. */
export class Gathering {
  #writeMs = WRITE_MS
  #arrived = 0
  #arrivedBefore = 0
  #expected = 0
  #until = 0

  /** Takes note of publications that the next flush will bring. */
  add (count: number): void {
    this.#arrived += count
  }

  /** Takes note of how long a slice of a flush took. */
  measured (writes: number, milliseconds: number): void {
    if (writes >= MEASURED_WRITES) this.#writeMs += (milliseconds / writes - this.#writeMs) * WEIGHT
  }

  /**
   * Calls back when the flush should begin.
   *
   * @param receivers that it will write to
   */
  wait (receivers: number, then: () => void): void {
    const patience = Math.min(receivers * this.#writeMs * SHARE, LONGEST_MS)
    if (patience < SHORTEST_MS) {
      this.#end(then)
      return
    }
    this.#until = performance.now() + patience
    this.#turn(then)
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
