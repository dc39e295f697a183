/** Many connections that say nothing: what each keeps resident in the server, and what its heartbeats cost. */

import { setTimeout as sleep } from 'node:timers/promises'
import { connectAll } from './connect-all.js'
import { cpuOf, memoryOf } from './usage.js'

/** Opened and dropped before, so that code is loaded and buffers are there when the memory is first read. */
const FIRST = 200
const SETTLE = 3000

/**
 * @typedef {object} IdleJob
 * @property {'idle'} kind
 * @property {number} connections
 * @property {number} seconds
 */

/**
 * @param {IdleJob & import('./main.js').Job} job
 * @param {import('./protocols/plain.js').Protocol} protocol
 */
export async function idle (job, protocol) {
  /** @type {string[]} */
  const failures = []
  const listener = {
    chunk () {},
    afterRead () {},
    message: (connection, buffer, start, end) => protocol.hear(connection, buffer, start, end, () => {
      failures.push(`connection ${connection.index} was told something`)
    }),
    lost: (connection, reason) => failures.push(`connection ${connection.index} lost: ${reason}`)
  }
  const target = { host: job.host, port: job.nodes[0].port, deflate: false, protocol, listener, payloadBytes: 0 }
  const [{ pid }] = job.nodes
  const all = (/** @type {number} */ count) => connectAll(count, () => [], () => target)
  for (const connection of await all(FIRST)) connection.drop()
  await sleep(SETTLE)
  const before = memoryOf(pid, 'VmRSS')
  const connections = await all(job.connections)
  await sleep(SETTLE)
  const settled = memoryOf(pid, 'VmRSS')
  const start = { at: performance.now() * 1000, cpu: cpuOf(pid) }
  await sleep(job.seconds * 1000)
  const idleShare = (cpuOf(pid) - start.cpu) / (performance.now() * 1000 - start.at)
  const memory = memoryOf(pid, 'VmRSS')
  const result = {
    memoryPerConnection: (memory - before) / job.connections,
    memoryPerConnectionAtFirst: (settled - before) / job.connections,
    memory,
    idleShare,
    peakMemory: memoryOf(pid, 'VmHWM'),
    failures: failures.slice(0, 5)
  }
  for (const connection of connections) connection.drop()
  return result
}
