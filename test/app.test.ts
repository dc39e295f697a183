import underPressure from '@fastify/under-pressure'
import websocket from '@fastify/websocket'
import fastify from 'fastify'
import t from 'tap'
import fanfare from '../src/app.ts'
import { build, connect, listen, start, until } from './helper.ts'

t.test('registers in an app with routes of its own, which publish', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(fanfare, { maxMessageBytes: 1000 })
  app.post('/orders/:id', async (request) => {
    await app.connections.publish('orders', { id: (request.params as { id: string }).id, state: 'shipped' })
    return { ok: true }
  })
  await app.ready()
  const ws = await app.injectWS('/ws?channel=orders')
  const heard = new Promise((resolve) => ws.once('message', (data: Buffer, binary: boolean) => resolve({ text: String(data), binary })))
  t.equal((await app.inject({ method: 'POST', url: '/orders/42' })).statusCode, 200)
  t.same(await heard, { text: '{"id":"42","state":"shipped"}', binary: false })
  ws.terminate()
})

t.test('injectWS is enough to test with: text, binary, echo, large, pings, disconnect', async (t) => {
  // On a busy machine a shorter time for answers would end the connection before anything is looked at.
  const app = await build(t, { pingInterval: 0.1, pongTimeout: 10 })
  await app.ready()
  const ws = await app.injectWS('/ws')
  const pinged = new Promise((resolve) => ws.once('ping', resolve))
  const heard: unknown[] = []
  const texts = ['hi', 'x'.repeat(200), 'y'.repeat(65_600)]
  const all = new Promise<void>((resolve) => ws.on('message', (data: Buffer, binary: boolean) => {
    if (heard.push(binary ? data : String(data)) === texts.length + 1) resolve()
  }))
  await app.connections.publish('broadcast', texts[0] as string)
  await app.connections.publish('broadcast', texts[1] as string)
  await app.connections.publish('broadcast', texts[2] as string)
  ws.send(Buffer.from([1, 2]))
  await all
  t.same(heard, [...texts, Buffer.from([1, 2])])
  // Nothing else keeps the process: there is no socket, and the heartbeat does not.
  const loop = setInterval(() => {}, 1000)
  await pinged
  clearInterval(loop)
  const closed = new Promise((resolve) => ws.once('close', (code: number) => resolve(code)))
  t.equal(await app.connections.disconnect({ channel: 'broadcast' }), 1)
  t.equal(await closed, 3503)
  t.equal(app.connections.count, 0)
})

t.test('what several channels have for a connection in one turn arrives whole, small or large, over a socket or injected', async (t) => {
  const { app, wsUrl } = await start(t, { compression: false })
  const query = '?channel=red&channel=green&channel=blue'
  const client = await connect(t, wsUrl + query)
  const injected = await app.injectWS(`/ws${query}`)
  const heard: string[] = []
  injected.on('message', (data: Buffer) => heard.push(String(data)))
  const expected: string[] = []
  for (const size of [10, 3000, 100_000]) {
    await Promise.all(['red', 'green', 'blue'].map((channel) => app.connections.publish(channel, channel.padEnd(size, '.'))))
    expected.push(...['red', 'green', 'blue'].map((channel) => channel.padEnd(size, '.')))
    t.strictSame(await client.hears(expected.length), expected)
  }
  await until(() => heard.length === expected.length)
  t.strictSame(heard, expected)
  injected.terminate()
})

t.test('an injected client is slowed like any other', async (t) => {
  const { app } = await start(t, { messageRate: 50, maxBufferedBytes: 1000 })
  const ws = await app.injectWS('/ws')
  const heard: string[] = []
  ws.on('message', (data: Buffer) => heard.push(String(data)))
  for (let number = 0; number < 60; number++) ws.send(String(number).padEnd(100))
  await until(() => heard.length === 60)
  t.strictSame(heard, Array.from({ length: 60 }, (_, number) => String(number).padEnd(100)))
  ws.terminate()
})

t.test('publishing takes text, bytes and JSON values, and refuses the rest', async (t) => {
  const { app, wsUrl } = await start(t)
  const client = await connect(t, wsUrl)
  const values = ['text', Buffer.from('bytes'), new Uint8Array([65]), { a: [1] }, [1, 2], 7, true, null]
  for (const value of values) await app.connections.publish('broadcast', value)
  await client.hears(values.length)
  t.same(client.texts, ['text', 'bytes', 'A', '{"a":[1]}', '[1,2]', '7', 'true', 'null'])
  t.same(client.heard.map(({ binary }) => binary), [false, true, true, false, false, false, false, false])
  const circle: { self?: object } = {}
  circle.self = circle
  for (const value of [undefined, () => {}, Symbol('s'), circle, 1n]) {
    await t.rejects(app.connections.publish('broadcast', value as never), { code: 'FANFARE_BAD_DATA', statusCode: 400 })
  }
  for (const channel of ['', 'x'.repeat(256), 'ü'.repeat(128), 'a\u001bb']) {
    await t.rejects(app.connections.publish(channel, 'x'), { code: 'FANFARE_BAD_CHANNEL', statusCode: 400 })
  }
  await app.connections.publish('nobody hears this', 'x')
  t.same(Object.fromEntries(await app.connections.channels()), { broadcast: 1 }, 'a channel without subscribers does not exist')
})

