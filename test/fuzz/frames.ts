import { isDeepStrictEqual } from 'node:util'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { frame, openRaw, type FrameToSend, type RawWebSocket } from '../raw-websocket.ts'
import { inTime, MAX_MESSAGE_BYTES, Violation, type Arena, type Parser } from './arena.ts'

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10] as const
const COMPRESSED = 4
const FLUSH_END = 4
const MOST_CHUNKS = 200

interface Message { readonly text: boolean, readonly data: Buffer, readonly compressed: boolean }
/** Part of what is sent: a whole message in frames, a ping, or bytes of any kind. */
type Part = { readonly message: Message, readonly fragments: number, readonly pings: boolean } | { readonly ping: Buffer } | { readonly frame: FrameToSend } | { readonly bytes: Buffer }

interface Fed {
  readonly query: string
  readonly compress: boolean
  readonly parts: readonly Part[]
  /** After how many bytes a write ends, again and again. */
  readonly chunks: readonly number[]
  readonly ending: 'close' | 'end' | 'reset'
}

const bytes = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))
const key = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((array) => Buffer.from(array))

const message: fc.Arbitrary<Message> = fc.record({
  text: fc.boolean(),
  data: fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => Buffer.from(text)), fc.nat(MAX_MESSAGE_BYTES).map((size) => Buffer.alloc(size, 'ab')), bytes(300)),
  compressed: fc.boolean()
}).map((message) => ({ ...message, text: message.text && Buffer.from(message.data.toString()).equals(message.data) }))

const valid: fc.Arbitrary<Part> = fc.oneof(
  fc.record({ message, fragments: fc.integer({ min: 1, max: 5 }), pings: fc.boolean() }),
  fc.record({ ping: bytes(125) })
)

const length = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.constantFrom(125n, 126n, 65_535n, 65_536n, BigInt(MAX_MESSAGE_BYTES + 1), 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n))
const opcode = fc.oneof(fc.nat(15), fc.constantFrom<number>(CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
const nearly: fc.Arbitrary<Part> = fc.record({
  frame: fc.oneof(
    fc.record({ opcode, payload: bytes(200), fin: fc.boolean(), rsv: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(7) }), masked: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }), key }),
    fc.record({ opcode, payload: bytes(200), length }),
    fc.record({ opcode: fc.constant(CLOSE), payload: fc.tuple(fc.nat(65_535), bytes(130)).map(([code, reason]) => Buffer.concat([Buffer.from([code >> 8, code & 255]), reason])) }),
    fc.record({ opcode: fc.constant(TEXT), payload: bytes(100), rsv: fc.constant(COMPRESSED) }),
    fc.record({ opcode: fc.constant(BINARY), payload: fc.nat(2_000_000).map((size) => deflateRawSync(Buffer.alloc(size)).subarray(0, MAX_MESSAGE_BYTES)), rsv: fc.constant(COMPRESSED) })
  )
})
const anyPart: fc.Arbitrary<Part> = fc.oneof({ weight: 3, arbitrary: valid }, { weight: 4, arbitrary: nearly }, { weight: 1, arbitrary: fc.record({ bytes: bytes(500) }) })

const cases: fc.Arbitrary<Fed> = fc.record({
  query: fc.constantFrom('', '', '&echo=false', '&positions=true', '&history=5'),
  compress: fc.boolean(),
  parts: fc.oneof(fc.array(valid, { minLength: 1, maxLength: 8 }), fc.array(anyPart, { minLength: 1, maxLength: 8 })),
  chunks: fc.array(fc.oneof(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 5000 })), { minLength: 1, maxLength: 6 }),
  ending: fc.constantFrom('close', 'end', 'reset')
})

/** WebSocket frames: valid, nearly valid and random ones, in random chunks. */
export const frames: Parser<Fed> = { name: 'frames', cases, arenaOf: ({ open }) => open, feed }

let channels = 0

