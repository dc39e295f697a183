/** Round trips that the shown median is taken from. */
const SAMPLES = 20

/**
 * Finds this page's own messages among what comes back, and times them. The plain protocol carries no sender, so
 * the only mark is the content: the oldest message on its way with the same content is taken to be the one. When
 * somebody else sends the very same bytes at the same moment the two may be swapped; the count still comes out right.
 */
export class Echoes {
  /** Messages that were sent and have not come back. */
  onTheirWay = 0
  /** @type {Map<string, number[]>} when each content was sent, oldest first */
  #sent = new Map()
  /** @type {number[]} */
  #times = []

  /** @param {string | ArrayBuffer} data */
  sent (data, now = performance.now()) {
    const key = keyOf(data)
    const times = this.#sent.get(key)
    if (times) times.push(now)
    else this.#sent.set(key, [now])
    this.onTheirWay += 1
  }

  /**
   * @param {string | ArrayBuffer} data what came
   * @returns {number | undefined} its round trip in milliseconds, if this page had sent it
   */
  received (data, now = performance.now()) {
    const at = this.#take(data)
    if (at === undefined) return
    this.#times.push(now - at)
    if (this.#times.length > SAMPLES) this.#times.shift()
    return now - at
  }

  /**
   * The same for what came with another connection than it was sent on, later than the network makes it: its time
   * is no round trip.
   *
   * @returns {boolean} whether this page had sent it
   */
  recovered (data) {
    return this.#take(data) !== undefined
  }

  /**
   * Gives up on what is on its way.
   *
   * @param {number} before only on what was sent before this time
   * @returns {number} how many that were
   */
  abandon (before = Infinity) {
    const lost = this.onTheirWay
    for (const [key, times] of this.#sent) {
      const kept = times.filter((time) => time >= before)
      this.onTheirWay -= times.length - kept.length
      if (kept.length > 0) this.#sent.set(key, kept)
      else this.#sent.delete(key)
    }
    return lost - this.onTheirWay
  }

  /** The usual round trip, which one slow message does not change, and of how many. */
  get roundTrip () {
    if (this.#times.length === 0) return
    const sorted = this.#times.toSorted((a, b) => a - b)
    return { median: sorted[sorted.length >> 1], count: sorted.length }
  }

  /** Forgets the times: another channel is another story. */
  reset () {
    this.abandon()
    this.#times = []
  }

  /** @returns {number | undefined} when the oldest message with this content was sent, which is on its way no more */
  #take (data) {
    if (this.onTheirWay === 0) return
    const key = keyOf(data)
    const times = this.#sent.get(key)
    if (!times) return
    this.onTheirWay -= 1
    const at = times.shift()
    if (times.length === 0) this.#sent.delete(key)
    return at
  }
}

/** Text and binary of the same bytes are different messages. */
function keyOf (data) {
  if (typeof data === 'string') return 't' + data
  let key = 'b'
  const bytes = new Uint8Array(data)
  // In slices: a call takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 8192) key += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return key
}
