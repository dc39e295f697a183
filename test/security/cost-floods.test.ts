import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connect, percentile, until } from '../helper.ts'
import { frame, openRaw, type RawWebSocket } from '../raw-websocket.ts'
import { startProbed, type Probed } from './probed.ts'

const ATTACKERS = 100
const MOST_MIB = 32
const PINGS = 1_000_000
const TEXT = 1
const CONTINUATION = 0
const PING = 9

/** Attackers, once the server has had as many before, whose memory it keeps for the next. */
async function attackers (t: Test, { port, probe }: Probed): Promise<RawWebSocket[]> {
  const first = await Promise.all(Array.from({ length: ATTACKERS }, () => openRaw(t, port, '/ws?channel=attack')))
  for (const { socket } of first) socket.destroy()
  await until(async () => (await probe(true)).connections === 0)
  return Promise.all(Array.from({ length: ATTACKERS }, () => openRaw(t, port, '/ws?channel=attack')))
}

async function isAlive (t: Test, { wsUrl, errors }: Probed): Promise<void> {
  const healthy = await connect(t, `${wsUrl}?channel=healthy`)
  healthy.ws.send('alive')
  t.same(await healthy.hears(1), ['alive'])
  t.same(errors(), [])
}

for (const size of [0, 1]) {
  t.test(`100 attackers send fragments of ${size} bytes without end: cut with 1008, memory + 32 MiB at most`, async (t) => {
    const server = await startProbed(t)
    const sockets = await attackers(t, server)
    const before = server.mark()
    const fragment = frame({ opcode: CONTINUATION, fin: false, payload: Buffer.alloc(size) })
    const flood = Buffer.concat([frame({ opcode: TEXT, fin: false, payload: Buffer.alloc(size) }), ...Array(1100).fill(fragment)])
    for (const { socket } of sockets) socket.write(flood)
    const codes = await Promise.all(sockets.map(({ closed }) => closed))
    const grown = server.peak() - before
    t.comment(`fragments of ${size} bytes from ${ATTACKERS}: cut with ${codes[0]} after 1,024, memory + ${grown.toFixed(1)} MiB of ${MOST_MIB}`)
    t.same(codes, Array(ATTACKERS).fill(1008))
    t.ok(grown <= MOST_MIB, `memory grew by ${grown.toFixed(1)} MiB`)
    await isAlive(t, server)
  })
}

t.test('100 attackers send a message of 64 KiB in chunks of 1 byte: cut with 1008, memory + 32 MiB at most', async (t) => {
  const server = await startProbed(t)
  const sockets = await attackers(t, server)
  const before = server.mark()
  for (const socket of sockets) socket.send({ opcode: TEXT, length: 65_536n })
  const byte = Buffer.from('x')
  const codes = Promise.all(sockets.map(({ closed }) => closed))
  const isOpen = ({ socket }: RawWebSocket): boolean => !socket.destroyed
  let rounds = 0
  for (; sockets.some(isOpen) && rounds < 10_000; rounds++) {
    for (const { socket } of sockets) if (socket.writable) socket.write(byte)
    await nextTurn()
  }
  const grown = server.peak() - before
  t.notOk(sockets.some(isOpen), 'all were cut')
  t.comment(`1 byte in each chunk from ${ATTACKERS}: cut with 1008 after ${rounds} bytes or less, memory + ${grown.toFixed(1)} MiB of ${MOST_MIB}`)
  for (const { socket } of sockets) socket.destroy()
  t.same((await codes).filter((code) => code !== 1008), [])
  t.ok(grown <= MOST_MIB, `memory grew by ${grown.toFixed(1)} MiB`)
  await isAlive(t, server)
})