async function feed ({ server: { port } }: Arena, { query, compress, parts, chunks, ending }: Fed): Promise<void> {
  const sockets: (() => void)[] = []
  const extensions = compress ? ['Sec-WebSocket-Extensions: permessage-deflate'] : []
  const client = await inTime('the upgrade', openRaw({ teardown: (handler) => { sockets.push(handler as () => void) } }, port, `/ws?channel=frames${channels++}${query}`, extensions))
  try {
    await write(client, Buffer.concat(parts.map((part) => bytesOf(part, compress))), chunks)
    // What a client says who leaves at once need not be answered.
    if (query === '' && parts.every((part) => 'message' in part || 'ping' in part)) await isAnswered(client, parts, compress)
    if (ending === 'reset') client.socket.resetAndDestroy()
    else {
      if (ending === 'close' && client.socket.writable) client.send({ opcode: CLOSE, payload: Buffer.from([3, 232]) })
      client.socket.end()
    }
    const code = await inTime('the end of the connection', client.closed)
    if (code !== undefined && !isSensible(code)) throw new Violation(`closed with ${code}`)
  } finally {
    for (const destroy of sockets) destroy()
  }
}

function bytesOf (part: Part, compress: boolean): Buffer {
  if ('bytes' in part) return part.bytes
  if ('frame' in part) return frame(part.frame)
  if ('ping' in part) return frame({ opcode: PING, payload: part.ping })
  const { message: { text, data, compressed }, fragments, pings } = part
  const payload = compress && compressed ? deflated(data) : data
  const size = Math.ceil(payload.length / fragments)
  return Buffer.concat(Array.from({ length: fragments }, (_, index) => Buffer.concat([
    frame({ opcode: index > 0 ? CONTINUATION : text ? TEXT : BINARY, rsv: index === 0 && compress && compressed ? COMPRESSED : 0, fin: index === fragments - 1, payload: payload.subarray(index * size, (index + 1) * size), key: Buffer.from([1, 2, 3, index]) }),
    ...pings && index < fragments - 1 ? [frame({ opcode: PING, payload: Buffer.from([index]) })] : []
  ])))
}

function deflated (data: Buffer): Buffer {
  return deflateRawSync(data, { finishFlush: 2 }).subarray(0, -FLUSH_END)
}

async function write ({ socket }: RawWebSocket, all: Buffer, chunks: readonly number[]): Promise<void> {
  // A message in more than 512 reads is cut.
  const least = Math.ceil(all.length / MOST_CHUNKS)
  for (let at = 0, turn = 0; at < all.length && socket.writable; turn++) {
    const end = at + Math.max(least, chunks[turn % chunks.length] as number)
    socket.write(all.subarray(at, end))
    at = end
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Whether every message comes back as it was, and every ping, each in its order. */
async function isAnswered (client: RawWebSocket, parts: readonly Part[], compress: boolean): Promise<void> {
  const messages = parts.flatMap((part) => 'message' in part ? [{ opcode: part.message.text ? TEXT : BINARY, data: part.message.data }] : [])
  const pongs = parts.flatMap((part) => 'ping' in part ? [part.ping] : 'message' in part && part.pings ? Array.from({ length: part.fragments - 1 }, (_, index) => Buffer.from([index])) : [])
  const heard = (): RawWebSocket['frames'] => client.frames.filter(({ opcode }) => opcode !== PING)
  const complete = new Promise<void>((resolve) => {
    const look = (): void => { if (heard().length >= messages.length + pongs.length) resolve() }
    client.socket.on('data', look)
    look()
  })
  await inTime(`${messages.length} echoes and ${pongs.length} pongs`, Promise.race([complete, client.closed]))
  const echoed = heard().filter(({ opcode }) => opcode <= BINARY).map(({ opcode, rsv, payload }) => ({ opcode, data: rsv === COMPRESSED ? inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 255, 255])]), { finishFlush: 2 }) : payload }))
  const answered = heard().filter(({ opcode }) => opcode === PONG).map(({ payload }) => payload)
  if (!compress && heard().some(({ rsv }) => rsv !== 0)) throw new Violation('a frame is compressed that may not be')
  if (!isDeepStrictEqual(echoed, messages)) throw new Violation(`${messages.length} messages came back as ${echoed.length}, or changed; closed with ${client.closeCode}`)
  if (!isDeepStrictEqual(answered, pongs)) throw new Violation(`${pongs.length} pings were answered by ${answered.length} pongs, or others`)
}

function isSensible (code: number): boolean {
  return [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1012, 1013, 1014].includes(code) || (code >= 3000 && code <= 4999)
}
