import type { Writable } from 'node:stream'

const LOOK_AGAIN_MS = 10

// Up to here copying pieces into one costs less than handing them to the kernel one by one: 10 of 130 bytes take 0.8 us
// instead of 2.6 (scenario d). Larger ones are not copied, so that slow receivers share them.
const COPIED_BYTES = 4096

/** Writes several pieces at the price of one. */
export function writePieces (stream: Writable, pieces: readonly Buffer[]): void {
  const [first] = pieces
  if (pieces.length === 1 && first) {
    stream.write(first)
    return
  }
  let size = 0
  for (const { length } of pieces) size += length
  if (size <= COPIED_BYTES) {
    stream.write(joined(pieces, size))
    return
  }
  stream.cork()
  for (const piece of pieces) stream.write(piece)
  stream.uncork()
}

/** Calls back once, when a stream has passed on all that was written to it, or is closed. */
export function onceDrained (stream: Writable, callback: () => void): void {
  // Below its own high-water mark a stream does not say when it is empty.
  if (!stream.writableNeedDrain) {
    setTimeout(callback, LOOK_AGAIN_MS)
    return
  }
  const done = (): void => {
    stream.off('drain', done).off('close', done)
    callback()
  }
  // All channels of a connection may wait at once, which Node would take for a leak.
  stream.setMaxListeners(0).on('drain', done).on('close', done)
}

function joined (pieces: readonly Buffer[], size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}
