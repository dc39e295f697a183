import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

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
    if (!wantsWebSocket(request)) {
      answerOrdinarily(server, request, socket, head)
      return
    }
    answer(request, socket, head)
    if (!cuts) return
    const response = (socket as Socket & { _httpMessage?: ServerResponse })._httpMessage
    response?.once('finish', () => socket.destroy())
  }
}

function wantsWebSocket ({ headers: { upgrade = '' } }: IncomingMessage): boolean {
  return upgrade.split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket')
}

// Node has let go of the connection. It takes it as a new one, on which the same request comes without that wish.
function answerOrdinarily (server: Server, { method, url, httpVersion, rawHeaders }: IncomingMessage, socket: Duplex, head: Buffer): void {
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
