/**
 * Latencies in microseconds, exact below 2 ms and to a thousandth above, in a table of fixed size: recording one is a
 * shift and an increment, because it happens for every delivered message.
 */

const EXACT = 2048
const STEPS = 1024

export class Histogram {
  counts = new Uint32Array(EXACT + 21 * STEPS)

  /** @param {number} microseconds */
  record (microseconds) {
    const value = microseconds | 0
    if (value < EXACT) {
      this.counts[value < 0 ? 0 : value]++
    } else {
      const power = 31 - Math.clz32(value)
      this.counts[EXACT + (power - 11) * STEPS + ((value >> (power - 10)) & (STEPS - 1))]++
    }
  }

  clear () {
    this.counts.fill(0)
  }

  /**
   * @param {number} share 0 to 1
   * @returns {number} milliseconds
   */
  percentile (share) {
    const total = this.counts.reduce((sum, count) => sum + count, 0)
    const wanted = Math.max(1, Math.ceil(total * share))
    let seen = 0
    for (let index = 0; index < this.counts.length; index++) {
      seen += this.counts[index]
      if (seen >= wanted) return valueAt(index) / 1000
    }
    return 0
  }
}

/** @param {number} index */
function valueAt (index) {
  if (index < EXACT) return index
  const power = 11 + Math.floor((index - EXACT) / STEPS)
  return (STEPS + (index - EXACT) % STEPS) * 2 ** (power - 10)
}
