import { constants, deflateRawSync } from 'node:zlib'
import t from 'tap'
import { connect, start, until } from '../helper.ts'
import { openRaw, frame } from '../raw-websocket.ts'
import { as, secondsFromNow, startSecure } from '../tokens.ts'

const PIECE = 65_536
const OFFER = ['Sec-WebSocket-Extensions: permessage-deflate']

/** What one read from a socket can hold: 64 KiB of frames that inflate to 64 KiB each. */
function burst (): { bytes: Buffer, count: number } {
  const payload = deflateRawSync(Buffer.alloc(PIECE), { level: 9, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
  const one = frame({ opcode: 2, rsv: 4, payload })
  const count = Math.floor(PIECE / one.length)
  return { bytes: Buffer.concat(Array(count).fill(one)), count }
}

for (const [name, options, hookMs] of [['MESSAGE_RATE', { messageRate: 10 }, 0], ['a hook', {}, 100]] as const) {
  t.test(`64 KiB that inflate to 50 MB, of a client that is held back by ${name}: all of it waited`, async (t) => {
    const { app, wsUrl } = await start(t, { historySize: 0, ...options })
    if (hookMs > 0) app.connections.addHook('onPublish', () => new Promise<void>((resolve) => { setTimeout(resolve, hookMs) }))
    const port = Number(new URL(wsUrl).port)
    const before = process.memoryUsage().arrayBuffers
    const { bytes, count } = burst()
    const sender = await openRaw(t, port, '/ws', OFFER)
    sender.socket.write(bytes)
    const binary = (): number => sender.frames.filter(({ opcode }) => opcode === 2).length
    await until(() => binary() >= 3)
    const grown = process.memoryUsage().arrayBuffers - before
    t.comment(`${count} messages of 64 KiB in ${bytes.length} bytes: memory + ${(grown / 2 ** 20).toFixed(1)} MiB`)
    t.ok(grown < 8 * 2 ** 20, `${grown} bytes`)
    sender.socket.resetAndDestroy()
    await until(() => app.connections.count === 0)
    t.ok(process.memoryUsage().arrayBuffers - before < 8 * 2 ** 20)
  })
}

t.test('what those who have left had sent waits for its turn up to a bound: it kept 200 MB', async (t) => {
  const lines: string[] = []
  const { app, wsUrl } = await start(t, { messageRate: 1, historySize: 0 }, { logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } } })
  const port = Number(new URL(wsUrl).port)
  const many = Buffer.concat(Array(9000).fill(frame({ opcode: 1, payload: Buffer.from('x') })))
  const listener = await connect(t, wsUrl)
  for (let number = 1; number <= 8; number++) {
    const sender = await openRaw(t, port)
    sender.socket.write(many)
    // The first one is let through at once.
    await listener.hears(number)
    sender.socket.resetAndDestroy()
    await until(() => app.connections.count === 1)
  }
  t.ok(lines.some((line) => line.includes('beyond its rate is dropped')), 'who comes last loses it, and the log says so')
})

t.test('what a client had sent before it left is published before the node stops, and nothing later: timers kept the process', async (t) => {
  const { app, wsUrl } = await start(t, { messageRate: 1 })
  const sender = await openRaw(t, Number(new URL(wsUrl).port))
  sender.socket.write(Buffer.concat(Array(10).fill(frame({ opcode: 1, payload: Buffer.from('x') }))))
  await until(async () => (await app.connections.position('broadcast')).offset >= 1)
  sender.socket.resetAndDestroy()
  await until(() => app.connections.count === 0)
  await app.connections.drain(0)
  t.equal((await app.connections.position('broadcast')).offset, 10)
})

t.test('USER_MESSAGE_RATE goes on where a user comes back: it began anew with each connection', async (t) => {
  const { app, wsUrl } = await startSecure(t, { userMessageRate: 5 })
  const ada = await as('ada')
  const from = performance.now()
  for (let round = 0; round < 10; round++) {
    const client = await connect(t, wsUrl, ada)
    for (let number = 0; number < 5; number++) client.ws.send('x')
    client.ws.close()
    await client.closed()
    await until(() => app.connections.count === 0)
  }
  const { offset } = await app.connections.position('broadcast')
  const allowed = 5 + 5 * (performance.now() - from) / 1000 + 1
  t.ok(offset <= allowed, `${offset} of 50 were published, ${allowed.toFixed(0)} may be`)
})

