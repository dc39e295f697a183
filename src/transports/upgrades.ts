import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

// Node reads 2,000 by default, names and values, and leaves out the rest without a word.
const MAX_HEADERS = 1000

type Answer = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/**
 * Makes a listener for `upgrade` of one that answers requests for WebSockets. Who asks for something else, as HTTP clients do that
 * would rather speak HTTP/2, is answered as if it had not asked (RFC 9110 section 7.8).
 *
 * @param answer of `@fastify/websocket`, which cuts who is refused in its own context
 * @param cuts whether those that other contexts refuse are to be cut here: nobody else reads from their sockets. It costs a tenth of a connect
 */
export function answerUpgrades (server: Server, answer: Answer, cuts: boolean): Answer {
  return (request, socket, head) => {
    // The answer to the request before is still due: nothing can be said to this one, and nobody would read from the socket any more.
    if (socket.destroyed || responseOn(socket)) {
      socket.destroy()
      return
    }
    if (!wantsWebSocket(request)) {
      answerOrdinarily(server, request, socket, head)
      return
    }
    answer(request, socket, head)
    const response = responseOn(socket)
    // What is answered at once was refused before any hook, for a bad URL: nobody else cuts that.
    if (response && (cuts || response.writableEnded)) response.once('finish', () => socket.destroy())
  }
}

function responseOn (socket: Duplex): ServerResponse | null | undefined {
  return (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage
}

function wantsWebSocket ({ headers: { upgrade = '' } }: IncomingMessage): boolean {
  return upgrade.split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket')
}

// Node has let go of the connection. It takes it as a new one, on which the same request comes without that wish.
function answerOrdinarily (server: Server, { method, url, httpVersion, rawHeaders }: IncomingMessage, socket: Duplex, head: Buffer): void {
  // Node has left out what is beyond them, perhaps the length of the body.
  if (rawHeaders.length >= 2 * MAX_HEADERS) {
    socket.destroy()
    return
  }
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2)
    if (name.toLowerCase() === 'connection') lines.push(`${name}: ${withoutUpgrade(value)}`)
    else if (name.toLowerCase() !== 'upgrade') lines.push(`${name}: ${value}`)
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
  server.emit('connection', socket)
}

function withoutUpgrade (connection: string): string {
  return connection.split(',').map((option) => option.trim()).filter((option) => option.toLowerCase() !== 'upgrade').join(', ')
}
