/** Ports of the loopback address. */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

export const HOST = '127.0.0.1'

/**
 * A port that is free now, that the kernel gives to no client meanwhile (it takes theirs from 32,768 upwards), and that
 * `fetch` goes to: 10,080 is none such.
 */
export async function freePort () {
  for (;;) {
    const port = randomInt(11_000, 20_000)
    const server = createServer().listen(port, HOST)
    const isFree = await once(server, 'listening').then(() => true, () => false)
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
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
