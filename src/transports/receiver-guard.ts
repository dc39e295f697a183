import * as ws from 'ws'
import { closeCodes } from '../close-codes.ts'

type Callback = (error?: Error | null) => void

/** What reads frames in `ws`, which exports it without types. */
interface Receiver {
  readonly _errored: boolean
  readonly _bufferedBytes: number
  readonly _buffers: readonly Buffer[]
  _write (chunk: Buffer, encoding: BufferEncoding, callback: Callback): void
  getPayloadLength64 (callback: Callback): void
  createError (kind: ErrorConstructor, message: string, ofFrame: boolean, closeCode: number, code: string): Error
}

const LENGTH_BYTES = 8
const HIGHEST_BIT = 0x80

let guarded = false

/**
 * Mends how `ws` (8.23.0) reads wrong frames.
 *
 * What a client sends after one is not read as more of it: while a compressed message is inflated `ws` lets chunks wait; when a
 * frame in one of them is wrong it goes on with the next all the same, and throws where nobody catches it: 12 kB from anybody
 * would end the process.
 *
 * A length of 2^63 or more is no length (RFC 6455 section 5.2), and so an error of protocol, where `ws` calls it a message too big.
 */
export function guardReceivers (): void {
  if (guarded) return
  guarded = true
  const { prototype } = (ws as unknown as { Receiver: { prototype: Receiver } }).Receiver
  const { _write: write, getPayloadLength64: getLength } = prototype
  prototype._write = function (chunk, encoding, callback) {
    if (this._errored) callback()
    else write.call(this, chunk, encoding, callback)
  }
  prototype.getPayloadLength64 = function (callback) {
    const isNegative = this._bufferedBytes >= LENGTH_BYTES && ((this._buffers[0]?.[0] ?? 0) & HIGHEST_BIT) !== 0
    if (isNegative) callback(this.createError(RangeError, 'a length of 2^63 or more', true, closeCodes.protocolError.code, 'WS_ERR_INVALID_PAYLOAD_LENGTH'))
    else getLength.call(this, callback)
  }
}
