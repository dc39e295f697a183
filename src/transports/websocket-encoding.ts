import type { Publication } from '../hub/publication.ts'
import type { Protocol } from '../protocols/protocol.ts'
import { deflateLargeMessage, deflateMessage } from './deflate.ts'
import { MessageEncoding } from './message-encoding.ts'
import { frameAll, frameMessage, type Frame } from './websocket-frames.ts'

// Deflating 16 KiB takes about 0.3 ms on this thread: from here on the pool does it.
const LARGE_BYTES = 16_384
// JSON makes six bytes of a control character.
const MOST_GROWTH = 6

/** A protocol in WebSocket frames. */
export class WebSocketEncoding extends MessageEncoding {
  constructor (protocol: Protocol) {
    super(protocol, frameMessage)
  }

  override encode (channel: string, publications: readonly Publication[]): Buffer {
    return frameAll(publications.map((publication) => this.frame(channel, publication)))
  }

  protected frame (channel: string, publication: Publication): Frame {
    const { data, binary } = this.protocol.encode(channel, publication)
    return { data, binary, compressed: false }
  }
}

/** The same with permessage-deflate: each publication is compressed once, for all who negotiated it. */
export class CompressedWebSocketEncoding extends WebSocketEncoding {
  readonly #threshold: number
  readonly #compressed = new WeakMap<Publication, Buffer>()

  /** @param threshold messages of this many bytes and more are compressed */
  constructor (protocol: Protocol, threshold: number) {
    super(protocol)
    this.#threshold = threshold
  }

  prepare (channel: string, publication: Publication): Promise<void> | undefined {
    if (publication.data.length * MOST_GROWTH < LARGE_BYTES || this.#compressed.has(publication)) return
    const { data } = super.frame(channel, publication)
    if (data.length < Math.max(LARGE_BYTES, this.#threshold)) return
    return deflateLargeMessage(data)?.then((deflated) => { this.#compressed.set(publication, deflated) }, ignore)
  }

  // What is large and was not prepared goes as it is: uncompressed messages may come at any time (RFC 7692 section 6).
  protected override frame (channel: string, publication: Publication): Frame {
    const frame = super.frame(channel, publication)
    let data = this.#compressed.get(publication)
    if (!data && frame.data.length >= this.#threshold && frame.data.length < LARGE_BYTES) {
      data = deflateMessage(frame.data)
      this.#compressed.set(publication, data)
    }
    return data ? { ...frame, data, compressed: true } : frame
  }
}

function ignore (): void {}