t.test('what somebody with a token had sent before leaving was lost, as nobody but subscribers may publish: it follows at the rate', async (t) => {
  const { app, wsUrl } = await startSecure(t, { messageRate: 20 })
  const client = await connect(t, wsUrl, await as('ada'))
  for (let number = 0; number < 40; number++) client.ws.send('x')
  client.ws.close()
  await client.closed()
  await until(async () => (await app.connections.position('broadcast')).offset === 40)
})

t.test('what somebody had sent before leaving was published for hours, whoever was logged out or expired', async (t) => {
  const { app, wsUrl } = await startSecure(t, { messageRate: 5 })
  const offset = async (): Promise<number> => (await app.connections.position('broadcast')).offset
  const leaving = [await connect(t, wsUrl, await as('ada')), await connect(t, wsUrl, await as('bob', { exp: secondsFromNow(2) }))]
  for (const { ws } of leaving) for (let number = 0; number < 100; number++) ws.send('x')
  for (const client of leaving) {
    client.ws.close()
    await client.closed()
  }
  await until(async () => app.connections.count === 0 && await offset() > 10)
  await app.connections.disconnect({ user: 'ada' })
  // As many as both would have had published meanwhile.
  const other = await connect(t, wsUrl, await as('eve'))
  for (let number = 0; number < 25; number++) other.ws.send(`eve ${number}`)
  await until(() => other.texts.includes('eve 24'))
  t.strictSame(other.texts.slice(-5), [20, 21, 22, 23, 24].map((number) => `eve ${number}`), 'nothing of the others any more')
})

t.test('what waited behind a hook was lost when the node stopped: it is handled before', async (t) => {
  const { app, wsUrl } = await start(t, { drainTimeout: 20 })
  const begun: string[] = []
  const done: string[] = []
  app.connections.addHook('onPublish', async ({ data }) => {
    begun.push(String(data))
    await new Promise((resolve) => { setTimeout(resolve, 100) })
    done.push(String(data))
  })
  const sender = await openRaw(t, Number(new URL(wsUrl).port))
  sender.socket.write(Buffer.concat(['a', 'b', 'c'].map((text) => frame({ opcode: 1, payload: Buffer.from(text) }))))
  await until(() => begun.length > 0)
  const closed = app.close()
  await until(() => sender.frames.some(({ opcode }) => opcode === 8))
  sender.socket.destroy()
  await closed
  t.strictSame(done, ['a', 'b', 'c'])
})

t.test('a peer that freezes while what it sent waits for the rate is gone within two intervals: it stayed for hours', async (t) => {
  const { app, wsUrl } = await start(t, { messageRate: 1, pingInterval: 0.3, pongTimeout: 0.1 })
  const frozen = await openRaw(t, Number(new URL(wsUrl).port))
  frozen.socket.pause()
  const living = await connect(t, `${wsUrl}?channel=other`)
  const feed = setInterval(() => living.ws.send('x'), 20)
  t.teardown(() => clearInterval(feed))
  frozen.socket.write(Buffer.concat(Array(60).fill(frame({ opcode: 1, payload: Buffer.from('x') }))))
  await until(async () => (await app.connections.position('broadcast')).offset >= 1)
  await until(() => app.connections.count === 1)
  t.ok((await app.connections.position('broadcast')).offset < 10, 'most of it still waited')
  t.equal(living.ws.readyState, living.ws.OPEN, 'who sends beyond its rate, and lives, stays')
})

t.test('connections that are closed but not gone count for MAX_CONNECTIONS: sockets of slow ones were forgotten', async (t) => {
  const { app, wsUrl } = await start(t, { maxConnections: 2, maxBufferedBytes: 65_536 })
  const stalled = [await connect(t, wsUrl, { perMessageDeflate: false }), await connect(t, wsUrl, { perMessageDeflate: false })]
  for (const { ws } of stalled) ws.pause()
  await until(async () => {
    await app.connections.publish('broadcast', 'x'.repeat(60_000))
    await new Promise(setImmediate)
    return app.connections.count === 0
  })
  await t.rejects(connect(t, wsUrl), { message: /503/ })
  for (const { ws } of stalled) ws.terminate()
  await until(() => connect(t, wsUrl).then(() => true, () => false))
})
