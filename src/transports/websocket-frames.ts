// Frames of RFC 6455 section 5.2 as a server sends them: final, unmasked.

const FIN = 0x80
/** Set on the first frame of a compressed message (RFC 7692 section 6). */
const RSV1 = 0x40
const TEXT = 0x1
const BINARY = 0x2

/** An empty ping. Static, as every connection gets the same. */
export const pingFrame = Buffer.from([FIN | 0x9, 0])

/** What goes into one data frame. */
export interface Frame {
  readonly data: Buffer
  readonly binary: boolean
  readonly compressed: boolean
}

/** One message in a frame, as it is. */
export function frameMessage ({ data, binary }: Pick<Frame, 'data' | 'binary'>): Buffer {
  return frameAll([{ data, binary, compressed: false }])
}

/** Puts frames one after the other into one Buffer. */
export function frameAll (frames: readonly Frame[]): Buffer {
  let size = 0
  for (const { data } of frames) size += headerSize(data.length) + data.length
  const bytes = Buffer.allocUnsafe(size)
  let at = 0
  for (const frame of frames) {
    at = writeHeader(bytes, at, frame)
    at += frame.data.copy(bytes, at)
  }
  return bytes
}

/** Takes apart what `frameAll` put together from frames that are not compressed. */
export function * framesIn (bytes: Buffer): Generator<{ data: Buffer, binary: boolean }> {
  for (let at = 0; at < bytes.length;) {
    const binary = (bytes.readUInt8(at) & 0xf) === BINARY
    const short = bytes.readUInt8(at + 1)
    const length = short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short === 126 ? bytes.readUInt16BE(at + 2) : short
    const start = at + headerSize(length)
    at = start + length
    yield { data: bytes.subarray(start, at), binary }
  }
}

function headerSize (length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10
}

function writeHeader (bytes: Buffer, at: number, { data, binary, compressed }: Frame): number {
  bytes[at] = FIN | (compressed ? RSV1 : 0) | (binary ? BINARY : TEXT)
  if (data.length < 126) {
    bytes[at + 1] = data.length
    return at + 2
  }
  if (data.length < 65_536) {
    bytes[at + 1] = 126
    return bytes.writeUInt16BE(data.length, at + 2)
  }
  bytes[at + 1] = 127
  return bytes.writeBigUInt64BE(BigInt(data.length), at + 2)
}
