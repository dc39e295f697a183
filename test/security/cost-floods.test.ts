import { spawn } from 'node:child_process'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connect, until } from '../helper.ts'
import { frame, openRaw, type RawWebSocket } from '../raw-websocket.ts'
import { startProbed, type Probed } from './probed.ts'

const ATTACKERS = 100
const MOST_MIB = 32
const PINGS = process.env.FANFARE_FULL ? 1_000_000 : 30_000
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

t.test(`100 attackers send ${PINGS} pings each (a million with FANFARE_FULL=1) and read nothing: cut, memory + 32 MiB at most`, { timeout: 600_000 }, async (t) => {
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
const FLOOD_MS = 2000

/** Sends 10,000 messages a second until the process is killed. */
const flooder = (url: string): string => `
  const ws = new (require('ws').WebSocket)('${url}', { perMessageDeflate: false })
  let sent = 0
  ws.on('open', () => {
    const from = performance.now()
    setInterval(() => {
      while (sent < (performance.now() - from) * 10) { ws.send('x'.repeat(100)); sent++ }
      console.log(sent)
    }, 10)
  })`

t.test('10,000 messages/s from one client with MESSAGE_RATE: it is slowed, the p99 of others at most doubles', async (t) => {
  const server = await startProbed(t, { MESSAGE_RATE: String(RATE), HISTORY_SIZE: '0' })
  const healthy = await connect(t, `${server.wsUrl}?channel=healthy`)
  const listener = await connect(t, `${server.wsUrl}?channel=flood`)
  // As many a second as it may send.
  async function p99 (): Promise<number> {
    const times: number[] = []
    for (const end = performance.now() + FLOOD_MS; performance.now() < end;) {
      const from = performance.now()
      healthy.ws.send('x')
      await healthy.hears(healthy.heard.length + 1)
      times.push(performance.now() - from)
      await until(() => performance.now() > from + 1000 / RATE)
    }
    return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] as number
  }
  const before = await p99()
  const attacker = spawn(process.execPath, ['-e', flooder(`${server.wsUrl}?channel=flood&echo=false`)], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => attacker.kill('SIGKILL'))
  let sent = 0
  attacker.stdout.on('data', (text) => { sent = Number(String(text).trim().split('\n').at(-1)) })
  await listener.hears(1)
  const from = performance.now()
  const during = await p99()
  const most = RATE * (performance.now() - from) / 1000 + 2 * RATE
  t.comment(`${sent} messages sent, ${listener.heard.length} let through of at most ${most.toFixed(0)}; p99 of another client ${before.toFixed(1)} ms before, ${during.toFixed(1)} ms meanwhile`)
  t.ok(sent > 10_000 && listener.heard.length <= most, `${listener.heard.length} of ${sent} messages were let through`)
  // Below that the other processes of the machine say more than the server.
  t.ok(during <= Math.max(2 * before, 10), `the p99 went from ${before.toFixed(1)} to ${during.toFixed(1)} ms`)
  await isAlive(t, server)
})
