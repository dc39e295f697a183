import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import type { Test } from 'tap'

/** The headers of an upgrade, but for Host. */
export const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n'

/** A TCP connection to a server, on which any bytes can be sent. */
export function dial (url: string): Socket {
  const { hostname, port } = new URL(url)
  return connectTcp(Number(port), hostname).on('error', () => {})
}

/** What a server answers first to raw text; empty if it hangs up. */
export async function rawAnswer (url: string, text: string): Promise<string> {
  const socket = dial(url)
  socket.write(text)
  const answer = await Promise.race([once(socket, 'data').then(([chunk]) => String(chunk)), once(socket, 'close').then(() => '')])
  socket.destroy()
  return answer
}

/** Sends all of it in one packet; resolves with what was answered when the server has hung up. */
export async function hungUp (t: Test, url: string, text: string): Promise<string> {
  const socket = dial(url)
  t.teardown(() => { socket.destroy() })
  let answer = ''
  socket.on('data', (data) => { answer += String(data) }).write(text)
  await new Promise((resolve) => socket.on('close', resolve))
  return answer
}

/** The status in such an answer; 0 if there is none. */
export async function rawStatus (url: string, text: string): Promise<number> {
  return Number(/^HTTP\/1\.\d (\d{3})/.exec(await rawAnswer(url, text))?.[1] ?? 0)
}
