/**
 * The load generator: one process that gets one job as its argument, as JSON, and prints the result, as JSON.
 * It reads the servers' CPU time itself, so that a measurement begins and ends exactly with its messages.
 */

import { fanout } from './fanout.js'
import { idle } from './idle.js'
import { connects } from './connects.js'
import { jitter } from './jitter.js'
import { plain } from './protocols/plain.js'
import { socketIo } from './protocols/socket-io.js'
import { centrifuge } from './protocols/centrifuge.js'

/**
 * @typedef {object} Job
 * @property {string} host
 * @property {{ port: number, pid: number }[]} nodes of the server; all but clusters have one
 * @property {{ port: number, pid: number }} [redis] that the nodes share
 * @property {'plain' | 'socket.io' | 'centrifuge'} protocol
 * @property {'fanout' | 'idle' | 'connects' | 'jitter'} kind
 */

const protocols = { plain, 'socket.io': socketIo, centrifuge }
const kinds = { fanout, idle, connects, jitter }

/** @type {Job} */
const job = JSON.parse(process.argv[2])
const parent = process.ppid
// A runner that is killed outright cannot end what it started.
setInterval(() => {
  if (process.ppid === parent) return
  for (const { pid } of job.redis ? [...job.nodes, job.redis] : job.nodes) process.kill(pid, 'SIGKILL')
  process.exit(1)
}, 1000).unref()
let result
try {
  result = await kinds[job.kind](/** @type {any} */ (job), protocols[job.protocol])
} catch (/** @type {any} */ error) {
  result = { failures: [error.message] }
}
process.stdout.write(JSON.stringify(result) + '\n', () => process.exit())
