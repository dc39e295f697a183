import * as ws from 'ws'

type Write = (chunk: Buffer, encoding: BufferEncoding, callback: (error?: Error | null) => void) => void

/** What reads frames in `ws`, which exports it without types. */
interface Receiver { _write: Write, readonly _errored: boolean }

let guarded = false

/**
 * Keeps what a client sends after a wrong frame from being read as more of that frame. While a compressed message is
 * inflated `ws` (8.23.0) lets chunks wait; when a frame in one of them is wrong it goes on with the next all the same, and
 * throws where nobody catches it: 12 kB from anybody would end the process.
 */
export function guardReceivers (): void {
  if (guarded) return
  guarded = true
  const { prototype } = (ws as unknown as { Receiver: { prototype: Receiver } }).Receiver
  const { _write: write } = prototype
  prototype._write = function (this: Receiver, chunk, encoding, callback) {
    if (this._errored) callback()
    else write.call(this, chunk, encoding, callback)
  }
}
