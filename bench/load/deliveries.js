/**
 * Who must get what, and who got it. Every receiver of a channel must get all its messages in one order. The first receiver
 * that gets a message settles the order: then the whole payload is compared, and that it is the one its sender sent after
 * the one before. All others must get the same id at the same place, which is one comparison for each delivery.
 */

import { ID_AT, ID_COUNT, payloads, readId, writeId } from './payload.js'
import { clientFrame } from './frames.js'
import { Histogram } from './histogram.js'

/** Twice as many as are ever under way, so that there is always a free place in the ring soon after the last one. */
export const RING = 8192
const PLACE = RING - 1
const NOT_A_MEMBER = 0xffffffff
const FAILURES_KEPT = 5

/**
 * @typedef {object} Plan
 * @property {number} receivers
 * @property {number} senders so many of the receivers send
 * @property {(sender: number) => number} senderAt which
 * @property {number} channels 0: one channel for all, without a name
 * @property {(receiver: number) => number[]} channelsOf the channel it sends to first
 * @property {number} bytes
 * @property {'text' | 'json'} payload
 * @property {(channel: string) => [string, string]} around
 */

/** @param {number} channel */
export const channelName = (channel) => `c${String(channel).padStart(2, '0')}`

export class Deliveries {
  histogram = new Histogram()
  delivered = 0
  sent = 0
  completed = 0
  /** @type {string[]} */
  failures = []
  /** Set by the reader of a chunk, for all that the chunk holds. In microseconds. */
  now = 0
  /** @type {import('./pacing.js').Pace | undefined} */
  pace
  #nextId = 0

  /** @param {Plan} plan */
  constructor (plan) {
    const channels = Math.max(1, plan.channels)
    this.plan = plan
    this.channels = channels
    this.payloads = payloads(plan.bytes, plan.payload).map((text) => Buffer.from(text))
    this.idAt = new Uint32Array(RING).fill(NOT_A_MEMBER)
    this.sentAt = new Float64Array(RING)
    this.senderOf = new Uint32Array(RING)
    /** The receiver that the sender is. */
    this.echoTo = new Uint32Array(RING)
    this.channelOf = new Uint32Array(RING)
    this.arrivals = new Uint32Array(RING)
    this.order = new Uint32Array(channels * RING)
    this.heads = new Uint32Array(channels)
    this.audience = new Uint32Array(channels)
    this.positions = new Uint32Array(plan.receivers * channels).fill(NOT_A_MEMBER)
    /** @type {number[][]} ids under way, oldest first, of each sender */
    this.underWay = Array.from({ length: plan.senders }, () => [])
    for (let receiver = 0; receiver < plan.receivers; receiver++) {
      for (const channel of plan.channels === 0 ? [0] : plan.channelsOf(receiver)) {
        this.positions[receiver * channels + channel] = 0
        this.audience[channel]++
      }
    }
  }

  /**
   * The next message of a sender, as a frame to write at once.
   * @param {number} sender
   */
  next (sender) {
    const id = this.#freeId()
    const place = id & PLACE
    const channel = this.plan.channels === 0 ? 0 : this.plan.channelsOf(this.plan.senderAt(sender))[0]
    this.#nextId = (id + 1) % ID_COUNT
    this.idAt[place] = id
    this.senderOf[place] = sender
    this.echoTo[place] = this.plan.senderAt(sender)
    this.channelOf[place] = channel
    this.arrivals[place] = 0
    this.underWay[sender].push(id)
    this.sent++
    const [before, after] = this.plan.around(this.plan.channels === 0 ? '' : channelName(channel))
    const frame = clientFrame(Buffer.concat([Buffer.from(before), this.expected(id), Buffer.from(after)]))
    this.sentAt[place] = performance.now() * 1000
    return frame
  }

  /** The next id whose place is free: in some channels messages may be under way for much longer than in others. */
  #freeId () {
    for (let tries = 0; tries < RING; tries++) {
      const id = (this.#nextId + tries) % ID_COUNT
      const place = id & PLACE
      if (this.idAt[place] === NOT_A_MEMBER || this.arrivals[place] === this.audience[this.channelOf[place]]) return id
    }
    throw new RangeError('more messages are under way than there are places')
  }

  /**
   * The payload of a message. The same Buffer each time: copy it to keep it.
   * @param {number} id
   */
  expected (id) {
    const payload = this.payloads[id % this.payloads.length]
    writeId(payload, ID_AT, id)
    return payload
  }

  /** @type {import('./protocols/plain.js').Arrived} */
  arrived = (receiver, buffer, start, end) => {
    if (end - start !== this.plan.bytes) this.fail(`receiver ${receiver} got a payload of ${end - start} bytes`)
    const id = readId(buffer, start + ID_AT)
    const channel = this.channelOf[id & PLACE]
    if (this.positions[receiver * this.channels + channel] === this.heads[channel]) this.#first(receiver, id, channel, buffer, start, end)
    this.count(receiver, id, channel)
  }

  /**
   * Notes that a receiver got a message whose place in the channel's order is settled.
   * @param {number} receiver
   * @param {number} id
   * @param {number} channel
   */
  count (receiver, id, channel) {
    const place = id & PLACE
    const row = receiver * this.channels + channel
    const position = this.positions[row]
    if (position >= this.heads[channel] || this.order[channel * RING + (position & PLACE)] !== id) {
      this.fail(`receiver ${receiver} got message ${id} where it should not: lost, doubled, out of order or not its channel`)
      return
    }
    this.positions[row] = position + 1
    this.delivered++
    this.histogram.record(this.now - this.sentAt[place])
    if (this.echoTo[place] === receiver) this.pace.echoed(this.senderOf[place])
    if (++this.arrivals[place] === this.audience[channel]) {
      this.completed++
      this.pace.completed()
    }
  }

  /**
   * @param {number} receiver
   * @param {number} id
   * @param {number} channel
   * @param {Buffer} buffer
   * @param {number} start
   * @param {number} end
   */
  #first (receiver, id, channel, buffer, start, end) {
    const place = id & PLACE
    if (this.idAt[place] !== id) return this.fail(`receiver ${receiver} got message ${id}, which nobody sent`)
    const sender = this.senderOf[place]
    if (this.underWay[sender].shift() !== id) return this.fail(`message ${id} overtook another of sender ${sender}`)
    if (buffer.compare(this.expected(id), 0, end - start, start, end) !== 0) {
      return this.fail(`receiver ${receiver} got message ${id} with another content: ${buffer.toString('latin1', start, start + 80)}`)
    }
    this.order[channel * RING + (this.heads[channel] & PLACE)] = id
    this.heads[channel]++
  }

  /** @param {string} reason */
  fail (reason) {
    if (this.failures.length < FAILURES_KEPT) this.failures.push(reason)
  }
}
