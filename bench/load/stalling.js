/** Receivers that stop reading: what they do to the memory of the server, and to all others. */

import { setTimeout as sleep } from 'node:timers/promises'
import { connectAll } from './connect-all.js'
import { memoryOf } from './usage.js'

const POLL = 20
/** How long the others may take to get more than the kernel and the server keep for one connection. */
const PATIENCE = 60_000
/** How long those that read again may take to find that they were cut. */
const NOTICE = 10_000

export class Stalling {
  #lost = 0
  #grown = 0

  /**
   * @param {{ connections: number, messages: number }} what so many connections beside those that count; and for so many messages they do not read
   * @param {import('./connection.js').Target} target
   * @param {import('./main.js').Job} job
   * @param {import('./deliveries.js').Deliveries} deliveries of the others
   */
  constructor (what, target, { nodes }, deliveries) {
    this.what = what
    this.deliveries = deliveries
    this.pid = nodes[0].pid
    const listener = { chunk () {}, afterRead () {}, message () {}, lost: () => { this.#lost++ } }
    this.target = { ...target, listener }
    /** @type {import('./connection.js').Connection[]} */
    this.connections = []
  }

  async open () {
    this.connections = await connectAll(this.what.connections, () => [], () => this.target)
  }

  /**
   * Lets all of them stop reading.
   * @param {number} p99 of the others, while these still read
   */
  async run (p99) {
    const { connections, deliveries, what } = this
    if (this.#lost > 0) deliveries.fail(`${this.#lost} receivers were cut, though they read`)
    const memory = memoryOf(this.pid, 'VmRSS')
    deliveries.histogram.clear()
    for (const { socket } of connections) socket.pause()
    await this.#pass(deliveries.completed + what.messages, memory)
    const p99Stalled = deliveries.histogram.percentile(0.99)
    for (const { socket } of connections) socket.resume()
    for (let waited = 0; this.#lost < connections.length && waited < NOTICE; waited += POLL) await sleep(POLL)
    if (this.#lost < connections.length) deliveries.fail(`${connections.length - this.#lost} of ${connections.length} that did not read were not cut`)
    return { p99Stalled, p99Ratio: p99Stalled / p99, grownMiB: this.#grown / 2 ** 20 }
  }

  /**
   * @param {number} completed
   * @param {number} memory
   */
  async #pass (completed, memory) {
    for (let waited = 0; this.deliveries.completed < completed; waited += POLL) {
      if (waited > PATIENCE) throw new Error([...this.deliveries.failures, 'the others got too little while some did not read'].join('; '))
      this.#grown = Math.max(this.#grown, memoryOf(this.pid, 'VmRSS') - memory)
      await sleep(POLL)
    }
  }
}
