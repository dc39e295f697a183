import { promisify } from 'node:util'
import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib'

const deflateInPool = promisify<Buffer, ZlibOptions, Buffer>(deflateRaw)

/** What every sync flush ends with: RFC 7692 takes it off before sending (section 7.2.1), and puts it back before inflating (7.2.2). */
export const EMPTY_BLOCK = Buffer.from([0, 0, 0xff, 0xff])
// What does not get smaller gets a little larger.
const SLACK = 64

// Done within 20 ms, if it is not one message alone: a thread deflates 60 MB of text a second (measured).
const MOST_BYTES_IN_POOL = 1_048_576
let bytesInPool = 0

/** Compresses one message by itself (RFC 7692 without context takeover), on this thread. */
export function deflateMessage (data: Buffer): Buffer {
  return deflateRawSync(data, optionsFor(data.length)).subarray(0, -EMPTY_BLOCK.length)
}

/**
 * The same on a thread of the pool, for messages that would stall the loop.
 *
 * @returns nothing if the pool has as much to do as can be waited for
 */
export function deflateLargeMessage (data: Buffer): Promise<Buffer> | undefined {
  if (bytesInPool > 0 && bytesInPool + data.length > MOST_BYTES_IN_POOL) return
  bytesInPool += data.length
  return deflateInPool(data, optionsFor(data.length))
    .then((deflated) => deflated.subarray(0, -EMPTY_BLOCK.length))
    .finally(() => { bytesInPool -= data.length })
}

// A window larger than the message finds nothing more, and zlib would clear its memory for nothing: 1 KiB takes 8 us
// instead of 14 (measured, Node 20). What comes out fits into one piece about as large as the message, which lives as long as any of it
// does; by default that would be 16 KiB for each.
function optionsFor (size: number): ZlibOptions {
  const windowBits = Math.min(15, Math.max(9, 32 - Math.clz32(Math.max(1, size - 1))))
  return { windowBits, memLevel: Math.min(8, windowBits - 4), chunkSize: size + SLACK, finishFlush: constants.Z_SYNC_FLUSH }
}
