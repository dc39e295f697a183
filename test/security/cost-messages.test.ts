import { setImmediate as nextTurn } from 'node:timers/promises'
import { constants, deflateRawSync } from 'node:zlib'
import t from 'tap'
import { connect, start, until } from '../helper.ts'
import { frame, openRaw, type FrameToSend } from '../raw-websocket.ts'
import { startProbed } from './probed.ts'

const MIB = 1_048_576
const PIECE = 65_536
const BINARY = 2
const CONTINUATION = 0
const COMPRESSED = 4

/** A deflate stream, byte by byte as RFC 7692 has it, that inflates to so many MiB of zeros. */
function bomb (megabytes: number): Buffer {
  // After a full flush nothing refers to what was before: pieces can be put together.
  const piece = deflateRawSync(Buffer.alloc(MIB), { level: 9, finishFlush: constants.Z_FULL_FLUSH })
  return Buffer.concat(Array(megabytes).fill(piece)).subarray(0, -4)
}

t.test('a message of the limit - 1 and of the limit passes; limit + 1, 2^40 and 2^63 are refused with 1009 (2^63: 1002), and memory grows by one limit at most', async (t) => {
  const limit = 32 * MIB
  const { port, mark, peak, wsUrl, errors, probe } = await startProbed(t, { MAX_MESSAGE_BYTES: String(limit), MAX_BUFFERED_BYTES: String(8 * limit), HISTORY_SIZE: '0' })
  const healthy = await connect(t, `${wsUrl}?channel=healthy`)
  for (const size of [limit - 1, limit]) {
    const sender = await connect(t, `${wsUrl}?channel=big`, { perMessageDeflate: false, maxPayload: limit })
    sender.ws.send(Buffer.alloc(size))
    await sender.hears(1)
    t.equal(sender.heard[0]?.data.length, size, `${size} bytes pass`)
    sender.ws.terminate()
  }
  await until(async () => (await probe(true)).connections === 1)

  // What is loaded for the first one, and kept for reading, stays.
  const cases: [string, bigint, number][] = [
    ['the first', BigInt(limit + 1), 1009],
    ['limit + 1', BigInt(limit + 1), 1009],
    ['2^40', 2n ** 40n, 1009],
    ['2^63', 2n ** 63n, 1002],
    ['2^64 - 1', 2n ** 64n - 1n, 1002]
  ]
  for (const [name, length, refusedWith] of cases) {
    await probe(true)
    const attacker = await openRaw(t, port, '/ws?channel=big')
    const before = mark()
    attacker.send({ opcode: BINARY, length, payload: Buffer.alloc(0) })
    // Until it hears that it is refused: what comes after that is thrown away, and is garbage that nobody may have collected yet.
    for (let sent = 0; sent <= limit && attacker.closeCode === undefined && attacker.socket.writable; sent += PIECE) {
      if (!attacker.socket.write(Buffer.alloc(PIECE))) await Promise.race([new Promise((resolve) => attacker.socket.once('drain', resolve)), attacker.closed])
      // A write that the kernel takes at once has drained before anything is read.
      await nextTurn()
    }
    const code = await attacker.closed
    t.equal(code, refusedWith, name)
    const grown = peak() - before
    if (name === 'the first') continue
    t.comment(`${name}, and as much of it as is taken: closed with ${code}, memory + ${grown.toFixed(1)} MiB of ${limit / MIB}`)
    t.ok(grown <= limit / MIB, `memory grew by ${grown.toFixed(1)} MiB`)
  }
  healthy.ws.send('alive')
  t.same(await healthy.hears(1), ['alive'])
  t.same(errors(), [])
})

t.test('a limit of 2 GiB or more was none: ws counts in 32 bits', async (t) => {
  for (const limit of [2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    const { wsUrl } = await start(t, { maxMessageBytes: limit })
    const attacker = await openRaw(t, Number(new URL(wsUrl).port))
    attacker.send({ opcode: BINARY, length: 2n ** 40n })
    t.equal(await attacker.closed, 1009, `${limit} bytes`)
  }
})

/** A compressed message in so many fragments. */
function fragments (payload: Buffer, count: number): Buffer {
  const size = Math.ceil(payload.length / count)
  return Buffer.concat(Array.from({ length: count }, (_, index): Buffer => {
    const to: FrameToSend = { opcode: index === 0 ? BINARY : CONTINUATION, rsv: index === 0 ? COMPRESSED : 0, fin: index === count - 1, payload: payload.subarray(index * size, (index + 1) * size) }
    return frame(to)
  }))
}

const bombs = [
  { name: '64 KiB that inflate to 63 MiB', payload: bomb(63), limit: 262_144, attackers: 100 },
  { name: '1 MiB that inflates to 1 GiB', payload: bomb(1024), limit: 8 * MIB, attackers: 1 }
]

for (const { name, payload, limit, attackers } of bombs) {
  t.test(`a compressed message of ${name}, by ${attackers}, whole and in 32 fragments: 1009, memory + 2 limits each, no stall over 100 ms`, async (t) => {
    const { port, mark, peak, wsUrl, errors, probe } = await startProbed(t, { MAX_MESSAGE_BYTES: String(limit) })
    const healthy = await connect(t, `${wsUrl}?channel=healthy`)
    t.ok(payload.length <= limit, `${payload.length} bytes are below the limit`)
    const attack = async (bytes: Buffer, count: number): Promise<(number | undefined)[]> => {
      const sockets = await Promise.all(Array.from({ length: count }, () => openRaw(t, port, '/ws?channel=bomb', ['Sec-WebSocket-Extensions: permessage-deflate'])))
      for (const { socket } of sockets) socket.write(bytes)
      return Promise.all(sockets.map(({ closed }) => closed))
    }
    // What is loaded for the first one stays.
    await attack(fragments(payload, 1), attackers)
    for (const count of [1, 32]) {
      await until(async () => (await probe(true)).connections === 1)
      const before = mark()
      const codes = await attack(fragments(payload, count), attackers)
      const grown = peak() - before
      const { stallMs } = await probe()
      const bound = attackers * 2 * limit / MIB
      t.comment(`${name}, ${attackers} times in ${count} fragments: memory + ${grown.toFixed(1)} MiB of ${bound.toFixed(1)}, stall ${stallMs.toFixed(0)} ms of 100`)
      t.same(codes, Array(attackers).fill(1009))
      t.ok(grown <= bound, `memory grew by ${grown.toFixed(1)} MiB of ${bound.toFixed(1)}`)
      t.ok(stallMs <= 100, `the loop stood still for ${stallMs.toFixed(0)} ms`)
    }
    healthy.ws.send('alive')
    t.same(await healthy.hears(1), ['alive'])
    t.same(errors(), [])
  })
}
