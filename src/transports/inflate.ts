import { constants, inflateRawSync } from 'node:zlib'
import type { WebSocket } from 'ws'
import { EMPTY_BLOCK } from './deflate.ts'

// What is larger, before or after, is for the threads of the pool: 16 KiB are inflated in some 40 us.
const MOST_COMPRESSED_BYTES = 4096
const MOST_BYTES = 16_384
const PIECE_BYTES = 4096

const LOST = new Error('the connection is lost')

// So many messages are inflated in one turn of the loop before others get theirs: 0.2 ms.
const MOST_IN_TURN = 32
let inTurn = 0

type Callback = (error: Error | null, message?: Buffer) => void

/** What inflates in `ws`, one object for each connection. */
interface Inflater {
  readonly params: { readonly client_no_context_takeover?: boolean }
  readonly decompress: (data: Buffer, final: boolean, callback: Callback) => void
  /** Whether the fragment before was not the last of its message. */
  inFragments?: boolean
  /** Whether nothing more is to be inflated now. */
  held?: boolean
  /** What waits for that to end: the receiver has one such piece at a time. */
  waiting?: ((error?: Error) => void) | undefined
}

interface Insides { readonly _extensions?: { 'permessage-deflate'?: Inflater } }

/**
 * Lets small messages of a WebSocket be inflated where they arrive. `ws` has a stream and a thread do it: 1 KiB of JSON to one
 * receiver takes 277 us of CPU time then, and 164 so; and 44 kB for each connection that has sent something compressed, where 9 are left.
 * Only where each message is compressed by itself; test/transports/compression.test.ts notices if `ws` changes.
 */
export function inflateAtOnce (ws: WebSocket): void {
  const inflater = inflaterOf(ws)
  if (inflater?.params.client_no_context_takeover) Object.assign(inflater, { decompress: inflate, inFragments: false, held: false, waiting: undefined })
}

/**
 * Lets a WebSocket inflate nothing more for the time being. A socket that is not read any more is not enough for that: one
 * read of 64 KiB can hold 50 MB.
 */
export function holdInflating (ws: WebSocket): void {
  const inflater = inflaterOf(ws)
  if (inflater) inflater.held = true
}

/** Lets it go on. */
export function releaseInflating (ws: WebSocket): void {
  const inflater = inflaterOf(ws)
  if (!inflater?.held) return
  inflater.held = false
  const { waiting } = inflater
  inflater.waiting = undefined
  waiting?.()
}

/** Lets it inflate nothing more for good: `ws` does not say that a connection is lost before all is inflated that was read from it. */
export function giveUpInflating (ws: WebSocket): void {
  const inflater = inflaterOf(ws)
  if (!inflater) return
  const { waiting } = inflater
  Object.assign(inflater, { decompress: refuse, waiting: undefined })
  waiting?.(LOST)
}

function refuse (_data: Buffer, _final: boolean, callback: Callback): void {
  process.nextTick(callback, LOST)
}

function inflaterOf (ws: WebSocket): Inflater | undefined {
  return (ws as Insides)._extensions?.['permessage-deflate']
}

function inflate (this: Inflater, data: Buffer, final: boolean, callback: Callback): void {
  if (this.held) {
    this.waiting = (error) => error ? callback(error) : inflate.call(this, data, final, callback)
    return
  }
  const message = final && !this.inFragments && data.length <= MOST_COMPRESSED_BYTES ? inflated(data) : undefined
  this.inFragments = !final
  // What is too large, or no deflate stream, is refused by `ws`, with its codes.
  if (!message) (Object.getPrototypeOf(this) as Inflater).decompress.call(this, data, final, callback)
  // Never within this call: the receiver would begin the next message within this one.
  else if (hasTime()) process.nextTick(callback, null, message)
  else setImmediate(callback, null, message)
}

function inflated (data: Buffer): Buffer | undefined {
  try {
    const message = inflateRawSync(Buffer.concat([data, EMPTY_BLOCK]), { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MOST_BYTES, chunkSize: PIECE_BYTES })
    // Who waits for its turn must not keep all of such a piece.
    return Buffer.from(message)
  } catch {}
}

function hasTime (): boolean {
  if (inTurn === 0) setImmediate(() => { inTurn = 0 })
  return ++inTurn <= MOST_IN_TURN
}
