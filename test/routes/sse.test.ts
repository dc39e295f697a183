import { once } from 'node:events'
import { connect as http2Connect } from 'node:http2'
import fastify from 'fastify'
import t from 'tap'
import fanfare from '../../src/app.ts'
import { build, connect, listen, start, until } from '../helper.ts'
import { dial } from '../security/raw.ts'
import { EventStreamParser, listenTo } from '../sse-client.ts'

t.test('text, JSON and binary arrive in the order of publishing, whatever they hold', async (t) => {
  const { app, url } = await start(t)
  const client = await listenTo(t, `${url}/sse`)
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  const sent = ['hello', '', ' space ', ': no comment', 'data: no field', 'id: 7', 'two\nlines', '\n', 'a\r\nb\rc\n\nd\n', 'ünï \u0000 𝄞 \u2028 \ufeff', { a: 'x\ny', b: [1, null] }, 42, null, everyByte, Buffer.alloc(0)]
  for (const data of sent) await app.connections.publish('broadcast', data)
  await client.until(() => client.events.length === sent.length)
  t.same(client.events.map(({ type, data }) => [type, data]), sent.map((data) => {
    if (Buffer.isBuffer(data)) return ['binary', data.toString('base64')]
    return ['message', typeof data === 'string' ? data.replace(/\r\n?/g, '\n') : JSON.stringify(data)]
  }))
  t.same(client.events.map(({ lastEventId }) => lastEventId.replace(/=.*:/, ' ')), sent.map((_, index) => `broadcast ${index + 1}`), 'each with its position')
})

t.test('what one WebSocket sends, every event stream gets, in the order in which all get it', async (t) => {
  const { url, wsUrl } = await start(t)
  const [one, two, socket] = await Promise.all([listenTo(t, `${url}/sse`), listenTo(t, `${url}/sse`), connect(t, wsUrl)])
  const senders = await Promise.all([1, 2, 3].map(() => connect(t, wsUrl)))
  for (let number = 0; number < 50; number++) senders[number % 3]?.ws.send(String(number))
  const texts = await socket.hears(50)
  t.same(await one.hears(50), texts)
  t.same(await two.hears(50), texts)
})

t.test('a stream carries the channels that it was asked for, and no other', async (t) => {
  const { app, url } = await start(t)
  const red = await listenTo(t, `${url}/sse?channel=red`)
  const both = await listenTo(t, `${url}/sse?channel=red&channel=gr%C3%BCn%26%3D%25&channel=red`)
  t.same(both.comments, ['connected to red, grün&=%'])
  for (const [channel, text] of [['red', '1'], ['broadcast', '2'], ['grün&=%', '3'], ['red', '4']] as const) await app.connections.publish(channel, text)
  t.same(await red.hears(2), ['1', '4'])
  t.same((await both.hears(3)).toSorted(), ['1', '3', '4'])
  t.match(both.lastEventId, /^red=[\w-]+:2&gr%C3%BCn%26%3D%25=[\w-]+:1$/)
})

t.test('the head tells caches and proxies to pass on everything at once', async (t) => {
  const { url } = await start(t)
  const { response, retry, lastEventId, ...client } = await listenTo(t, `${url}/sse`)
  t.match(response.headers, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    connection: 'close'
  })
  t.notOk(response.headers['transfer-encoding'])
  t.ok(retry >= 2000 && retry <= 4000, `come back after ${retry} ms`)
  t.match(lastEventId, /^broadcast=[\w-]+:0$/, 'where it stands, before its first event')
  t.same(client.events, [])
})

t.test('the timeouts of the server do not cut a running stream', async (t) => {
  const timeouts = { requestTimeout: 200, connectionTimeout: 200, keepAliveTimeout: 200, handlerTimeout: 200, http: { connectionsCheckingInterval: 50 } }
  const app = await build(t, {}, timeouts)
  app.get('/never', () => new Promise(() => {}))
  const { url } = await listen(app)
  const client = await listenTo(t, `${url}/sse`)
  // Each of them is cut, one after the other: the stream has lived through all of the timeouts by then.
  for (const request of ['GET /health', 'GET /never HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n']) {
    const socket = dial(url)
    socket.resume().write(request)
    await once(socket, 'close')
  }
  await app.connections.publish('broadcast', 'still there')
  t.same(await client.hears(1), ['still there'])
})

t.test('headers that hooks have set are sent', async (t) => {
  const app = await build(t)
  app.addHook('onRequest', async (_request, reply) => { reply.header('x-mine', 'yes').header('set-cookie', 'a=1') })
  await app.ready()
  const response = await app.inject({ url: '/sse', payloadAsStream: true })
  t.match(response.headers, { 'x-mine': 'yes', 'set-cookie': 'a=1', 'content-type': /event-stream/ })
  let text = ''
  response.stream().on('data', (chunk: Buffer) => { text += String(chunk) })
  await app.connections.publish('broadcast', 'under inject')
  await app.connections.disconnect({ channel: 'broadcast' })
  await new Promise((resolve) => response.stream().on('end', resolve))
  t.match(text, /: connected to broadcast\n[^]*\ndata: under inject\n\n[^]*event: close\n/)
})

