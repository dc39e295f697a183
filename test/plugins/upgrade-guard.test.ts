import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import t from 'tap'
import { originChecker } from '../../src/auth/origin.ts'
import { build, connect, listen, refusal, start } from '../helper.ts'
import { rawAnswer, UPGRADE } from '../security/raw.ts'
import { startSecure } from '../tokens.ts'

/** The first line that a server answers to raw text. */
async function answerTo (url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connectTcp(Number(port), hostname)
  socket.write(text)
  const [chunk] = await once(socket, 'data') as [Buffer]
  socket.destroy()
  return String(chunk).split('\r\n', 1)[0] as string
}

t.test('0 of 14 hostile origins are accepted', async (t) => {
  const { url, wsUrl } = await start(t)
  const { host, port } = new URL(url)
  const hostile = [
    'https://evil.example', 'null', `http://${host}.evil.example`, `http://evil${host}`, `https://${host}`, 'http://127.0.0.1:1',
    `http://user@${host}`, `http://127.0.0.1.:${port}`, `HTTP://${host}`, `http://xn--127-0.0.1:${port}`, `http://${host}/`, `http://${host}, http://evil.example`, `ws://${host}`
  ]
  let accepted = 0
  for (const origin of hostile) {
    const { status, body } = await refusal(wsUrl, { headers: { origin } })
    if (status === 101) accepted++
    t.equal(status, 403, origin)
    t.match(JSON.parse(body), { code: 'FANFARE_ORIGIN_REFUSED', message: /ALLOWED_ORIGINS/ })
  }
  for (const origins of ['Origin:\r\n', `Origin: http://${host}\r\nOrigin: http://evil.example\r\n`]) {
    t.equal(await answerTo(url, `GET /ws HTTP/1.1\r\nHost: ${host}\r\n${origins}${UPGRADE}\r\n`), 'HTTP/1.1 403 Forbidden')
  }
  t.comment(`${accepted} of ${hostile.length + 2} accepted`)
  await connect(t, wsUrl, { headers: { origin: `http://${host}` } })
  await connect(t, wsUrl)
})

t.test('behind a trusted proxy the own origin is the one that the browser sees', async (t) => {
  const { wsUrl } = await start(t, {}, { trustProxy: ['127.0.0.1'] })
  const headers = { origin: 'https://chat.example', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'chat.example' }
  await connect(t, wsUrl, { headers })
  t.match(await refusal(wsUrl, { headers: { ...headers, 'x-forwarded-proto': 'http' } }), { status: 403 })
  const untrusting = await start(t)
  t.match(await refusal(untrusting.wsUrl, { headers }), { status: 403 })
})

t.test('ALLOWED_ORIGINS takes exact origins and globs, and nothing that only looks alike', async (t) => {
  const allowed = originChecker(['https://example.com', 'https://*.Example.org', 'capacitor://localhost', 'http://localhost:*'])
  for (const origin of ['https://example.com', 'https://a.example.org', 'https://a.b.example.org', 'capacitor://localhost', 'http://localhost:5173']) {
    t.ok(allowed(origin, undefined), origin)
  }
  for (const origin of [
    'https://example.com.evil.com', 'https://evilexample.com', 'http://example.com', 'https://example.com:8443', 'https://user@example.com', 'https://example.com.',
    'HTTPS://EXAMPLE.COM', 'https://evil.com/.example.org', 'https://evil.com#.example.org', 'https://evil.com?.example.org', 'https://evil.com\\.example.org', 'https://x@evil.com:.example.org', 'https://example.org',
    'https://a.example.org.', 'null', '', 'https://', '*', 'https://a.example.org, https://evil.com', 'http://localhost:1@evil.com'
  ]) t.notOk(allowed(origin, 'https://own.example'), origin)
})

t.test('ALLOWED_ORIGINS=* lets all in', async (t) => {
  const { wsUrl } = await start(t, { allowedOrigins: ['*'] })
  await connect(t, wsUrl, { headers: { origin: 'https://anything.example' } })
})

t.test('an upgrade is answered with 101 at /ws only, by GET and HTTP/1.1 only', async (t) => {
  const app = await build(t)
  const urls: string[] = []
  app.addHook('onRoute', ({ url }) => { urls.push(url) })
  app.get('/of/the/host', async () => 'served')
  const { url } = await listen(app)
  const { host } = new URL(url)
  let switched = 0
  for (const path of ['/', '/index.html', '/hello', '/health/live', '/health/ready', '/vendor/uplot/uPlot.min.css', '/of/the/host', '/unknown', '/ws/', '//ws', ...urls]) {
    const answer = await answerTo(url, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${UPGRADE}\r\n`)
    if (answer.includes(' 101 ')) switched++
    t.match(answer, /^HTTP\/1.1 404 /, path)
  }
  for (const request of ['POST /ws HTTP/1.1', 'PUT /ws HTTP/1.1', 'HEAD /ws HTTP/1.1', 'GET /ws HTTP/1.0']) {
    const answer = await answerTo(url, `${request}\r\nHost: ${host}\r\n${UPGRADE}\r\n`)
    if (answer.includes(' 101 ')) switched++
    t.match(answer, /^HTTP\/1.1 4\d\d /, `${request}: ${answer}`)
  }
  t.equal(switched, 0)
  t.equal(await answerTo(url, `GET /ws HTTP/1.1\r\nHost: ${host}\r\n${UPGRADE}\r\n`), 'HTTP/1.1 101 Switching Protocols')
  t.equal((await fetch(`${url}/ws`)).status, 404, 'and a plain request there gets 404')
})

t.test('a refused upgrade leaves no socket behind', async (t) => {
  const { app, wsUrl } = await start(t)
  for (let number = 0; number < 20; number++) await refusal(wsUrl, { headers: { origin: 'https://evil.example' } })
  const open = await new Promise<number>((resolve, reject) => app.server.getConnections((error, count) => error ? reject(error) : resolve(count)))
  t.ok(open <= 1, `${open} sockets open`)
})

t.test('an upgrade that is refused says that its connection ends: it said keep-alive, and was cut', async (t) => {
  const { url } = await startSecure(t)
  for (const [what, status] of Object.entries({ '/ws': 401, '/hello': 404, '/ws?token=none': 401 })) {
    t.match(await rawAnswer(url, `GET ${what} HTTP/1.1\r\nHost: a\r\n${UPGRADE}\r\n`), new RegExp(`^HTTP/1.1 ${status} [^]*\r\nconnection: close\r\n`, 'i'), what)
  }
})