t.test('100 attackers send a million pings each and read nothing: cut, memory + 32 MiB at most', { timeout: 600_000 }, async (t) => {
  const server = await startProbed(t)
  const sockets = await attackers(t, server)
  for (const { socket } of sockets) socket.pause()
  const before = server.mark()
  const batch = Buffer.concat(Array(1000).fill(frame({ opcode: PING, payload: Buffer.alloc(125) })))
  let sent = 0
  let cut = 0
  const pings = sockets.map(async ({ socket }) => {
    const gone = new Promise((resolve) => socket.once('close', resolve))
    for (let count = 0; count < PINGS && !socket.destroyed; count += 1000) {
      sent += 1000
      if (!socket.write(batch)) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), gone])
    }
    if (socket.destroyed) cut++
  })
  await Promise.race([Promise.all(pings), until(async () => (await server.probe()).connections === 0)])
  const { connections } = await server.probe()
  const grown = server.peak() - before
  t.comment(`${sent} pings from ${ATTACKERS} that read nothing: ${ATTACKERS - connections} cut, memory + ${grown.toFixed(1)} MiB of ${MOST_MIB}`)
  t.ok(grown <= MOST_MIB, `memory grew by ${grown.toFixed(1)} MiB`)
  t.equal(connections, 0, `of ${ATTACKERS} are left, ${cut} have noticed`)
  await isAlive(t, server)
})

const RATE = 200
const WINDOWS = 5
const WINDOW_MS = 1500

t.test('10,000 messages/s from one client with MESSAGE_RATE: it is slowed, the p99 of others at most doubles', async (t) => {
  const server = await startProbed(t, { MESSAGE_RATE: String(RATE), HISTORY_SIZE: '0' })
  const healthy = await connect(t, `${server.wsUrl}?channel=healthy`)
  const listener = await connect(t, `${server.wsUrl}?channel=flood`)
  // As many a second as it may send.
  async function p99 (): Promise<number> {
    const times: number[] = []
    for (const end = performance.now() + WINDOW_MS; performance.now() < end;) {
      const from = performance.now()
      healthy.ws.send('x')
      await healthy.hears(healthy.heard.length + 1)
      times.push(performance.now() - from)
      await until(() => performance.now() > from + 1000 / RATE)
    }
    return percentile(times, 0.99)
  }
  const starts: number[] = []
  let sent = 0
  async function flooded (): Promise<number> {
    // In this process and ready made, as what an attacker costs its own machine is not the server's.
    const hundred = Buffer.concat(Array(100).fill(frame({ opcode: TEXT, payload: Buffer.alloc(100, String(starts.length)) })))
    const { socket } = await openRaw(t, server.port, '/ws?channel=flood&echo=false')
    const from = performance.now()
    starts.push(from)
    let count = 0
    const timer = setInterval(() => {
      for (; count < (performance.now() - from) * 10; count += 100) socket.write(hundred)
    }, 10)
    await listener.hears(listener.heard.length + 1)
    const result = await p99()
    clearInterval(timer)
    socket.destroy()
    sent += count
    return result
  }
  // In turns, as other processes of the machine come and go.
  const quiet: number[] = []
  const attacked: number[] = []
  for (let window = 0; window < WINDOWS; window++) {
    quiet.push(await p99())
    attacked.push(await flooded())
  }
  const [before, during] = [percentile(quiet, 0.5), percentile(attacked, 0.5)]
  // What the server had read of an attacker that is gone follows at the same rate.
  const end = performance.now()
  const through = starts.map((_start, number) => listener.heard.filter(({ data }) => data.toString('latin1', 0, 1) === String(number)).length)
  const excess = through.map((count, number) => count - 2 * RATE - RATE * (end - (starts[number] as number)) / 1000)
  t.comment(`${sent} messages sent, ${through.join(' + ')} let through; p99 of another client ${before.toFixed(1)} ms without, ${during.toFixed(1)} ms meanwhile (medians of ${WINDOWS})`)
  t.ok(sent > WINDOWS * WINDOW_MS * 9 && Math.max(...excess) <= 0, `of ${sent} messages ${listener.heard.length} were let through`)
  // Below that the other processes of the machine say more than the server.
  t.ok(during <= Math.max(2 * before, 10), `the p99 went from ${before.toFixed(1)} to ${during.toFixed(1)} ms`)
  await isAlive(t, server)
})
