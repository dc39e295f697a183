/** Receivers that stop reading: what they do to the memory of the server, and to all others. */

import { setTimeout as sleep } from 'node:timers/promises'
import { connectAll } from './connect-all.js'
import { forgetPeak, memoryOf } from './usage.js'

const POLL = 20
/** How long the others may take to get more than the kernel and the server keep for one connection. */
const PATIENCE = 60_000

export class Stalling {
  /** @type {import('./connection.js').Connection[]} */
  connections = []
  #lost = 0

  /**
   * @param {{ connections: number, messages: number, notice: number }} what so many connections beside those that count; for so many messages they do not read; then they find within so many seconds that they were cut
   * @param {import('./connection.js').Target} target
   * @param {number} pid of the server
   * @param {import('./deliveries.js').Deliveries} deliveries of the others
   */
  constructor (what, target, pid, deliveries) {
    this.what = what
    this.target = { ...target, listener: { chunk () {}, afterRead () {}, message () {}, lost: () => { this.#lost++ } } }
    this.pid = pid
    this.deliveries = deliveries
  }

  async open () {
    this.connections = await connectAll(this.what.connections, () => [], () => this.target)
  }

  /**
   * Lets all of them stop reading.
   * @param {number} p99 of the others, while these still read
   */
  async run (p99) {
    const { connections, deliveries, pid } = this
    if (this.#lost > 0) deliveries.fail(`${this.#lost} receivers were cut, though they read`)
    const memory = memoryOf(pid, 'VmRSS')
    const enough = deliveries.completed + this.what.messages
    forgetPeak(pid)
    deliveries.histogram.clear()
    for (const { socket } of connections) socket.pause()
    const passed = await within(PATIENCE, () => deliveries.completed >= enough || deliveries.failures.length > 0)
    if (!passed) deliveries.fail('the others got too little while some did not read')
    const p99Stalled = deliveries.histogram.percentile(0.99)
    const grown = memoryOf(pid, 'VmHWM') - memory
    for (const { socket } of connections) socket.resume()
    const cut = await within(this.what.notice * 1000, () => this.#lost === connections.length)
    if (!cut) deliveries.fail(`${connections.length - this.#lost} of ${connections.length} that did not read were not cut`)
    return { p99Stalled, p99Ratio: p99Stalled / p99, grownMiB: grown / 2 ** 20 }
  }
}

/**
 * @param {number} milliseconds
 * @param {() => boolean} holds
 * @returns {Promise<boolean>} whether it came to hold in this time
 */
async function within (milliseconds, holds) {
  for (let waited = 0; !holds() && waited < milliseconds; waited += POLL) await sleep(POLL)
  return holds()
}
