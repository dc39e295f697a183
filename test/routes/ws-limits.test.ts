import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { connect, connectMany, refusal, start, until } from '../helper.ts'
import { bare } from '../process.ts'

t.test('a message above MAX_MESSAGE_BYTES closes with 1009, one at the limit passes', async (t) => {
  const { wsUrl, app } = await start(t, { maxMessageBytes: 1000 })
  for (const perMessageDeflate of [false, true]) {
    const client = await connect(t, wsUrl, { perMessageDeflate })
    for (const size of [999, 1000]) client.ws.send('x'.repeat(size))
    await client.hears(2)
    client.ws.send('x'.repeat(1001))
    t.match(await client.closed(), { code: 1009 })
  }
  await until(() => app.connections.count === 0)
})

t.test('text that is not UTF-8 closes with 1007', async (t) => {
  const { wsUrl } = await start(t)
  const client = await connect(t, wsUrl)
  client.ws.send(Buffer.from([0xff, 0xfe]), { binary: false })
  t.match(await client.closed(), { code: 1007 })
})

t.test('MAX_CONNECTIONS is exact, answered with 503, and free again after a close', async (t) => {
  const { wsUrl, app } = await start(t, { maxConnections: 10 })
  const attempts = await Promise.all(Array.from({ length: 30 }, () => connect(t, wsUrl).catch(() => undefined)))
  const clients = attempts.filter((client) => client !== undefined)
  t.equal(clients.length, 10)
  t.equal(app.connections.count, 10)
  const { status, body } = await refusal(wsUrl)
  t.equal(status, 503)
  t.match(JSON.parse(body), { code: 'FANFARE_FULL', message: /MAX_CONNECTIONS/ })
  clients[0]?.ws.close()
  await until(() => app.connections.count === 9)
  await connect(t, wsUrl)
})

t.test('MAX_CONNECTIONS_PER_IP counts by address, and X-Forwarded-For does not change it', async (t) => {
  const { wsUrl } = await start(t, { maxConnectionsPerIp: 2 })
  await connectMany(t, wsUrl, 2)
  const { status, body } = await refusal(wsUrl, { headers: { 'x-forwarded-for': '203.0.113.7' } })
  t.equal(status, 429)
  t.match(JSON.parse(body), { code: 'FANFARE_TOO_MANY_FROM_ADDRESS' })
  await connect(t, wsUrl, { localAddress: '127.0.0.2' })
})

t.test('a trusted proxy says whose address counts', async (t) => {
  const { wsUrl } = await start(t, { maxConnectionsPerIp: 1 }, { trustProxy: ['127.0.0.1'] })
  await connect(t, wsUrl, { headers: { 'x-forwarded-for': '203.0.113.7' } })
  await connect(t, wsUrl, { headers: { 'x-forwarded-for': '203.0.113.8' } })
  t.match(await refusal(wsUrl, { headers: { 'x-forwarded-for': '203.0.113.7' } }), { status: 429 })
})

t.test('all addresses of one IPv6 network were counted apart, of which anybody has 2^64', async (t) => {
  const { wsUrl } = await start(t, { maxConnectionsPerIp: 1 }, { trustProxy: ['127.0.0.1'] })
  const from = (address: string): { headers: Record<string, string> } => ({ headers: { 'x-forwarded-for': address } })
  const { ws } = await connect(t, wsUrl, from('2001:db8::1'))
  t.match(await refusal(wsUrl, from('2001:db8:0:0:ffff::2')), { status: 429 })
  await connect(t, wsUrl, from('2001:db8:0:1::1'))
  await connect(t, wsUrl, from('::ffff:203.0.113.7'))
  await connect(t, wsUrl, from('::ffff:203.0.113.8'))
  t.match(await refusal(wsUrl, from('203.0.113.7')), { status: 429 })
  ws.close()
  await once(ws, 'close')
  await connect(t, wsUrl, from('2001:db8::3'))
})

t.test('those whom hooks were still asked about counted for no limit', async (t) => {
  for (const limit of ['maxConnections', 'maxConnectionsPerIp']) {
    const { app, wsUrl } = await start(t, { [limit]: 2 })
    const asked: (() => void)[] = []
    app.connections.addHook('onConnect', () => new Promise((resolve) => { asked.push(resolve) }))
    const coming = [connect(t, wsUrl), connect(t, wsUrl)]
    await until(() => asked.length === 2)
    t.match(await refusal(wsUrl), { status: limit === 'maxConnections' ? 503 : 429 })
    for (const resolve of asked) resolve()
    await Promise.all(coming)
    t.equal(app.connections.count, 2)
  }
})

