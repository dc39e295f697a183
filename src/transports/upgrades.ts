import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

// Unless `maxHeadersCount` is set.
const NODE_TAKES = 1000
// Who is refused has this long, or twice as long, to take the answer. Node has let go of the socket: nothing else ends it.
const LOOK_MS = 5000

type Answer = (request: IncomingMessage, socket: Duplex, head: Buffer) => void

/**
 * The requests for WebSockets of a server until each of them is one, or is refused. Who asks for something else, as HTTP clients do
 * that would rather speak HTTP/2, is answered as if it had not asked (RFC 9110 section 7.8); so are all while the server stops.
 */
export class Upgrades {
  readonly #server: Server
  readonly #answer: Answer
  readonly #cuts: boolean
  /** Those that are not WebSockets yet, and whether they had been answered at the last look. */
  readonly #waiting = new Map<IncomingMessage, { readonly socket: Duplex, answered: boolean }>()
  readonly #timer: NodeJS.Timeout
  #stopping = false

  /**
   * @param answer of `@fastify/websocket`, which cuts who is refused in its own context
   * @param cuts whether those that other contexts refuse are to be cut here: nobody else reads from their sockets. It costs a tenth of a connect
   */
  constructor (server: Server, answer: Answer, cuts: boolean) {
    this.#server = server
    this.#answer = answer
    this.#cuts = cuts
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
  }

  /** The listener for `upgrade`. */
  readonly take: Answer = (request, socket, head) => {
    // The answer to the request before is still due: nothing can be said to this one, and nobody would read from the socket any more.
    if (socket.destroyed || responseOn(socket)) {
      socket.destroy()
      return
    }
    if (this.#stopping || !wantsWebSocket(request)) {
      answerOrdinarily(this.#server, request, socket, head)
      return
    }
    this.#waiting.set(request, { socket, answered: false })
    this.#answer(request, socket, head)
    const response = responseOn(socket)
    // What is answered at once was refused before any hook, for a bad URL: nobody else cuts that.
    if (response && (this.#cuts || response.writableEnded)) response.once('finish', () => socket.destroy())
  }

  /** To be called when a request has become a WebSocket. */
  done (request: IncomingMessage): void {
    this.#waiting.delete(request)
  }

  /** Lets no more in; those who ask are told that the server stops. */
  stop (): void {
    this.#stopping = true
  }

  /** Ends all that are no WebSockets yet. */
  end (): void {
    clearInterval(this.#timer)
    for (const { socket } of this.#waiting.values()) socket.destroy()
    this.#waiting.clear()
  }

  #look (): void {
    for (const [request, waiting] of this.#waiting) {
      const { socket, answered } = waiting
      if (answered) socket.destroy()
      if (socket.destroyed) this.#waiting.delete(request)
      else waiting.answered = responseOn(socket)?.writableEnded ?? true
    }
  }
}

/** Beyond so many headers Node drops them without a word. */
export function mostHeaders ({ maxHeadersCount }: { maxHeadersCount: number | null }): number {
  return maxHeadersCount || NODE_TAKES
}

function responseOn (socket: Duplex): ServerResponse | null | undefined {
  return (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage
}

function wantsWebSocket ({ headers: { upgrade = '' } }: IncomingMessage): boolean {
  return upgrade.split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket')
}

// Node has let go of the connection. It takes it as a new one, on which the same request comes without that wish.
function answerOrdinarily (server: Server, { method, url, httpVersion, rawHeaders }: IncomingMessage, socket: Duplex, head: Buffer): void {
  // What is beyond them is missing, perhaps the length of the body.
  if (rawHeaders.length >= 2 * mostHeaders(server)) {
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
  server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
}

function withoutUpgrade (connection: string): string {
  return connection.split(',').map((option) => option.trim()).filter((option) => option.toLowerCase() !== 'upgrade').join(', ')
}
