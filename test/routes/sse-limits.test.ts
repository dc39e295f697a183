import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { build, connect, listen, start, until } from '../helper.ts'
import { startProcess } from '../process.ts'
import { listenTo, type SseClient } from '../sse-client.ts'

const LARGE = 50_000

/** Sends raw text; what comes back is in `text`. */
function send (url: string, text: string): { socket: Socket, text: () => string } {
  const { hostname, port } = new URL(url)
  const socket = connectTcp(Number(port), hostname)
  let answer = ''
  socket.on('error', () => {}).on('data', (chunk: Buffer) => { answer += String(chunk) })
  socket.write(text)
  return { socket, text: () => answer }
}

const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`

t.test('comments keep a silent stream awake', async (t) => {
  const { app, url } = await start(t, { pingInterval: 0.1, pongTimeout: 0.05 })
  const client = await listenTo(t, `${url}/sse`)
  await client.until(() => client.comments.length >= 4)
  t.same(client.comments.slice(1, 4), ['', '', ''])
  t.same(client.events, [])
  t.equal(app.connections.count, 1, 'though nothing answers them')
})

t.test('a reader that stops reading is closed at MAX_BUFFERED_BYTES, comes back and has everything', async (t) => {
  const { app, url } = await start(t, { maxBufferedBytes: 200_000, historySize: 2000 })
  const healthy = await listenTo(t, `${url}/sse?channel=a`)
  const stalled = await Promise.all([1, 2, 3, 4].map(() => listenTo(t, `${url}/sse?channel=a`)))
  for (const { response } of stalled) response.pause()
  let published = 0
  let waiting = 0
  for (; app.connections.count > 1; published++) {
    await app.connections.publish('a', String(published).padEnd(LARGE))
    await healthy.hears(published + 1)
    waiting = Math.max(waiting, app.connections.waitingBytes)
  }
  t.ok(waiting < 2 * (200_000 + LARGE), `at most ${waiting} bytes waited for 4 readers: they share them`)
  t.equal(app.connections.waitingBytes, 0)
  t.same(healthy.texts.map(Number), Array.from({ length: published }, (_, index) => index), 'the other one lost nothing')
  const [client] = stalled as [SseClient]
  client.response.resume()
  t.ok(await client.ended, 'what waited still came, and an end')
  t.same(client.reports, [['close', { code: 3008, reason: 'slow', reconnect: true }]])
  t.ok(client.texts.length < published, `cut after ${client.texts.length} of ${published} messages of 50 kB`)
  for (const end = published + 50; published < end; published++) await app.connections.publish('a', String(published))
  const back = await listenTo(t, `${url}/sse?channel=a`, { lastEventId: client.lastEventId })
  await back.hears(published - client.texts.length)
  t.same([...client.texts, ...back.texts].map(Number), Array.from({ length: published }, (_, index) => index))
  t.same(back.reports, [['recovered', { channel: 'a' }]])
})

t.test('a reader that takes nothing after the end is cut within seconds', async (t) => {
  const { app, url } = await start(t, { maxBufferedBytes: 200_000 })
  const { socket } = send(url, request('/sse'))
  await until(() => app.connections.count === 1)
  socket.pause()
  await until(async () => {
    await app.connections.publish('broadcast', 'x'.repeat(LARGE))
    return app.connections.count === 0
  })
  const from = performance.now()
  await until(() => new Promise((resolve) => app.server.getConnections((_error, count) => resolve(count === 0))))
  t.comment(`after ${((performance.now() - from) / 1000).toFixed(1)} s`)
})

t.test('with slowReceiver: drop it stays, and is told how much it missed', async (t) => {
  const { app, url } = await start(t, { maxBufferedBytes: 100_000, slowReceiver: 'drop' })
  const client = await listenTo(t, `${url}/sse`)
  client.response.pause()
  for (let number = 0; number < 400; number++) {
    await app.connections.publish('broadcast', String(number).padEnd(LARGE))
    await nextTurn()
  }
  client.response.resume()
  await client.until(() => client.reports.length > 0)
  const [[type, { channel, count }]] = client.reports as [[string, { channel: string, count: number }]]
  t.same([type, channel, count + client.texts.length], ['skipped', 'broadcast', 400])
})

t.test('a client that goes frees its place at once', async (t) => {
  const { app, url } = await start(t)
  for (const leave of [(socket: Socket) => socket.destroy(), (socket: Socket) => socket.resetAndDestroy(), (socket: Socket) => socket.end()]) {
    const { socket, text } = send(url, request('/sse'))
    await until(() => text().includes('connected'))
    t.equal(app.connections.count, 1)
    const from = performance.now()
    leave(socket)
    await until(() => app.connections.count === 0)
    t.ok(performance.now() - from < 1000, `after ${(performance.now() - from).toFixed(1)} ms`)
  }
})

t.test('a client that goes while its place is being prepared leaves nothing behind', async (t) => {
  const { app, url } = await start(t)
  for (let attempt = 0; attempt < 50; attempt++) {
    const { socket } = send(url, request('/sse?channel=a&channel=b'))
    socket.once('connect', () => setImmediate(() => socket.resetAndDestroy()))
    await once(socket, 'close')
  }
  await until(() => app.connections.count === 0 && app.connections.channelCount === 0)
  t.equal(app.connections.count, 0)
})

t.test('30 channels whose histories wait for one reader are no leak, and one that goes meanwhile leaves none', async (t) => {
  const warnings: string[] = []
  const note = ({ message }: Error): void => { warnings.push(message) }
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  const { app, url } = await start(t, { historySize: 250, maxBufferedBytes: 200_000 })
  const channels = Array.from({ length: 30 }, (_, index) => `c${index}`)
  for (const channel of channels) for (let number = 0; number < 250; number++) await app.connections.publish(channel, String(number).padEnd(1000))
  const address = `${url}/sse?history=250&${channels.map((channel) => `channel=${channel}`).join('&')}`
  const [slow, gone] = [await listenTo(t, address), await listenTo(t, address)]
  for (const { response } of [slow, gone]) response.pause()
  gone.close()
  slow.response.resume()
  await slow.hears(30 * 250)
  t.same(slow.reports, [])
  slow.close()
  await until(() => app.connections.count === 0 && app.connections.channelCount === 0)
  t.same(warnings, [])
})

t.test('what a client sends after its request is no request: nothing comes between the events', async (t) => {
  const { app, url } = await start(t)
  const { socket, text } = send(url, request('/sse'))
  await until(() => text().includes('connected'))
  socket.write(request('/hello').repeat(1000) + request('/sse'))
  socket.write('garbage\r\n\r\n')
  await app.connections.publish('broadcast', 'still there')
  await until(() => text().includes('still there'))
  t.equal(text().split('HTTP/1.1 ').length, 2, 'one answer')
  t.notMatch(text(), /Hello/)
  t.equal(app.connections.count, 1)
})

t.test('a stream that is asked for behind an answer that is still due is refused', async (t) => {
  const app = await build(t)
  const refused = new Promise<void>((resolve) => {
    app.addHook('onSend', async (request) => { if (request.url === '/sse') resolve() })
  })
  app.get('/slow', async () => {
    await refused
    return 'slow'
  })
  const { url } = await listen(app)
  const { text } = send(url, `${request('/slow')}${request('/sse')}`)
  await until(() => text().includes('FANFARE_PIPELINED'))
  t.match(text(), /^HTTP\/1.1 200 OK[^]*slowHTTP\/1.1 400 Bad Request/)
  t.equal(app.connections.count, 0)
})

t.test('who is disconnected is told whether to come back', async (t) => {
  const { app, url } = await start(t)
  const cases: [number | undefined, boolean][] = [[undefined, false], [3012, true], [3999, false], [4000, true], [4501, false], [1012, true]]
  for (const [code, reconnect] of cases) {
    const client = await listenTo(t, `${url}/sse`)
    await app.connections.publish('broadcast', 'last')
    await app.connections.disconnect({ channel: 'broadcast' }, code === undefined ? undefined : { code, reason: 'test' })
    t.ok(await client.ended)
    t.same(client.texts, ['last'], 'after all that was published')
    t.match(client.reports, [['close', { code: code ?? 3503, reconnect }]])
    t.equal(client.retry > 5000, !reconnect, 'nor does a page that does not listen come back at once')
  }
})

t.test('a stopping server ends all streams, also of those who take nothing, and is gone in time', async (t) => {
  const server = await startProcess(t, { DRAIN_TIMEOUT: '2', MAX_BUFFERED_BYTES: '10000000', MAX_MESSAGE_BYTES: '1000000' })
  const client = await listenTo(t, `${server.url}/sse`)
  const stalled = send(server.url, request('/sse'))
  await until(() => stalled.text().includes('connected'))
  stalled.socket.pause()
  const sender = await connect(t, server.wsUrl)
  for (let number = 0; number < 15; number++) sender.ws.send('x'.repeat(500_000))
  await client.hears(15)
  const from = performance.now()
  server.child.kill('SIGTERM')
  t.ok(await client.ended)
  t.same(client.reports, [['close', { code: 1012, reason: 'server restarting', reconnect: true }]])
  t.equal(await server.exit, 0)
  const seconds = (performance.now() - from) / 1000
  t.ok(seconds < 3.5, `it ended after ${seconds.toFixed(2)} s, one reader with some MB waiting was cut`)
})
