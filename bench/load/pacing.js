/** How many times the messages in flight may have missed some receiver before senders wait for it. */
const LAG = 3

/**
 * When senders send. A pace is started, told what arrives, and stopped; then nothing new is sent.
 * @typedef {object} Pace
 * @property {() => void} start
 * @property {(sender: number) => void} echoed a sender has its own message back
 * @property {() => void} completed a message has reached all its receivers
 * @property {() => void} afterRead
 * @property {() => void} stop
 * @property {(measure: () => void) => void} atBoundary calls back, at once or soon, where a measurement may begin or end
 */

/**
 * @param {number} senders
 * @param {(sender: number, count: number) => void} send
 * @returns {Pace} each sender sends one message, and once all receivers have all of these, the next one
 */
export function rounds (senders, send) {
  let missing = 0
  let stopped = false
  /** @type {(() => void) | null} */
  let measure = null
  const round = () => {
    measure?.()
    measure = null
    if (stopped) return
    missing = senders
    for (let sender = 0; sender < senders; sender++) send(sender, 1)
  }
  return {
    start: round,
    echoed () {},
    afterRead () {},
    completed: () => { if (--missing === 0) round() },
    stop: () => { stopped = true },
    atBoundary: (callback) => { measure = callback }
  }
}

/**
 * @param {number} senders
 * @param {number} inFlight
 * @param {(sender: number, count: number) => void} send
 * @returns {Pace} each sender keeps so many messages under way: for each of its own that it hears, it sends another, in one
 *   write for all it hears in one read. Should other receivers lag far behind, it waits for them.
 */
export function echoes (senders, inFlight, send) {
  const most = LAG * senders * inFlight
  let underWay = 0
  let stopped = false
  const due = new Uint32Array(senders)
  /** @type {number[]} */
  let waiting = []
  const flush = () => {
    if (waiting.length === 0 || underWay > most || stopped) return
    const ready = waiting
    waiting = []
    for (const sender of ready) {
      const count = due[sender]
      due[sender] = 0
      underWay += count
      send(sender, count)
    }
  }
  const echoed = (/** @type {number} */ sender) => {
    if (due[sender]++ === 0) waiting.push(sender)
  }
  return {
    start () {
      for (let sender = 0; sender < senders; sender++) {
        for (let count = 0; count < inFlight; count++) echoed(sender)
      }
      flush()
    },
    echoed,
    completed: () => { underWay-- },
    afterRead: flush,
    stop: () => { stopped = true },
    atBoundary: (callback) => callback()
  }
}

/**
 * @param {number} senders
 * @param {number} perSecond
 * @param {number} most under way, so that a server that cannot keep up is slowed down to and not buried
 * @param {(sender: number, count: number) => void} send
 * @returns {Pace} open loop: by the clock, one sender after the other, whether or not the messages before have arrived
 */
export function clock (senders, perSecond, most, send) {
  let underWay = 0
  let sender = 0
  let next = 0
  /** @type {NodeJS.Timeout | undefined} */
  let timer
  const tick = () => {
    const now = performance.now()
    while (next <= now) {
      next += 1000 / perSecond
      if (underWay === most) continue
      underWay++
      send(sender, 1)
      sender = (sender + 1) % senders
    }
    timer = setTimeout(tick, next - now)
  }
  return {
    start: () => {
      next = performance.now()
      tick()
    },
    echoed () {},
    afterRead () {},
    completed: () => { underWay-- },
    stop: () => clearTimeout(timer),
    atBoundary: (callback) => callback()
  }
}
