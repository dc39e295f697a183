import { STATUS_CODES, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { fanfareError } from '../errors.ts'

// On one connection. Browsers and proxies send one at a time.
const MOST_UNANSWERED = 100

/**
 * Sees to it that no connection has more requests under way: 64 KiB hold 2,400, all of which Node hands on in one turn of the loop. The
 * first too many is answered with FANFARE_TOO_MANY_UNANSWERED, those behind it are not, and the connection ends.
 */
export function limitUnanswered (server: Server): void {
  const counts = new WeakMap<Socket, number>()
  const refused = new WeakSet<Socket>()
  const handlers = server.listeners('request') as RequestListener[]
  server.removeAllListeners('request').on('request', (request, response) => {
    const { socket } = request
    const others = counts.get(socket) ?? 0
    if (others >= MOST_UNANSWERED || refused.has(socket)) {
      socket.pause()
      if (!refused.has(socket)) refuse(response)
      refused.add(socket)
      return
    }
    // Those of HTTP/2 have a limit of their own.
    if (request.httpVersionMajor === 1) {
      counts.set(socket, others + 1)
      response.once('close', () => counts.set(socket, (counts.get(socket) as number) - 1))
    }
    for (const handler of handlers) handler.call(server, request, response)
  })
}

function refuse (response: ServerResponse): void {
  const { statusCode = 500, code, message } = fanfareError('FANFARE_TOO_MANY_UNANSWERED', MOST_UNANSWERED)
  response.writeHead(statusCode, { 'content-type': 'application/json; charset=utf-8', connection: 'close' })
  response.end(JSON.stringify({ statusCode, code, error: STATUS_CODES[statusCode], message }))
}
