import { ServerResponse, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import type { Transport } from '../hub/transport.ts'
import { StreamTransport } from './stream.ts'

// A peer gets this long to take what was written before the end.
const CLOSE_TIMEOUT_MS = 5000

// What those get that are still there when the node stops, beyond the drain, to take their last bytes. The back end of the
// callbacks gets 1 s after that, and the process ends 1.5 s after the drain.
const LAST_BYTES_MS = 400

/** What reads the requests of a connection in Node: the latest one, and what gets each. */
interface RequestParser {
  readonly incoming?: IncomingMessage | null
  onIncoming: (request: IncomingMessage) => number
}

/** What is said on a stream beside what an encoding makes. */
export interface StreamWords {
  /** Keeps the connection awake. */
  readonly ping: Buffer
  /** Whether the peer answers it, by other requests. */
  readonly answersPings: boolean
  /** Says that, and why, the stream ends. */
  closing (code: number, reason: string): Buffer
}

/** A stream that answers an HTTP request without end. What else the peer says comes in other requests, if at all. */
export class HttpStreamTransport extends StreamTransport implements Transport {
  readonly #words: StreamWords
  /** Whether what the peer says in other requests should wait. */
  paused = false

  constructor (stream: Writable, words: StreamWords) {
    super(stream)
    this.#words = words
  }

  get answersPings (): boolean {
    return this.#words.answersPings
  }

  ping (): void {
    this.write(this.#words.ping)
  }

  pause (): void {
    this.paused = true
  }

  resume (): void {
    this.paused = false
  }

  close (code: number, reason: string): void {
    if (!this.isOpen) return
    const { stream } = this
    const deadline = setTimeout(() => stream.destroy(), CLOSE_TIMEOUT_MS).unref()
    stream.once('close', () => clearTimeout(deadline))
    stream.end(this.#words.closing(code, reason), () => stream.destroy())
  }

  protected override get isOpen (): boolean {
    return this.stream.writable
  }
}

/** The streams that a node must end before it stops, as nobody else does, each with its owner. */
export class OpenStreams<Owner> {
  readonly #streams = new Set<Writable>()
  readonly #onClose: (owner: Owner) => void

  /** @param onClose gets the owner of each stream that is closed, by whom ever */
  constructor (onClose: (owner: Owner) => void) {
    this.#onClose = onClose
  }

  add (stream: Writable, owner: Owner): void {
    this.#streams.add(stream)
    // Half a connection is of no use to anybody.
    stream.once('end', () => stream.destroy())
    stream.once('close', () => {
      this.#streams.delete(stream)
      this.#onClose(owner)
    })
  }

  /** Gives all a moment to take their last bytes, and ends them. */
  async end (): Promise<void> {
    await Promise.race([Promise.all(Array.from(this.#streams, closed)), wait(LAST_BYTES_MS, undefined, { ref: false })])
    for (const stream of this.#streams) stream.destroy()
  }
}

// `once` of node:events would reject when a stream fails.
async function closed (stream: Writable): Promise<void> {
  await new Promise((resolve) => stream.on('close', resolve))
}

/**
 * Answers a request with a stream that has no end of its own, and keeps nothing of request and response.
 *
 * @param opening what it begins with
 * @returns what is to be written to: the socket itself, so that all receivers share one Buffer; the response where it has no
 * socket of its own (HTTP/2, `inject`)
 */
export function beginStream (response: ServerResponse, headers: OutgoingHttpHeaders, opening: string): Writable {
  const { socket } = response
  // Without a length the body lasts until the connection is closed (RFC 9112 section 6.3): no chunk has to be framed.
  response.useChunkedEncodingByDefault = false
  response.writeHead(200, headers)
  if (!(response instanceof ServerResponse && socket instanceof Socket)) {
    response.write(opening)
    return response
  }
  socket.cork()
  response.flushHeaders()
  socket.write(opening)
  socket.uncork()
  detach(response, socket)
  return socket
}

// Response and reply take 2 kB of memory for each connection (measured, Node 20).
function detach (response: ServerResponse, socket: Socket): void {
  // What else the peer sends is no request any more: the answer would come between the events. What came in the same packet has
  // been read as one, or is about to be; Node would end the process when it is answered, as the socket has no response.
  const { parser } = socket as Socket & { parser?: RequestParser | null }
  if (parser) {
    if (parser.incoming && parser.incoming !== response.req) socket.destroy()
    parser.onIncoming = () => {
      socket.destroy()
      return 0
    }
  }
  const parsers = socket.listeners('data') as (() => void)[]
  socket.on('data', ignore)
  for (const parser of parsers) socket.off('data', parser)
  response.detachSocket(socket)
  // The parser keeps the request until the connection ends; its cookies alone may take some kB.
  response.req.rawHeaders = []
  response.req.headers = {}
  socket.setTimeout(0)
}

function ignore (): void {}
