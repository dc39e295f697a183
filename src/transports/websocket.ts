import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Encoding } from '../hub/encoding.ts'
import type { Transport } from '../hub/transport.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { giveUpInflating, holdInflating, inflateAtOnce, releaseInflating } from './inflate.ts'
import { StreamTransport } from './stream.ts'
import { CompressedWebSocketEncoding, WebSocketEncoding } from './websocket-encoding.ts'
import { framesIn, pingFrame } from './websocket-frames.ts'

const LOOK_AGAIN_MS = 10

/**
 * A WebSocket whose data frames go straight to the upgraded socket. `ws` reads, answers pings and closes; it sends
 * control frames only, each in one piece, so that ours never come between its fragments.
 */
class WebSocketTransport extends StreamTransport implements Transport {
  readonly answersPings = true
  readonly #ws: WebSocket
  readonly #ping: Buffer
  #onLost: (() => void) | undefined

  /**
   * @param socket the one that `ws` was upgraded on
   * @param ping what asks the peer for a sign of life
   */
  constructor (ws: WebSocket, socket: Socket, ping: Buffer) {
    super(socket)
    this.#ws = ws
    this.#ping = ping
  }

  ping (): void {
    this.write(this.#ping)
  }

  pause (): void {
    this.#ws.pause()
    holdInflating(this.#ws)
    this.#onLost ??= () => giveUpInflating(this.#ws)
    if (this.stream.destroyed) this.#onLost()
    else this.stream.once('close', this.#onLost)
  }

  resume (): void {
    this.#ws.resume()
    if (this.#onLost) this.stream.off('close', this.#onLost)
    releaseInflating(this.#ws)
  }

  close (code: number, reason: string): void {
    this.resume()
    this.#ws.close(code, reason)
  }

  // Nothing may follow a close frame (RFC 6455 section 5.5.1), whichever side began to close.
  protected override get isOpen (): boolean {
    return this.#ws.readyState === this.#ws.OPEN
  }
}

/** The same where there is no socket underneath: under `injectWS`, which tests of routes use. */
class InjectedWebSocketTransport implements Transport {
  readonly answersPings = true
  readonly #ws: WebSocket
  readonly #ping: Buffer

  constructor (ws: WebSocket, ping: Buffer) {
    this.#ws = ws
    this.#ping = ping
  }

  get bufferedBytes (): number {
    return this.#ws.bufferedAmount
  }

  write (bytes: Buffer): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    for (const { data, binary } of framesIn(bytes)) this.#ws.send(data, { binary })
  }

  writeAll (pieces: readonly Buffer[]): void {
    for (const piece of pieces) this.write(piece)
  }

  ping (): void {
    if (this.#ping !== pingFrame) this.write(this.#ping)
    else if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping()
  }

  pause (): void {
    this.#ws.pause()
  }

  resume (): void {
    this.#ws.resume()
  }

  onceDrained (callback: () => void): void {
    setTimeout(callback, LOOK_AGAIN_MS)
  }

  close (code: number, reason: string): void {
    this.#ws.close(code, reason)
  }
}

/** The encodings of one protocol over WebSocket: one for each way in which its bytes can look. */
export class WebSocketEncodings {
  readonly #uncompressed: Encoding
  readonly #compressed: Encoding

  /** @param compressionThreshold in bytes */
  constructor (protocol: Protocol, compressionThreshold: number) {
    this.#uncompressed = new WebSocketEncoding(protocol)
    this.#compressed = new CompressedWebSocketEncoding(protocol, compressionThreshold)
  }

  /**
   * The encoding for a WebSocket, by what was negotiated with it.
   *
   * @param offer the extensions header of its request
   */
  for (ws: WebSocket, offer = ''): Encoding {
    // A client that asked for a window smaller than ours could not read what all others get; it may be sent plain
    // frames at any time (RFC 7692 section 6).
    const compressed = ws.extensions.includes('permessage-deflate') && !offer.includes('server_max_window_bits')
    return compressed ? this.#compressed : this.#uncompressed
  }
}

/**
 * The transport of a WebSocket that was upgraded from this request, of which it keeps nothing.
 *
 * @param ping what asks the peer for a sign of life, for protocols that have pings of their own
 */
export function transportOf (ws: WebSocket, request: IncomingMessage, ping: Buffer = pingFrame): Transport {
  // The listener that @fastify/websocket sets holds request and reply for as long as the socket lives, and cuts it before
  // the close frame that says what was wrong. `ws` closes by itself after an error.
  const listeners = ws.listeners('error') as (() => void)[]
  // Ours first: an emitter that loses the last listener of an event becomes a dictionary, at 270 bytes each.
  ws.on('error', ignore)
  for (const listener of listeners) ws.off('error', listener)
  inflateAtOnce(ws)
  // What `injectWS` passes for a request has no socket.
  const socket = request.socket as (Socket & { _httpMessage?: ServerResponse }) | undefined
  if (!socket) return new InjectedWebSocketTransport(ws, ping)
  // So does the response that never came: 2.5 kB for each connection (measured, Node 20).
  socket._httpMessage?.detachSocket(socket)
  return new WebSocketTransport(ws, socket, ping)
}

function ignore (): void {}
