import { once } from 'node:events'
import t from 'tap'
import { connect, connectMany, refusal, start, until } from '../helper.ts'

t.test('what one sends, all get, the sender too, byte for byte and in one order', async (t) => {
  const { wsUrl } = await start(t)
  const clients = await connectMany(t, wsUrl, 5)
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  for (const [index, { ws }] of clients.entries()) {
    for (let number = 0; number < 20; number++) ws.send(`${index}:${number} ünï \u0000 𝄞`)
    ws.send(everyByte)
    ws.send('')
    ws.send(Buffer.alloc(0))
  }
  await Promise.all(clients.map((client) => client.hears(5 * 23)))
  for (const { heard } of clients) t.same(heard, clients[0]?.heard)
  const [first] = clients
  t.equal(first?.heard.filter(({ binary, data }) => binary && data.equals(everyByte)).length, 5)
  t.equal(first?.heard.filter(({ binary, data }) => binary && data.length === 0).length, 5)
  t.equal(first?.heard.filter(({ binary, data }) => !binary && data.length === 0).length, 5)
  const own = first?.texts.filter((text) => text.startsWith('3:'))
  t.same(own, Array.from({ length: 20 }, (_, number) => `3:${number} ünï \u0000 𝄞`))
})

t.test('messages of every frame size arrive whole', async (t) => {
  const { wsUrl } = await start(t, { compression: false, maxMessageBytes: 200_000 })
  const client = await connect(t, wsUrl)
  const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 150_000]
  for (const size of sizes) client.ws.send('x'.repeat(size))
  await client.hears(sizes.length)
  t.same(client.heard.map(({ data }) => data.length), sizes)
})

t.test('a channel is heard by those who are in it', async (t) => {
  const { app, wsUrl } = await start(t)
  const [red, blue, plain] = await Promise.all([connect(t, `${wsUrl}?channel=red`), connect(t, `${wsUrl}?channel=blue`), connect(t, wsUrl)])
  t.same(Object.fromEntries(app.connections.channels()), { red: 1, blue: 1, broadcast: 1 })
  red.ws.send('to red')
  blue.ws.send('to blue')
  plain.ws.send('to all without a channel')
  await Promise.all([red.hears(1), blue.hears(1), plain.hears(1)])
  t.same([red.texts, blue.texts, plain.texts], [['to red'], ['to blue'], ['to all without a channel']])
})

t.test('several channels are heard over one connection, and what it sends goes to the first', async (t) => {
  const { wsUrl } = await start(t)
  const both = await connect(t, `${wsUrl}?channel=red&channel=blue&channel=red`)
  const [red, blue] = await Promise.all([connect(t, `${wsUrl}?channel=red`), connect(t, `${wsUrl}?channel=blue`)])
  both.ws.send('one')
  await red.hears(1)
  blue.ws.send('two')
  t.same(await both.hears(2), ['one', 'two'])
  t.same(await blue.hears(1), ['two'])
})

t.test('echo=false leaves the sender out, and nobody else', async (t) => {
  const { wsUrl } = await start(t)
  const silent = await connect(t, `${wsUrl}?echo=false`)
  const other = await connect(t, `${wsUrl}?echo=false`)
  const normal = await connect(t, wsUrl)
  silent.ws.send('from silent')
  other.ws.send('from other')
  await Promise.all([silent.hears(1), other.hears(1), normal.hears(2)])
  normal.ws.send('end')
  await Promise.all([silent.hears(2), other.hears(2), normal.hears(3)])
  t.same([silent.texts, other.texts], [['from other', 'end'], ['from silent', 'end']])
})

t.test('an early message is not lost', async (t) => {
  const { wsUrl } = await start(t)
  const listener = await connect(t, wsUrl)
  const early = await connect(t, wsUrl)
  early.ws.send('at once')
  early.ws.close(1000)
  t.same(await listener.hears(1), ['at once'])
})

t.test('query parameters that make no sense are refused before the 101', async (t) => {
  const { wsUrl } = await start(t, { maxChannels: 2 })
  const cases: [string, string][] = [
    ['?channel=', 'FANFARE_BAD_CHANNEL'],
    [`?channel=${'x'.repeat(256)}`, 'FANFARE_BAD_CHANNEL'],
    ['?channel=a%0Ab', 'FANFARE_BAD_CHANNEL'],
    ['?channel=a%E2%80%A8b', 'FANFARE_BAD_CHANNEL'],
    ['?channel=a&channel=b&channel=c', 'FANFARE_TOO_MANY_CHANNELS'],
    ['?echo=perhaps', 'FST_ERR_VALIDATION']
  ]
  for (const [query, code] of cases) {
    const { status, body } = await refusal(wsUrl + query)
    t.equal(status, 400, query)
    t.equal(JSON.parse(body).code, code, body)
  }
})

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
  const { ws, closed } = await connect(t, wsUrl)
  ws.send(Buffer.from([0xff, 0xfe]), { binary: false })
  t.match(await closed.call({ ws }), { code: 1007 })
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

t.test('compressed and uncompressed clients hear the same', async (t) => {
  const { wsUrl } = await start(t)
  const [compressed, plain] = await Promise.all([connect(t, wsUrl), connect(t, wsUrl, { perMessageDeflate: false })])
  t.equal(compressed.ws.extensions, 'permessage-deflate')
  t.equal(plain.ws.extensions, '')
  // Around the threshold, around what the thread pool compresses, and small ones between that must not overtake.
  const messages = [10, 1023, 1024, 20_000, 5, 60_000, 6, 16_383, 16_384].map((size, index) => `${index}:`.padEnd(size, 'abc '))
  for (const message of messages) plain.ws.send(message)
  t.same(await compressed.hears(messages.length), messages)
  t.same(await plain.hears(messages.length), messages)
})

t.test('a client with a smaller window than ours is served uncompressed', async (t) => {
  const { wsUrl } = await start(t)
  const client = await connect(t, wsUrl, { perMessageDeflate: { serverMaxWindowBits: 9 } })
  const message = 'abc '.repeat(5000)
  client.ws.send(message)
  t.same(await client.hears(1), [message])
})

t.test('COMPRESSION=off offers none', async (t) => {
  const { wsUrl } = await start(t, { compression: false })
  const { ws } = await connect(t, wsUrl)
  t.equal(ws.extensions, '')
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
  const { wsUrl, app } = await start(t, { pingInterval: 0.2, pongTimeout: 0.2 })
  // In processes of their own, so that they answer while this one is blocked.
  const { spawn } = await import('node:child_process')
  const code = `const { WebSocket } = require('ws'); for (let i = 0; i < 50; i++) new WebSocket('${wsUrl}').on('close', (code) => console.log('closed', code))`
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  child.stdout.on('data', (text) => t.fail(String(text)))
  await until(() => app.connections.count === 50)
  for (let block = 0; block < 3; block++) {
    const end = performance.now() + 700
    while (performance.now() < end);
    await once(await connect(t, wsUrl).then(({ ws }) => ws), 'ping')
  }
  t.ok(app.connections.count >= 50)
})
