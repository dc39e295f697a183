import { once } from 'node:events'
import fastify from 'fastify'
import t from 'tap'
import fanfare from '../../src/app.ts'
import { connect, connectMany, start, until } from '../helper.ts'
import { startProcess } from '../process.ts'
import { openRaw } from '../raw-websocket.ts'
import { SECRET } from '../tokens.ts'
import { dial, hungUp, rawAnswer, UPGRADE } from './raw.ts'

// What comes in one packet with a request that becomes a connection. A server of its own: each of these ended it, or left it with
// sockets that nobody read from.

const STREAM = `GET /connection/sse?cf_connect=${encodeURIComponent('{"id":1,"connect":{}}')} HTTP/1.1\r\nHost: a\r\n\r\n`
const PUBLIC_STREAM = 'GET /sse HTTP/1.1\r\nHost: a\r\n\r\n'

async function countOf (url: string): Promise<number> {
  return (await (await fetch(`${url}/health/ready`)).json() as { connections: number }).connections
}

t.test('a request right behind one that is answered with a stream: one such packet of anybody ended the process', async (t) => {
  for (const settings of [{}, { TOKEN_HMAC_SECRET: SECRET }, { CONNECT_RATE: '1000' }]) {
    const { url, wsUrl, child } = await startProcess(t, settings)
    for (const stream of 'TOKEN_HMAC_SECRET' in settings ? [STREAM] : [STREAM, PUBLIC_STREAM]) {
      for (const [name, second] of [['404', 'GET /nope'], ['hello', 'GET /hello'], ['another stream', 'GET /connection/sse'], ['an upgrade', 'GET /ws']]) {
        const answer = await hungUp(t, url, `${stream}${second} HTTP/1.1\r\nHost: a\r\n${second === 'GET /ws' ? UPGRADE : ''}\r\n`)
        t.notMatch(answer, '101 Switching', `${name}: no WebSocket on the socket of a stream`)
        t.ok(answer.split('HTTP/1.1 ').length <= 2, `${name}: one answer at most`)
      }
    }
    await until(async () => await countOf(url) === 0)
    t.equal(child.exitCode, null)
    if (!('TOKEN_HMAC_SECRET' in settings)) await connect(t, wsUrl)
  }
})

t.test('a stream whose client sends something later goes on', async (t) => {
  const { url } = await startProcess(t)
  const socket = dial(url)
  t.teardown(() => { socket.destroy() })
  socket.write(PUBLIC_STREAM)
  await once(socket, 'data')
  socket.write('GET /hello HTTP/1.1\r\nHost: a\r\n\r\n')
  await fetch(`${url}/hello`)
  t.equal(await countOf(url), 1)
})

t.test('upgrades that no hook sees are cut: their sockets stayed for ever, and kept a stopping node from its end', async (t) => {
  const { url, child, exit } = await startProcess(t)
  t.match(await hungUp(t, url, `GET /%zz HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`), /^HTTP\/1.1 400 /)
  t.match(await hungUp(t, url, `GET /hello/${'x'.repeat(300)} HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`), /^HTTP\/1.1 404 /)
  await hungUp(t, url, `GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /ws HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`)
  await hungUp(t, url, `GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n${UPGRADE.replace('websocket', 'h2c')}\r\n`)
  const crowd = Array.from({ length: 1100 }, (_, number) => `a${number}: b\r\n`).join('')
  // Node 22 and 24 refuse so many by themselves.
  t.match(await hungUp(t, url, `POST /hello HTTP/1.1\r\nHost: a\r\n${UPGRADE.replace('websocket', 'h2c')}${crowd}Content-Length: 34\r\n\r\nGET /hello HTTP/1.1\r\nHost: evil\r\n\r\n`), /^(HTTP\/1.1 431 [^]*"statusCode":431}\s*)?$/, 'a body was taken for a request')
  const began = performance.now()
  child.kill('SIGTERM')
  t.equal(await exit, 0)
  t.ok(performance.now() - began < 5000, `it ended within ${Math.round(performance.now() - began)} ms`)
})

t.test('of many streams that are asked for in one packet only one asks hooks: all counted, and left no room for others', async (t) => {
  const { app, url } = await start(t)
  let asked = 0
  app.connections.addHook('onConnect', async () => { asked++ })
  await hungUp(t, url, PUBLIC_STREAM.repeat(250))
  t.equal(asked, 1)
  await until(() => app.connections.count === 0)
})

t.test('a stream is asked for without a body: the socket was not read any more, so that nobody saw its client go', async (t) => {
  const { app, url } = await start(t)
  for (const header of ['Content-Length: 300000', 'Transfer-Encoding: chunked']) {
    t.match(await rawAnswer(url, `GET /sse HTTP/1.1\r\nHost: a\r\n${header}\r\n\r\n`), /400 Bad Request[^]*FANFARE_BODY/, header)
  }
  t.equal(app.connections.count, 0)
})

t.test('who asks for a WebSocket while the node stops is answered; nobody listened to its socket, and a reset ended the process', async (t) => {
  const { url, wsUrl, child, exit } = await startProcess(t, { DRAIN_TIMEOUT: '5' })
  // More than are closed at once.
  await connectMany(t, wsUrl, 150)
  // It answers no close: the node waits for it.
  const holding = await openRaw(t, Number(new URL(url).port))
  const early = dial(url)
  const closed = once(early, 'close')
  await once(early, 'connect')
  child.kill('SIGTERM')
  await until(async () => (await fetch(`${url}/health/ready`).then(({ status }) => status, () => 503)) === 503)
  t.equal((await fetch(`${url}/health/live`)).status, 200, 'it lives')
  t.equal((await fetch(`${url}/emulation`, { method: 'POST', body: JSON.stringify({ session: 'x', node: 'y', data: '{}' }) })).status, 404, 'commands of streams that are still there are taken')
  t.match(await (await fetch(`${url}/hello`)).json(), { statusCode: 503, code: 'FANFARE_STOPPING' })
  let answer = ''
  early.on('data', (data) => { answer += String(data) })
  early.write(`GET /ws HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`)
  await closed
  t.match(answer, /^HTTP\/1.1 503 /)
  holding.socket.destroy()
  t.equal(await exit, 0)
})

t.test('an upgrade that a hook still looks at when the node stops does not keep it from its end', async (t) => {
  const { app, url } = await start(t, { drainTimeout: 1 })
  const asked = new Promise<void>((resolve) => app.connections.addHook('onConnect', async () => {
    resolve()
    await new Promise(() => {})
  }))
  const socket = dial(url)
  t.teardown(() => { socket.destroy() })
  socket.write(`GET /ws HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`)
  await asked
  const [began, closed] = [performance.now(), once(socket, 'close')]
  await app.close()
  await closed
  t.ok(performance.now() - began < 3000, `closed within ${Math.round(performance.now() - began)} ms`)
})

t.test('Fanfare twice on one server: a sentence; both answered each upgrade', async (t) => {
  const app = fastify()
  await app.register(async (context) => { await context.register(fanfare) }, { prefix: '/a' })
  await t.rejects(async () => {
    app.register(async (context) => { await context.register(fanfare) }, { prefix: '/b' })
    await app.ready()
  }, { message: /is registered on this server already/ })
})