t.test('disconnect closes those who are meant, after what they should still hear', async (t) => {
  const { app, wsUrl } = await start(t)
  const [red, blue] = await Promise.all([connect(t, `${wsUrl}?channel=red`), connect(t, `${wsUrl}?channel=blue`)])
  const closed = red.closed()
  const published = app.connections.publish('red', 'last words')
  t.equal(await app.connections.disconnect({ channel: 'red' }, { code: 4001, reason: 'out' }), 1)
  await published
  t.same(await closed, { code: 4001, reason: 'out' })
  t.same(red.texts, ['last words'])
  t.equal(await app.connections.disconnect({ id: 'nobody' }), 0)
  t.equal(await app.connections.disconnect({ user: 'nobody' }), 0)
  await t.rejects(app.connections.disconnect({ user: undefined }), { code: 'FANFARE_BAD_FILTER' }, 'and not everyone')
  t.equal(app.connections.count, 1)
  blue.ws.close()
})

t.test('a wrong option stops the start with a sentence that names it', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => { await app.register(fanfare, { pingInterval: -1 }) }, { message: 'pingInterval takes a number of seconds above 0 and at most 86400, but got -1' })
  const other = fastify()
  t.teardown(() => other.close())
  await t.rejects(async () => { await other.register(fanfare, { pingIntervall: 1 } as never) }, { message: 'pingIntervall is not a setting of Fanfare' })
})

t.test('what belongs to the host is looked at and named, as it has no effect; it was taken without a word', async (t) => {
  const lines: string[] = []
  const app = fastify({ logger: { stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(fanfare, { trustProxy: ['127.0.0.1'], port: 1 } as never)
  t.match(lines.join(''), 'trustProxy has no effect as an option of the plugin: it belongs to Fastify({ trustProxy })')
  const other = fastify()
  t.teardown(() => other.close())
  await t.rejects(async () => { await other.register(fanfare, { port: 'abc' } as never) }, { message: /^port takes a whole number/ })
})

t.test('what the host validates its own routes with is not asked about ours', async (t) => {
  const app = fastify({ ajv: { customOptions: { useDefaults: false, coerceTypes: false } } })
  app.setValidatorCompiler(() => () => ({ error: new Error('asked') }))
  t.teardown(() => app.close())
  await app.register(fanfare)
  app.get('/own', { schema: { querystring: {} } }, async () => 'own')
  const { wsUrl } = await listen(app)
  t.match((await app.inject('/own')).json(), { message: 'asked' })
  for (const path of ['/presence', '/position']) t.equal((await app.inject(path)).statusCode, 200, path)
  await connect(t, `${wsUrl}?history=2`)
  await connect(t, `${wsUrl.replace('/ws', '/connection/websocket')}`)
})

t.test('@fastify/websocket and @fastify/under-pressure of the host: a sentence says what to do; it was an exception that nobody could catch', async (t) => {
  const app = fastify()
  await app.register(websocket)
  await t.rejects(async () => { await app.register(fanfare) }, { message: /^@fastify\/websocket is registered by Fanfare itself/ })
  const other = fastify()
  t.teardown(() => other.close())
  await other.register(underPressure)
  await t.rejects(async () => { await other.register(fanfare, { maxEventLoopDelay: 100 }) }, { message: /^maxEventLoopDelay cannot be set where/ })
})

t.test('an app closes at once after injectWS, whether its client has closed or not; it took 5 s', async (t) => {
  for (const leaves of [true, false]) {
    const app = await build(t)
    await app.ready()
    const ws = await app.injectWS('/ws')
    if (leaves) ws.close()
    const began = performance.now()
    await app.close()
    t.ok(performance.now() - began < 3000, `within ${Math.round(performance.now() - began)} ms`)
    t.equal(app.connections.count, 0)
  }
})

t.test('page: false leaves / to the host app', async (t) => {
  const app = await build(t, { page: false })
  app.get('/', async () => 'mine')
  t.equal((await app.inject('/')).body, 'mine')
})

t.test('a host app that has WebSocket routes of its own keeps them', async (t) => {
  const app = await build(t)
  app.get('/own', { websocket: true }, (socket) => { socket.on('message', (data: Buffer) => socket.send(`own ${String(data)}`)) })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  const client = await connect(t, `ws://127.0.0.1:${port}/own`)
  client.ws.send('x')
  t.same(await client.hears(1), ['own x'])
  const closed = client.closed()
  await app.close()
  t.match(await closed, { code: 1012 })
})

t.test('a prefix would be ignored: it stops the start, and is said how to do it', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => { await app.register(fanfare, { prefix: '/rt' } as never) }, { code: 'FANFARE_BAD_SETTING', message: /^prefix is not taken by Fanfare itself; register it in a context with one/ })
})

t.test('a Buffer that is used for something else once it is published was heard changed', async (t) => {
  const { app, wsUrl } = await start(t)
  const client = await connect(t, wsUrl)
  const bytes = Buffer.from('first')
  await app.connections.publish('broadcast', bytes)
  bytes.write('XXXXX')
  t.same(await client.hears(1), ['first'])
})

t.test('a ping interval of a day costs nothing: 432,000 slots were made for it', async (t) => {
  const before = process.memoryUsage().heapUsed
  const { wsUrl } = await start(t, { pingInterval: 86_400, pongTimeout: 0.001 })
  await connect(t, wsUrl)
  t.ok(process.memoryUsage().heapUsed - before < 50_000_000)
})
