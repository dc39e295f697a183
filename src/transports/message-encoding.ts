import type { Close } from '../close-codes.ts'
import type { Encoding } from '../hub/encoding.ts'
import type { Publication } from '../hub/publication.ts'
import type { Message, Protocol } from '../protocols/protocol.ts'

/** A protocol on a transport that carries each message for itself. */
export class MessageEncoding implements Encoding {
  protected readonly protocol: Protocol
  readonly #bytesOf: (message: Message) => Buffer
  readonly encodeEnd?: (channel: string, end: Close) => Buffer
  readonly encodePlaced?: NonNullable<Encoding['encodePlaced']>

  /** @param bytesOf makes a message ready for the transport */
  constructor (protocol: Protocol, bytesOf: (message: Message) => Buffer) {
    this.protocol = protocol
    this.#bytesOf = bytesOf
    const { encodeEnd, encodePlaced } = protocol
    if (encodeEnd) this.encodeEnd = (...ended) => bytesOf(encodeEnd(...ended))
    if (encodePlaced) this.encodePlaced = (...placed) => bytesOf(encodePlaced(...placed))
  }

  encode (channel: string, publications: readonly Publication[]): Buffer {
    return Buffer.concat(publications.map((publication) => this.#bytesOf(this.protocol.encode(channel, publication))))
  }
}