t.test('above MESSAGE_RATE reading pauses, and nothing is dropped', async (t) => {
  const { wsUrl } = await start(t, { messageRate: 50, pingInterval: 0.2, pongTimeout: 0.2 })
  const listener = await connect(t, wsUrl)
  const sender = await connect(t, wsUrl)
  const from = performance.now()
  for (let number = 0; number < 120; number++) sender.ws.send(String(number))
  await listener.hears(50)
  t.ok(listener.heard.length < 70, `a second's worth came at once, not ${listener.heard.length}`)
  t.same(await listener.hears(120), Array.from({ length: 120 }, (_, number) => String(number)))
  const seconds = (performance.now() - from) / 1000
  t.ok(seconds > 1.3, `70 messages above the rate of 50/s took ${seconds.toFixed(1)} s`)
  t.equal(sender.ws.readyState, sender.ws.OPEN, 'though it could not answer pings for longer than PONG_TIMEOUT')
})

t.test('what a throttled client sent before it closed is still published', async (t) => {
  const { wsUrl } = await start(t, { messageRate: 100 })
  const listener = await connect(t, wsUrl)
  const sender = await connect(t, wsUrl)
  for (let number = 0; number < 150; number++) sender.ws.send(String(number))
  sender.ws.close()
  t.equal((await listener.hears(150)).length, 150)
})

t.test('a receiver that stops reading is closed with 3008, and the others lose nothing', async (t) => {
  const { app, wsUrl } = await start(t, { maxBufferedBytes: 100_000, compression: false })
  const stalled = await connect(t, wsUrl)
  const healthy = await connect(t, wsUrl)
  const closed = stalled.closed()
  stalled.ws.pause()
  const message = 'x'.repeat(50_000)
  let published = 0
  for (; app.connections.count === 2; published++) {
    await app.connections.publish('broadcast', message)
    await healthy.hears(published + 1)
  }
  t.equal(app.connections.count, 1, `cut after ${published} messages of 50 kB`)
  stalled.ws.resume()
  t.same(await closed, { code: 3008, reason: 'slow' })
  t.ok(stalled.heard.length < published)
  t.equal(healthy.heard.length, published)
})

t.test('a receiver that stops reading misses publications and stays, with slowReceiver: drop', async (t) => {
  const { app, wsUrl } = await start(t, { maxBufferedBytes: 100_000, slowReceiver: 'drop', compression: false })
  const stalled = await connect(t, wsUrl)
  const healthy = await connect(t, wsUrl)
  stalled.ws.pause()
  for (let number = 0; number < 400; number++) {
    await app.connections.publish('broadcast', String(number).padEnd(50_000))
    await healthy.hears(number + 1)
  }
  stalled.ws.resume()
  await until(async () => {
    await app.connections.publish('broadcast', 'end')
    return stalled.texts.includes('end')
  })
  t.ok(stalled.heard.length < 400, `it got ${stalled.heard.length}`)
  const numbers = stalled.texts.map(Number).filter(Number.isInteger)
  t.same(numbers, numbers.toSorted((a, b) => a - b), 'in order')
  t.equal(app.connections.count, 2)
})

t.test('a client that sends faster than it reads is slowed, not cut', async (t) => {
  const { wsUrl, app } = await start(t, { maxBufferedBytes: 200_000, compression: false })
  const client = await connect(t, wsUrl)
  client.ws.pause()
  const message = 'x'.repeat(10_000)
  for (let number = 0; number < 3000; number++) client.ws.send(message)
  t.ok(client.ws.bufferedAmount > 0)
  client.ws.resume()
  await Promise.race([client.hears(3000), once(client.ws, 'close')])
  t.equal(client.heard.length, 3000)
  t.equal(app.connections.count, 1)
})

t.test('a connection is pinged, stays when it answers, and is closed with 3012 when it does not', async (t) => {
  const { wsUrl, app } = await start(t, { pingInterval: 0.3, pongTimeout: 0.2 })
  const [alive, deaf] = await Promise.all([connect(t, wsUrl), connect(t, wsUrl, { autoPong: false })])
  t.same(await deaf.closed(), { code: 3012, reason: 'no pong' })
  t.equal(app.connections.count, 1)
  await once(alive.ws, 'ping')
  await once(alive.ws, 'ping')
  t.equal(alive.ws.readyState, alive.ws.OPEN)
})

t.test('a blocked event loop closes nobody', async (t) => {
  const { wsUrl, app } = await start(t, { pingInterval: 0.2, pongTimeout: 1 })
  // In processes of their own, so that they answer while this one is blocked.
  const code = `const { WebSocket } = require('ws'); for (let i = 0; i < 50; i++) new WebSocket('${wsUrl}').on('close', (code) => console.log('closed', code))`
  const child = spawn(...bare(process.execPath, ['-e', code]), { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  child.stdout.on('data', (text) => t.fail(String(text)))
  await until(() => app.connections.count === 50)
  for (let block = 0; block < 3; block++) {
    const end = performance.now() + 1500
    while (performance.now() < end);
    await once(await connect(t, wsUrl).then(({ ws }) => ws), 'ping')
  }
  t.ok(app.connections.count >= 50)
})
