/**
 * What clients that come and go have heard. Each must hear every message that was sent into its channel, by offset: one
 * after the other, none twice, and what stands at an offset must be the same for all.
 */

import { Histogram } from './histogram.js'

/** Offsets of a channel whose content is remembered: more than anybody is behind. */
const RING = 8192
const FAILURES_KEPT = 5
const SEPARATOR = ' '
const HERE = 'here'

/**
 * The text of a message: `17 240 93000000 here xxx`, sender, number, time of sending in microseconds, whether the sender
 * was connected then, padding.
 * @param {number} bytes
 * @param {{ sender: number, number: number, at: number, queued: boolean }} message
 */
export const textOf = (bytes, { sender, number, at, queued }) =>
  [sender, number, Math.round(at), queued ? 'away' : HERE, ''].join(SEPARATOR).padEnd(bytes, 'x')

export class Ledger {
  /** Of all deliveries; of those whose sender was connected; of those whose receiver was connected as well. */
  delays = { all: new Histogram(), unqueued: new Histogram(), live: new Histogram() }
  longest = 0
  sent = 0
  delivered = 0
  doubled = 0
  disordered = 0
  /** How many different messages at least one client has heard. */
  published = 0
  /** Where messages stand that had a place already, as channel and offset. @type {Set<string>} */
  repeats = new Set()
  /** @type {string[]} */
  failures = []

  /**
   * @param {number} clients
   * @param {number} perChannel so many of them are in each channel
   * @param {number} bytes of a message
   */
  constructor (clients, perChannel, bytes) {
    const channels = clients / perChannel
    this.perChannel = perChannel
    this.bytes = bytes
    /** The number of the message that is the next one of each sender. */
    this.next = new Uint32Array(clients)
    /** The number of the message of each sender that is expected next in its channel's order. */
    this.expected = new Uint32Array(clients)
    /** Offset of the last message that a client has heard, and what it has skipped up to there. */
    this.offsets = new Float64Array(clients)
    /** @type {Set<number>[]} */
    this.skipped = Array.from({ length: clients }, () => new Set())
    /** @type {(string | undefined)[]} */
    this.epochs = new Array(channels).fill(undefined)
    this.orderAt = new Float64Array(channels * RING)
    /** @type {string[]} */
    this.order = new Array(channels * RING).fill('')
  }

  /** How many deliveries there must be of all that has been sent. */
  get due () {
    return this.sent * this.perChannel
  }

  /**
   * The next message of a sender.
   * @param {number} sender
   * @param {number} at in microseconds
   * @param {boolean} queued
   */
  write (sender, at, queued) {
    this.sent++
    const number = this.next[sender]++
    return { number, text: textOf(this.bytes, { sender, number, at, queued }) }
  }

  /**
   * @param {number} client
   * @param {{ offset: number, epoch: string, data: string }} message
   * @param {{ now: number, since: number }} times in microseconds; `since` is when the client was connected
   * @returns {{ sender: number, number: number, at: number } | undefined} what it is, if it is new to the client
   */
  hear (client, { offset, epoch, data }, { now, since }) {
    const channel = Math.floor(client / this.perChannel)
    this.epochs[channel] ??= epoch
    if (epoch !== this.epochs[channel]) return this.fail(`client ${client} heard of the epoch ${epoch}, where there was ${this.epochs[channel]}`)
    if (data.length !== this.bytes) return this.fail(`client ${client} got a message of ${data.length} bytes`)
    if (!this.#place(client, offset)) return
    const [sender, number, at] = data.split(SEPARATOR, 3).map(Number)
    this.#settle(client, { channel, offset, sender, number, data })
    if (this.repeats.has(`${channel} ${offset}`)) return
    this.delivered++
    const delay = now - at
    const queued = data.split(SEPARATOR, 4)[3] !== HERE
    this.delays.all.record(delay)
    if (!queued) this.delays.unqueued.record(delay)
    if (!queued && at >= since) this.delays.live.record(delay)
    if (delay > this.longest) this.longest = delay
    return { sender, number, at }
  }

  /**
   * Whether an offset is new to a client. What it skips may still come, in the wrong order.
   * @param {number} client
   * @param {number} offset
   */
  #place (client, offset) {
    const last = this.offsets[client]
    const skipped = this.skipped[client]
    if (offset > last) {
      if (offset - last > RING) this.fail(`client ${client} heard offset ${offset} after ${last}`)
      else for (let missing = last + 1; missing < offset; missing++) skipped.add(missing)
      this.offsets[client] = offset
      return true
    }
    if (skipped.delete(offset)) {
      this.disordered++
      return true
    }
    this.doubled++
    return false
  }

  /**
   * Who hears a message first settles what stands at its offset.
   * @param {number} client
   * @param {{ channel: number, offset: number, sender: number, number: number, data: string }} message
   */
  #settle (client, { channel, offset, sender, number, data }) {
    const place = channel * RING + offset % RING
    if (this.orderAt[place] === offset) {
      if (this.order[place] !== data) this.fail(`client ${client} got another message at offset ${offset} than others did`)
      return
    }
    this.orderAt[place] = offset
    this.order[place] = data
    if (Math.floor(sender / this.perChannel) !== channel) return this.fail(`client ${client} got a message of sender ${sender}, who is in another channel`)
    if (!(number < this.next[sender])) return this.fail(`client ${client} got message ${number} of sender ${sender}, who has not sent it`)
    if (number < this.expected[sender]) {
      this.repeats.add(`${channel} ${offset}`)
      return this.fail(`message ${number} of sender ${sender} was published twice, or after a later one`)
    }
    this.published++
    this.expected[sender] = number + 1
  }

  /**
   * @param {string} reason
   * @returns {undefined}
   */
  fail (reason) {
    if (this.failures.length < FAILURES_KEPT) this.failures.push(reason)
  }

  /** What was wrong, in sentences. */
  get verdict () {
    const { due, delivered, doubled, disordered } = this
    const count = (/** @type {number} */ number, /** @type {string} */ what) => number === 0 ? [] : [`${number.toLocaleString('en')} of ${due.toLocaleString('en')} deliveries ${what}`]
    return [...count(due - delivered, 'are missing'), ...count(doubled, 'came twice'), ...count(disordered, 'came out of order'), ...this.failures]
  }
}
