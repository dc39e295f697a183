/** One run: a fresh server on one core, the load generator on another. */

import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { start } from './children.js'

export const SERVER_CORE = 0
export const LOAD_CORE = 1
const HOST = '127.0.0.1'
const READY_WITHIN = 20_000
const POLL = 50
const LOADED_WITHIN = 180_000
const LOADER = fileURLToPath(new URL('../load/main.js', import.meta.url))

async function freePort () {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  server.close()
  await once(server, 'close')
  return port
}

/** @param {number} port */
async function answers (port) {
  const socket = connect(port, HOST)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/**
 * @param {ReturnType<typeof start>} server
 * @param {number} port
 */
async function ready (server, port) {
  for (let waited = 0; waited < READY_WITHIN; waited += POLL) {
    if (!server.running()) throw new Error(`the server ended: ${server.errors()}`)
    if (await answers(port)) return
    await sleep(POLL)
  }
  throw new Error(`the server did not listen within ${READY_WITHIN / 1000} s: ${server.errors()}`)
}

/**
 * @param {import('./peers.js').Peer} peer
 * @param {import('./scenarios.js').Case} what
 * @returns {Promise<any>} what the load generator found, with `failures`
 */
export async function runOne (peer, what) {
  const port = await freePort()
  const server = start(peer.command({ host: HOST, port, env: what.env ?? {} }), SERVER_CORE)
  /** @type {ReturnType<typeof start> | undefined} */
  let loader
  try {
    await ready(server, port)
    const job = { ...what.job, host: HOST, port, pid: server.pid, protocol: peer.protocol }
    loader = start({ file: process.execPath, args: [LOADER, JSON.stringify(job)] }, LOAD_CORE)
    const well = await loader.end(LOADED_WITHIN)
    if (!well) throw new Error(`the load generator failed: ${loader.errors() || 'no result in time'}`)
    const result = JSON.parse(loader.output())
    if (!server.running()) result.failures.push(`the server ended: ${server.errors()}`)
    return result
  } catch (/** @type {any} */ error) {
    return { failures: [error.message] }
  } finally {
    await loader?.stop()
    await server.stop()
  }
}