t.test('HTTP/2 does it too', async (t) => {
  const app = fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(fanfare)
  const session = http2Connect(await app.listen({ host: '127.0.0.1', port: 0 }))
  t.teardown(() => session.destroy())
  const parser = new EventStreamParser()
  const stream = session.request({ ':path': '/sse' })
  stream.on('data', (chunk: Buffer) => parser.add(String(chunk)))
  await until(() => parser.retry > 0)
  await app.connections.publish('broadcast', 'over HTTP/2')
  await app.connections.disconnect({ channel: 'broadcast' })
  await once(stream, 'end')
  t.match(parser.events, [{ data: 'over HTTP/2' }, { type: 'close' }])
  const other = session.request({ ':path': '/sse' })
  await once(other, 'response')
  other.close()
  await until(() => app.connections.count === 0)
})

t.test('history=N begins with the last N publications, and goes on with those that come', async (t) => {
  const { app, url } = await start(t, { historySize: 10 })
  const early = await listenTo(t, `${url}/sse?channel=a&history=5`)
  for (let number = 1; number <= 20; number++) await app.connections.publish('a', String(number))
  const clients = await Promise.all(['history=3', 'history=0', 'history=99', 'channel=b&history=2'].map((query) => listenTo(t, `${url}/sse?channel=a&${query}`)))
  await app.connections.publish('a', 'live')
  const heard = await Promise.all([3, 0, 10, 2].map((count, index) => clients[index]?.hears(count + 1)))
  t.same(heard, [['18', '19', '20', 'live'], ['live'], [...Array.from({ length: 10 }, (_, index) => String(index + 11)), 'live'], ['19', '20', 'live']])
  for (const client of clients) t.same(client.reports, [], 'nothing was to be recovered')
  t.equal((await early.hears(21)).length, 21)
})

t.test('a channel whose history nobody may read can be heard: it was refused with 403', async (t) => {
  const { app, url } = await start(t, { channels: [{ match: 'a', allow: { history: 'none' } }] })
  const client = await listenTo(t, `${url}/sse?channel=a`)
  await app.connections.publish('a', 'live')
  t.same(await client.hears(1), ['live'])
  t.match(await app.connections.position('a'), { offset: 1 })
  await t.rejects(app.connections.position(''), { code: 'FANFARE_BAD_CHANNEL' })
  const answer = await fetch(`${url}/sse?channel=a&history=1`)
  t.match({ status: answer.status, ...await answer.json() as object }, { status: 403, code: 'FANFARE_FORBIDDEN' })
})

t.test('what cannot be is refused with a status, a code and a sentence', async (t) => {
  const { app, url } = await start(t, { maxChannels: 4, maxConnections: 2 })
  const long = Array.from({ length: 4 }, (_, index) => `channel=${index}${'ü'.repeat(120)}`).join('&')
  const cases: [string, number, string][] = [
    ['?channel=', 400, 'FANFARE_BAD_CHANNEL'],
    ['?channel=a%0ab', 400, 'FANFARE_BAD_CHANNEL'],
    [`?channel=${'x'.repeat(256)}`, 400, 'FANFARE_BAD_CHANNEL'],
    ['?channel=1&channel=2&channel=3&channel=4&channel=5', 400, 'FANFARE_TOO_MANY_CHANNELS'],
    ['?history=-1', 400, 'FST_ERR_VALIDATION'],
    ['?history=many', 400, 'FST_ERR_VALIDATION']
  ]
  for (const [query, status, code] of cases) {
    const answer = await fetch(`${url}/sse${query}`)
    t.match({ status: answer.status, ...await answer.json() as object }, { status, code, message: /./ }, query)
  }
  await listenTo(t, `${url}/sse?${encodeURI(long)}`)
  await listenTo(t, `${url}/sse`)
  t.match(await listenTo(t, `${url}/sse`).catch((error: Error) => error), { status: 503, message: /FANFARE_FULL/ })
  t.equal(app.connections.count, 2)
})

t.test('channels whose positions would not fit into a header are refused', async (t) => {
  const { url } = await start(t)
  const answer = await fetch(`${url}/sse?${Array.from({ length: 12 }, (_, index) => `channel=${index}${encodeURIComponent('ü'.repeat(120))}`).join('&')}`)
  t.match({ status: answer.status, ...await answer.json() as object }, { status: 400, code: 'FANFARE_LONG_CHANNELS', message: /7500 bytes/ })
})

t.test('HEAD does not hang', async (t) => {
  const { app, url } = await start(t)
  t.equal((await fetch(`${url}/sse`, { method: 'HEAD' })).status, 404)
  t.equal(app.connections.count, 0)
})

t.test('pages of others hear nothing, unless ALLOWED_ORIGINS lets them in', async (t) => {
  const { url } = await start(t)
  const friendly = await start(t, { allowedOrigins: ['https://*.example.org'] })
  const attempts: [string, string, number][] = [
    [url, 'https://evil.example', 403], [url, 'null', 403], [url, url, 200],
    [friendly.url, 'https://a.example.org', 200], [friendly.url, 'https://a.example.org.evil.example', 403], [friendly.url, url, 403]
  ]
  for (const [server, origin, expected] of attempts) {
    const attempt = await listenTo(t, `${server}/sse`, { headers: { origin } }).catch((error: Error & { status: number }) => error)
    if ('status' in attempt) {
      t.match(attempt, { status: expected, message: /FANFARE_ORIGIN_REFUSED/ }, origin)
    } else {
      t.equal(expected, 200, origin)
      t.match(attempt.response.headers, { 'access-control-allow-origin': origin, vary: 'Origin' })
    }
  }
  const without = await listenTo(t, `${friendly.url}/sse`)
  t.notOk(without.response.headers['access-control-allow-origin'])
})
