import { ServerResponse, type OutgoingHttpHeaders } from 'node:http'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { closeCodes } from '../close-codes.ts'
import type { Transport } from '../hub/transport.ts'
import { closing, heartbeat } from './sse-encoding.ts'
import { StreamTransport } from './stream.ts'

// A peer gets this long to take what was written before the end.
const CLOSE_TIMEOUT_MS = 5000

/** A stream of server-sent events, to which bytes go as they are. */
export class SseTransport extends StreamTransport implements Transport {
  readonly answersPings = false

  ping (): void {
    this.write(heartbeat)
  }

  // The peer says nothing after its request.
  pause (): void {}
  resume (): void {}

  close (code: number, reason: string): void {
    if (!this.isOpen) return
    const { stream } = this
    const deadline = setTimeout(() => stream.destroy(), CLOSE_TIMEOUT_MS).unref()
    stream.once('close', () => clearTimeout(deadline))
    stream.end(closing(code, reason, mayComeBack(code)), () => stream.destroy())
  }

  protected override get isOpen (): boolean {
    return this.stream.writable
  }
}

// For codes of others the ranges of the Centrifuge protocol hold.
function mayComeBack (code: number): boolean {
  const known = Object.values(closeCodes).find((close) => close.code === code)
  return known?.reconnect ?? !((code >= 3500 && code < 4000) || (code >= 4500 && code < 5000))
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
  // What else the peer sends is no request any more: the answer would come between the events.
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
