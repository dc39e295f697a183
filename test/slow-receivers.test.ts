import { connect as connectTcp, type Socket } from 'node:net'
import t from 'tap'
import { connectMany, start, until } from './helper.ts'
import { startProbed } from './security/probed.ts'

const RECEIVERS = 1000
const STALLED = 100
const SENDERS = 10
const PAYLOAD = 4096
// A stalled receiver is cut when the kernel's buffers on both sides are full, some megabytes, and ours too.
const ROUNDS = 250
const QUIET_ROUNDS = 100
const WAVES = 4

/** A client that only counts the bytes that it gets: a thousand of them must cost next to nothing. */
interface Counter { socket: Socket, bytes: number, open: boolean }

function open (port: number, onBytes: (count: number) => void): Promise<Counter> {
  return new Promise((resolve, reject) => {
    const buffer = Buffer.alloc(65_536)
    const counter: Counter = { socket: undefined as never, bytes: -1, open: true }
    counter.socket = connectTcp({
      port,
      host: '127.0.0.1',
      onread: {
        buffer,
        callback: (count) => {
          if (counter.bytes < 0) {
            counter.bytes = 0
            resolve(counter)
            return true
          }
          counter.bytes += count
          onBytes(count)
          return true
        }
      }
    })
    counter.socket.on('error', reject).on('close', () => { counter.open = false })
    counter.socket.write(`GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n`)
  })
}

// What it does to the latency of the others, bench/ measures, scenario stalled; test/bench.test.ts runs it small.
t.test('100 of 1,000 receivers stop reading under full broadcast, four times: each is cut, memory stays bounded, the others lose nothing', async (t) => {
  const { url, port, mark, peak } = await startProbed(t, { PING_INTERVAL: '86400', PONG_TIMEOUT: '86400' })
  const connections = async (): Promise<number> => (await (await fetch(`${url}/health/ready`)).json() as { connections: number }).connections

  let missing = 0
  let whenAll = (): void => {}
  const onBytes = (count: number): void => {
    missing -= count
    if (missing <= 0) whenAll()
  }
  const healthy = await Promise.all(Array.from({ length: RECEIVERS - STALLED }, () => open(port, onBytes)))
  t.teardown(() => { for (const { socket } of healthy) socket.destroy() })

  // FIN and text, masked with zeros: the payload as it is.
  const frame = Buffer.concat([Buffer.from([0x81, 0x80 | 126, PAYLOAD >> 8, PAYLOAD & 0xff, 0, 0, 0, 0]), Buffer.alloc(PAYLOAD, 'x')])
  async function round (): Promise<void> {
    missing += healthy.length * SENDERS * (PAYLOAD + 4)
    const all = new Promise<void>((resolve) => { whenAll = resolve })
    for (let sender = 0; sender < SENDERS; sender++) healthy[sender]?.socket.write(frame)
    await all
  }

  let rounds = 0
  async function run (count: number): Promise<void> {
    for (const end = rounds + count; rounds < end; rounds++) await round()
  }

  await run(QUIET_ROUNDS)
  const memory = mark()
  for (let wave = 0; wave < WAVES; wave++) {
    const stalled = await Promise.all(Array.from({ length: STALLED }, () => open(port, () => {})))
    t.teardown(() => { for (const { socket } of stalled) socket.destroy() })
    await run(QUIET_ROUNDS)
    for (const { socket } of stalled) socket.pause()
    await run(ROUNDS)
    await until(async () => await connections() === RECEIVERS - STALLED)
    t.equal(await connections(), RECEIVERS - STALLED, 'each of the stalled was cut')
    for (const { socket } of stalled) socket.destroy()
  }
  const grown = peak() - memory
  t.ok(grown <= 150, `the node grew by ${grown.toFixed(0)} MiB of 150`)
  const expected = rounds * SENDERS * (PAYLOAD + 4)
  // A ping or two, of two bytes, may have come between.
  t.equal(healthy.filter(({ bytes, open }) => bytes < expected || bytes > expected + 4 || !open).length, 0, `of ${healthy.length} others lost anything`)
})

t.test('what several receivers wait for is counted once for the node, until they have taken it or are gone', async (t) => {
  const { app, wsUrl } = await start(t, { maxBufferedBytes: 100_000_000, compression: false })
  const clients = await connectMany(t, wsUrl, 5)
  for (const { ws } of clients) ws.pause()
  const published = 400 * 50_000
  for (let number = 0; number < 400; number++) {
    await app.connections.publish('broadcast', Buffer.alloc(50_000))
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { waitingBytes } = app.connections
  t.ok(waitingBytes > published / 4 && waitingBytes < published * 1.01, `5 receivers wait for ${waitingBytes} of ${published} bytes`)
  for (const { ws } of clients.slice(0, 2)) ws.terminate()
  for (const { ws } of clients.slice(2)) ws.resume()
  await until(() => app.connections.waitingBytes === 0)
})

for (const several of [false, true]) {
  t.test(`who does not take one burst is cut, though nothing comes after it${several ? ', also where another channel has something' : ''}; it stayed until its next ping`, async (t) => {
    const { app, wsUrl } = await start(t, { pingInterval: 86_400 })
    const [stalled] = await connectMany(t, `${wsUrl}?channel=broadcast&channel=other`, 1, { perMessageDeflate: false })
    stalled?.ws.pause()
    // The kernel takes some 10 of them.
    await Promise.all(Array.from({ length: 24 }, () => app.connections.publish('broadcast', 'x'.repeat(1_048_576))))
    if (several) await app.connections.publish('other', 'small')
    await until(() => app.connections.waitingBytes > 0)
    await until(() => app.connections.count === 0)
    t.equal(app.connections.waitingBytes, 0)
    stalled?.ws.resume()
    t.equal((await stalled?.closed())?.code, 3008)
  })
}

t.test('who takes each of many bursts is not cut, however they fall on the looks at it', async (t) => {
  const { app, wsUrl } = await start(t)
  const [client] = await connectMany(t, wsUrl, 1, { perMessageDeflate: false })
  const began = performance.now()
  let count = 0
  const closed = client?.closed()
  while (performance.now() - began < 2500 && app.connections.count === 1) {
    await Promise.all(Array.from({ length: 6 }, () => app.connections.publish('broadcast', 'x'.repeat(1_048_576))))
    await Promise.race([client?.hears(count += 6), closed])
  }
  t.equal(app.connections.count, 1, `${count} MiB in ${Math.round(performance.now() - began)} ms`)
})
