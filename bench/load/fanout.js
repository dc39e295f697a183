/** Scenarios in which messages go to many: connect all, warm up, measure, let everything arrive, check. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Deliveries, channelName } from './deliveries.js'
import { DeflatedDeliveries } from './deflated.js'
import { connectAll } from './connect-all.js'
import { clock, echoes, rounds } from './pacing.js'
import { countCommands } from './redis-commands.js'
import { resultOf } from './fanout-result.js'
import { Stalling } from './stalling.js'
import { Usage } from './usage.js'

const SETTLE = 300
const PATIENCE = 15_000
const POLL = 20
/** How long to wait for what should not come: doubled messages. */
const AFTERMATH = 100

/**
 * @typedef {object} FanoutJob
 * @property {'fanout'} kind
 * @property {number} receivers
 * @property {number} senders
 * @property {number} [channels]
 * @property {number} [channelsEach]
 * @property {{ kind: 'rounds' } | { kind: 'echoes', inFlight: number } | { kind: 'clock', perSecond: number, most: number }} pace
 * @property {number} bytes
 * @property {'text' | 'json'} payload
 * @property {boolean} deflate
 * @property {string} [token]
 * @property {boolean} [apart] senders are on the first node, all others on the second
 * @property {{ connections: number, messages: number }} [stalled] so many more, which stop reading when all else has been measured, for so many messages
 * @property {'publications'} [per] what the CPU time is divided by, if not by deliveries
 * @property {number} warmUp seconds
 * @property {number} seconds
 */

/**
 * A connection's channels, the first of which it sends to. Each group of as many connections as there are channels has a
 * stride of its own, so that every channel has equally many members and senders, and few members share many channels.
 * @param {FanoutJob} job
 */
const membership = ({ channels = 0, channelsEach = 0 }) => (/** @type {number} */ receiver) => {
  const group = Math.floor(receiver / channels)
  const stride = 1 + group % Math.floor(channels / channelsEach)
  return Array.from({ length: channelsEach }, (_, step) => (receiver + group + step * stride) % channels)
}

/**
 * Senders stand at equal distances among the receivers, so that a server that goes through its connections in the order
 * they came neither starts with them nor ends with them.
 * @param {FanoutJob} job
 */
const places = ({ receivers, senders, apart }) => (/** @type {number} */ sender) => apart ? sender : Math.floor(sender * receivers / senders)

/**
 * @param {FanoutJob} job
 * @param {(sender: number, count: number) => void} send
 */
function paceOf ({ pace, senders }, send) {
  if (pace.kind === 'rounds') return rounds(senders, send)
  if (pace.kind === 'echoes') return echoes(senders, pace.inFlight, send)
  return clock(senders, pace.perSecond, pace.most, send)
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {Deliveries} deliveries
 * @returns {Promise<T>}
 */
function within (promise, deliveries) {
  const late = sleep(PATIENCE, null, { ref: false }).then(() => {
    throw new Error([...deliveries.failures, 'no progress: a message did not reach all its receivers'].join('; '))
  })
  return Promise.race([promise, late])
}

/**
 * Waits for what is still under way, as long as something arrives.
 * @param {Deliveries} deliveries
 */
async function drained (deliveries) {
  let seen = -1
  for (let waited = 0; deliveries.completed < deliveries.sent && deliveries.failures.length === 0; waited += POLL) {
    if (waited > PATIENCE) return deliveries.fail(`${deliveries.sent - deliveries.completed} messages did not reach all their receivers`)
    if (deliveries.delivered > seen) waited = 0
    seen = deliveries.delivered
    await sleep(POLL)
  }
  await sleep(AFTERMATH)
}

/**
 * @param {FanoutJob & import('./main.js').Job} job
 * @param {import('./protocols/plain.js').Protocol} protocol
 */
export async function fanout (job, protocol) {
  const channelsOf = membership(job)
  const senderAt = places(job)
  const deliveries = new (job.deflate ? DeflatedDeliveries : Deliveries)({ ...job, channels: job.channels ?? 0, channelsOf, senderAt, around: protocol.around })
  /** @type {import('./connection.js').Connection[]} */
  let connections = []
  const send = (/** @type {number} */ sender, /** @type {number} */ count) => {
    const connection = connections[senderAt(sender)]
    if (count === 1) connection.write(deliveries.next(sender))
    else connection.write(Buffer.concat(Array.from({ length: count }, () => deliveries.next(sender))))
  }
  const pacing = deliveries.pace = paceOf(job, send)
  let bytes = 0
  let reads = 0
  const listener = {
    chunk (/** @type {number} */ count) {
      bytes += count
      reads++
      deliveries.now = performance.now() * 1000
    },
    afterRead: pacing.afterRead,
    message: job.deflate
      ? (connection, buffer, start, end, compressed) => deliveries.message(connection, buffer, start, end, compressed)
      : (connection, buffer, start, end, compressed) => {
          if (compressed) deliveries.fail('a compressed message, though none was asked for')
          else protocol.hear(connection, buffer, start, end, deliveries.arrived)
        },
    lost: (connection, reason) => deliveries.fail(`receiver ${connection.index} lost: ${reason}`)
  }
  const targets = job.nodes.map(({ port }) => ({ host: job.host, port, deflate: job.deflate, token: job.token, protocol, listener, payloadBytes: job.bytes }))
  connections = await connectAll(job.receivers, (receiver) => job.channels ? channelsOf(receiver).map(channelName) : [],
    (receiver) => targets[job.apart && receiver >= job.senders ? 1 : 0])
  const stalling = job.stalled && new Stalling(job.stalled, targets[0], job.nodes[0].pid, deliveries)
  await stalling?.open()
  await sleep(SETTLE)
  const counting = await countCommands(job.redis)

  const reading = () => ({ usage: new Usage(job), delivered: deliveries.delivered, completed: deliveries.completed, bytes, reads })
  const read = () => new Promise((resolve) => pacing.atBoundary(() => resolve(reading())))
  pacing.start()
  await sleep(job.warmUp * 1000)
  const start = await within(read(), deliveries)
  deliveries.histogram.clear()
  await sleep(job.seconds * 1000)
  const end = await within(read(), deliveries)
  const [p50, p99, p999] = [0.5, 0.99, 0.999].map((share) => deliveries.histogram.percentile(share))
  const stalled = await stalling?.run(p99)
  pacing.stop()
  await drained(deliveries)
  const commands = await counting?.per(deliveries.sent)
  const result = { ...resultOf(job, start, end), p50, p99, p999, ...stalled, ...commands, failures: deliveries.failures }
  for (const connection of [...connections, ...stalling?.connections ?? []]) connection.drop()
  return result
}
