import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import fanfare from '../../src/app.ts'
import { connect, listen, start, until } from '../helper.ts'
import { openRaw, upgradeHead } from '../raw-websocket.ts'

/** A connection of a client of HTTP that keeps what it is answered. */
async function speakTo (t: Test, url: string, text: string): Promise<{ socket: Socket, said: () => string }> {
  const socket = connectTcp(Number(new URL(url).port), '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {})
  let said = ''
  socket.on('data', (piece) => { said += String(piece) })
  await once(socket, 'connect')
  socket.write(text)
  return { socket, said: () => said }
}

t.test('who would rather speak HTTP/2, as clients in Java, is answered as if it had not said so: it got 404 for everything', async (t) => {
  const { app, url } = await start(t, { apiKey: 'key' })
  const wish = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n'
  const body = JSON.stringify({ channel: 'a', data: 'x'.repeat(30_000) })
  const { said, socket } = await speakTo(t, url, `POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: key\r\n${wish}Content-Length: ${body.length}\r\n\r\n${body}`)
  await until(() => said().includes('"offset":1'))
  t.match(said(), /^HTTP\/1.1 200 /)
  socket.write(`GET /health/live HTTP/1.1\r\nHost: x\r\n${wish}\r\n`)
  await until(() => said().split('HTTP/1.1 200 ').length === 3)
  t.equal((await app.connections.position('a')).offset, 1)
  const asked = await speakTo(t, url, `GET /ws HTTP/1.1\r\nHost: x\r\n${wish}\r\n`)
  await until(() => asked.said().includes('FANFARE_ONLY_WEBSOCKET'))
  t.match(asked.said(), /^HTTP\/1.1 404 /)
  socket.destroy()
  asked.socket.destroy()
})

t.test('in a context with a prefix: who asks for a WebSocket anywhere else is answered, and cut; the socket stayed, and the app did not close', async (t) => {
  const app = fastify()
  await app.register(async (context) => { await context.register(fanfare) }, { prefix: '/rt' })
  app.get('/outside', async () => 'hello')
  const { url } = await listen(app)
  for (const [path, status] of [['/none', 404], ['/outside', 200], ['/rt/none', 404]] as const) {
    const { said, socket } = await speakTo(t, url, upgradeHead(path))
    await once(socket, 'close')
    t.match(said(), new RegExp(`^HTTP/1.1 ${status} `), path)
  }
  const inside = await connect(t, `${url.replace('http', 'ws')}/rt/ws`)
  const page = await fetch(`${url}/rt?channel=a`)
  t.equal(page.url, `${url}/rt/?channel=a`, 'beside the page are its files')
  t.match(await page.text(), /<title>/)
  inside.ws.send('hello')
  t.same(await inside.hears(1), ['hello'])
  await app.close()
})

t.test('a request for /ws that asks for no WebSocket costs nothing: it asked the hooks, and the back end', async (t) => {
  const { app, url } = await start(t)
  app.connections.addHook('onConnect', () => { t.fail('a hook was asked') })
  for (const path of ['/ws', '/connection/websocket']) {
    t.match(await (await fetch(url + path, { headers: { origin: 'https://evil.example' } })).json(), { statusCode: 404, code: 'FANFARE_ONLY_WEBSOCKET' })
    t.equal((await fetch(url + path, { method: 'HEAD' })).status, 404)
  }
})

t.test('a client that answers the goodbye of a stopping node with a wrong frame: the app failed to close', async (t) => {
  const { app, wsUrl } = await start(t)
  const client = await openRaw(t, Number(new URL(wsUrl).port))
  client.socket.on('data', () => client.send({ opcode: 1, payload: Buffer.from('not masked'), masked: false }))
  await app.close()
  t.equal(await client.closed, 1012)
})
