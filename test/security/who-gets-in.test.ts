import fastify from 'fastify'
import t from 'tap'
import fanfare from '../../src/app.ts'
import { connect, listen, refusal } from '../helper.ts'
import { listenTo } from '../sse-client.ts'
import { answerOf, as, SECRET, startSecure, tokenOf } from '../tokens.ts'
import { rawStatus, UPGRADE } from './raw.ts'

// RELIABILITY.md, "Who gets in". What needs no token is in test/plugins/upgrade-guard.test.ts.

t.test('14 hostile Origins with a right token: 0 accepted, each 403 before any 101', async (t) => {
  const { url, wsUrl } = await startSecure(t)
  const { host, port } = new URL(url)
  const token = await tokenOf({ sub: 'ada' })
  const cookie = `fanfare_token=${token}`
  const hostile: Record<string, string> = {
    'another host': 'https://evil.example',
    null: 'null',
    'ours with a suffix': `http://${host}.evil.example`,
    'ours with a prefix': `http://evil${host}`,
    'another scheme': `https://${host}`,
    'another port': 'http://127.0.0.1:1',
    userinfo: `http://user@${host}`,
    'a trailing dot': `http://127.0.0.1.:${port}`,
    'upper case': `HTTP://${host}`,
    punycode: `http://xn--127-0.0.1:${port}`,
    'a path': `http://${host}/`
  }
  const raw = { empty: 'Origin:\r\n', 'two headers': `Origin: http://${host}\r\nOrigin: http://evil.example\r\n` }
  const statuses: number[] = []
  for (const [kind, origin] of Object.entries(hostile)) {
    const { status, body } = await refusal(wsUrl, { headers: { origin, cookie } })
    statuses.push(status)
    t.match({ status, code: (JSON.parse(body || '{}') as { code?: string }).code }, { status: 403, code: 'FANFARE_ORIGIN_REFUSED' }, kind)
    t.equal((await answerOf(`${url}/sse`, { origin, cookie })).status, 403, `${kind}, to /sse`)
  }
  for (const [kind, lines] of Object.entries(raw)) {
    const status = await rawStatus(url, `GET /ws HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\n${lines}${UPGRADE}\r\n`)
    statuses.push(status)
    t.equal(status, 403, kind)
  }
  const without = await refusal(wsUrl, { headers: { cookie } })
  statuses.push(without.status)
  t.match(without, { status: 403, body: /FANFARE_COOKIE_WITHOUT_ORIGIN/ }, 'none, with a cookie')
  const refused = statuses.filter((status) => status === 403).length
  t.comment(`${statuses.length} hostile Origins: ${statuses.filter((status) => status === 101).length} accepted, ${refused} times 403`)
  t.equal(refused, 14)
  await connect(t, wsUrl, { headers: { origin: `http://${host}`, cookie } })
  await listenTo(t, `${url}/sse`, { headers: { origin: `http://${host}`, cookie } })
})

t.test('an upgrade with a right token to every route, unknown paths, by other methods and HTTP/1.0: 0 answered with 101', async (t) => {
  const app = fastify({ pluginTimeout: 60_000 })
  t.teardown(() => app.close())
  const paths = new Set<string>(['/unknown', '/api/info', '/ws/', '//ws', '/WS', '/ws/../ws', '/%77s/', '/ws%00', '/sse/', '*'])
  app.addHook('onRoute', ({ url }) => { if (!['/ws', '/connection/websocket'].includes(url)) paths.add(url) })
  await app.register(fanfare, { drainTimeout: 2, tokenHmacSecret: SECRET, apiKey: 'key' })
  app.get('/of/the/host', async () => 'served')
  for (const path of ['/connection/sse', '/connection/http_stream', '/emulation', '/api', '/main.js', '/hello']) t.ok(paths.has(path), path)
  const { url } = await listen(app)
  const { authorization } = (await as('ada')).headers
  const headers = `Host: ${new URL(url).host}\r\nAuthorization: ${authorization}\r\n${UPGRADE}\r\n`
  const lines = [
    ...Array.from(paths, (path) => `GET ${path} HTTP/1.1`),
    ...['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'TRACE', 'CONNECT'].map((method) => `${method} /ws HTTP/1.1`),
    'GET /ws HTTP/1.0', 'GET /ws HTTP/2.0', 'GET /ws HTTP/0.9', 'GET /ws'
  ]
  let switched = 0
  for (const line of lines) {
    const status = await rawStatus(url, `${line}\r\n${headers}`)
    if (status === 101) switched++
    t.ok(status === 0 || (status >= 400 && status < 500), `${line}: ${status}`)
  }
  t.comment(`${lines.length} upgrades that are none of /ws: ${switched} answered with 101`)
  t.equal(switched, 0)
  t.equal(await rawStatus(url, `GET /ws HTTP/1.1\r\n${headers}`), 101)
})

t.test('X-Forwarded-* of an untrusted peer never changes the address that counts', async (t) => {
  const addresses: string[] = []
  const { app, url, wsUrl } = await startSecure(t, { maxConnectionsPerIp: 1, allowAnonymous: true, channels: [{ match: '*', allow: { subscribe: 'everyone' } }] })
  app.connections.addHook('onConnect', ({ caller }) => { addresses.push(caller.address) })
  await connect(t, wsUrl)
  const claims: Record<string, string>[] = [
    { 'x-forwarded-for': '203.0.113.7' }, { 'x-forwarded-for': '203.0.113.7, 203.0.113.8' }, { 'x-forwarded-for': '127.0.0.2' }, { 'x-forwarded-for': '::1' }, { 'x-forwarded-for': 'nonsense' },
    { 'x-real-ip': '203.0.113.7' }, { forwarded: 'for=203.0.113.7' }, { 'x-client-ip': '203.0.113.7' }, { 'cf-connecting-ip': '203.0.113.7' }, { 'true-client-ip': '203.0.113.7' }
  ]
  let changed = 0
  for (const headers of claims) {
    for (const status of [(await refusal(wsUrl, { headers })).status, (await answerOf(`${url}/sse`, headers)).status]) {
      if (status !== 429) changed++
      t.equal(status, 429, JSON.stringify(headers))
    }
  }
  const { host } = new URL(url)
  for (const proto of ['', 'http']) {
    const { status } = await refusal(wsUrl, { headers: { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': proto, origin: 'http://evil.example' } })
    if (status !== 403) changed++
    t.equal(status, 403, 'nor what the own origin is')
  }
  t.equal((await refusal(wsUrl, { headers: { 'x-forwarded-proto': 'https', origin: `https://${host}` } })).status, 403)
  t.strictSame(addresses, ['127.0.0.1'])
  t.comment(`${claims.length + 3} kinds of forwarding headers from an untrusted peer: the address or origin changed ${changed} times`)
  t.equal(changed, 0)
})

t.test('X-Forwarded-For of a trusted proxy does change it, but not what the client added before', async (t) => {
  const { app, wsUrl } = await startSecure(t, { maxConnectionsPerIp: 1 }, { trustProxy: ['127.0.0.1'] })
  const addresses: string[] = []
  app.connections.addHook('onConnect', ({ caller }) => { addresses.push(caller.address) })
  const { headers } = await as('ada')
  await connect(t, wsUrl, { headers: { ...headers, 'x-forwarded-for': '198.51.100.1, 203.0.113.7' } })
  t.equal((await refusal(wsUrl, { headers: { ...headers, 'x-forwarded-for': '198.51.100.2, 203.0.113.7' } })).status, 429)
  t.strictSame(addresses, ['203.0.113.7'])
})
