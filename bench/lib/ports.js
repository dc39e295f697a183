/** Ports of the loopback address. */

import { connect, createServer } from 'node:net'
import { once } from 'node:events'

export const HOST = '127.0.0.1'

export async function freePort () {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  server.close()
  await once(server, 'close')
  return port
}

/** @param {number} port */
export async function listens (port) {
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
