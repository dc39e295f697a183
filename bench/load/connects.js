/** What it costs a server to accept a connection, up to its being ready for messages. */

import { setTimeout as sleep } from 'node:timers/promises'
import { connectAll } from './connect-all.js'
import { Usage } from './usage.js'

const SETTLE = 1000

/**
 * @typedef {object} ConnectsJob
 * @property {'connects'} kind
 * @property {number} connections
 * @property {number} warmUp so many connections are opened and dropped before
 */

/**
 * @param {ConnectsJob & import('./main.js').Job} job
 * @param {import('./protocols/plain.js').Protocol} protocol
 */
export async function connects (job, protocol) {
  /** @type {string[]} */
  const failures = []
  const listener = {
    chunk () {},
    afterRead () {},
    message: (connection, buffer, start, end) => protocol.hear(connection, buffer, start, end, () => {}),
    lost: (connection, reason) => failures.push(`connection ${connection.index} lost: ${reason}`)
  }
  const target = { host: job.host, port: job.nodes[0].port, deflate: false, token: job.token, protocol, listener, payloadBytes: 0 }
  const all = (/** @type {number} */ count) => connectAll(count, () => [], () => target)
  for (const connection of await all(job.warmUp)) connection.drop()
  await sleep(SETTLE)
  const start = new Usage(job)
  const connections = await all(job.connections)
  const used = new Usage(job).since(start)
  const result = {
    cpuPerConnection: used.server / job.connections,
    connectsPerSecond: job.connections / used.elapsed * 1e6,
    ...used.shares,
    peakMemory: used.peakMemory,
    failures: failures.slice(0, 5)
  }
  for (const connection of connections) connection.drop()
  return result
}
