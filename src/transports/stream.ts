import { Socket } from 'node:net'
import type { Writable } from 'node:stream'

const LOOK_AGAIN_MS = 10

// Up to here copying pieces into one costs less than handing them to the kernel one by one: 10 of 130 bytes take 0.8 us
// instead of 2.6 (scenario d). Larger ones are not copied, so that slow receivers share them.
const COPIED_BYTES = 4096

/** A write of which the kernel has not taken all, and that the stream does not know of. */
interface Underway {
  readonly bytes: number
  /** Who waits for its end. */
  readonly callbacks: (() => void)[]
}

/**
 * What transports over a stream have in common. Where nothing waits in a socket, bytes go to its `_write`, past what a
 * stream does around that: 4 to 7 % less for a delivery (scenario a). A stream has one `_write` under way at a time, so it
 * is corked until one that the kernel did not take at once has ended; nearly all are taken at once.
 * Node keeps `_write` for streams themselves, which this stands in for here alone; test/transports/stream.test.ts would notice a change.
 */
export abstract class StreamTransport {
  protected readonly stream: Writable
  // Not where anybody has put something in between, such as TLS: it never takes a write at once, and a second one, which `end`
  // lets through, would end the process.
  readonly #direct: boolean
  #underway: Underway | undefined

  constructor (stream: Writable) {
    this.stream = stream
    this.#direct = Object.getPrototypeOf(stream) === Socket.prototype && stream.write === Socket.prototype.write
  }

  /** Whether anything may be written: nothing may follow what says goodbye. */
  protected abstract get isOpen (): boolean

  get bufferedBytes (): number {
    return this.isOpen ? (this.#underway?.bytes ?? 0) + this.stream.writableLength : 0
  }

  write (bytes: Buffer): void {
    if (!this.isOpen || bytes.length === 0) return
    if (this.#direct && !this.#underway && this.stream.writableLength === 0) this.#writeDirectly(bytes)
    else this.stream.write(bytes)
  }

  writeAll (pieces: readonly Buffer[]): void {
    const [first] = pieces
    if (pieces.length === 1 && first) {
      this.write(first)
      return
    }
    let size = 0
    for (const { length } of pieces) size += length
    if (size <= COPIED_BYTES) {
      this.write(joined(pieces, size))
      return
    }
    if (!this.isOpen) return
    this.stream.cork()
    for (const piece of pieces) this.stream.write(piece)
    this.stream.uncork()
  }

  /** Calls back once, when what was written has been passed on, or the stream is closed. */
  onceDrained (callback: () => void): void {
    const { stream } = this
    if (this.#underway) {
      this.#underway.callbacks.push(callback)
      return
    }
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

  #writeDirectly (bytes: Buffer): void {
    const { stream } = this
    let taken = false
    // What a stream itself says of a Buffer; the type does not know it.
    stream._write(bytes, 'buffer' as BufferEncoding, (error) => {
      taken = true
      if (error) stream.destroy(error)
      if (this.#underway) this.#ended(this.#underway)
    })
    if (taken) return
    this.#underway = { bytes: bytes.length, callbacks: [] }
    stream.cork()
  }

  #ended ({ callbacks }: Underway): void {
    this.#underway = undefined
    this.stream.uncork()
    for (const callback of callbacks) this.onceDrained(callback)
  }
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
