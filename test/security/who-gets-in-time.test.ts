import t from 'tap'
import { connect, refusal, start, until, type Client, type Running } from '../helper.ts'
import { startRedis } from '../redis.ts'
import { apiOf, KEY } from '../routes/api-client.ts'
import { listenTo } from '../sse-client.ts'
import { as, SECRET, secondsFromNow, startSecure, tokenOf } from '../tokens.ts'

t.jobs = 3

t.test('a token that expires on a live connection: 3005, and no publication later than expiry + 1 s; a refresh keeps it', async (t) => {
  const { app, url, wsUrl } = await startSecure(t, { apiKey: KEY })
  const exp = secondsFromNow(4)
  const [expiring, refreshed, lasting] = await Promise.all([
    connect(t, wsUrl, await as('ada', { exp })),
    connect(t, wsUrl, await as('grace', { exp })),
    connect(t, wsUrl, await as('bob'))
  ])
  const stream = await listenTo(t, `${url}/sse?token=${await tokenOf({ sub: 'ada', exp })}`)
  let lastHeard = 0
  expiring.ws.on('message', () => { lastHeard = Date.now() })
  const closed = expiring.closed().then((close) => ({ ...close, at: Date.now() }))
  const ended = stream.ended.then(() => Date.now())
  t.strictSame(await apiOf(url)('refresh', { user: 'grace', expire_at: secondsFromNow(3600) }), {})
  let published = 0
  while (Date.now() < exp * 1000 + 1200) await lasting.hears((await app.connections.publish('broadcast', `message ${published++}`)).offset)
  const close = await closed
  t.match(close, { code: 3005, reason: 'connection expired' })
  t.strictSame(stream.reports.at(-1), ['close', { code: 3005, reason: 'connection expired', reconnect: true }])
  const late = [close.at, await ended].map((at) => at - exp * 1000)
  t.comment(`${published} publications: the last one heard ${lastHeard - exp * 1000} ms after expiry, closed ${late[0]} ms (WebSocket) and ${late[1]} ms (SSE) after it`)
  t.ok(expiring.heard.length > 0)
  t.ok(lastHeard <= exp * 1000 + 1000)
  for (const ms of late) t.ok(ms >= -5 && ms <= 1000, `${ms} ms`)
  await refreshed.hears(published)
  t.equal(refreshed.ws.readyState, refreshed.ws.OPEN)
  t.equal(app.connections.count, 2)
})

t.test('a refresh can move the end nearer, and end a connection at once', async (t) => {
  const { url, wsUrl } = await startSecure(t, { apiKey: KEY })
  const api = apiOf(url)
  const [near, now] = await Promise.all([connect(t, wsUrl, await as('ada')), connect(t, wsUrl, await as('bob'))])
  const closed = Promise.all([near.closed(), now.closed()])
  await api('refresh', { user: 'ada', expire_at: secondsFromNow(1) })
  await api('refresh', { user: 'bob', expired: true })
  t.strictSame((await closed).map(({ code }) => code), [3005, 3005])
})

t.test('a refresh without an end takes the end away', async (t) => {
  const { app, url, wsUrl } = await startSecure(t, { apiKey: KEY })
  const exp = secondsFromNow(4)
  const [forever, expiring] = await Promise.all([connect(t, wsUrl, await as('ada', { exp })), connect(t, wsUrl, await as('bob', { exp }))])
  const closed = expiring.closed()
  await apiOf(url)('refresh', { user: 'ada' })
  t.equal((await closed).code, 3005)
  await app.connections.publish('broadcast', 'still here')
  t.strictSame(await forever.hears(1), ['still here'])
})

t.test('a token whose end has passed within the leeway of 5 s is let in until that is over; it was ended at once, and came back', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const client = await connect(t, wsUrl, await as('ada', { exp: secondsFromNow(-1) }))
  const closed = client.closed()
  await app.connections.publish('broadcast', 'still here')
  t.strictSame(await client.hears(1), ['still here'])
  t.equal((await closed).code, 3005)
  t.match(await refusal(wsUrl, await as('ada', { exp: secondsFromNow(-6) })), { status: 401, body: /FANFARE_TOKEN_EXPIRED/ })
})

t.test('a connection that is closed before its token ends leaves nothing to expire', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const codes: number[] = []
  app.connections.addHook('onDisconnect', ({ code }) => { codes.push(code) })
  const exp = secondsFromNow(4)
  const [leaving, staying] = await Promise.all([connect(t, wsUrl, await as('ada', { exp })), connect(t, wsUrl, await as('bob', { exp }))])
  leaving.ws.close(1000)
  t.equal((await staying.closed()).code, 3005)
  t.strictSame(codes, [1000, 3005])
})

t.test('a user is disconnected on two nodes that share a Redis: all its connections closed within 1 s, and nobody else', async (t) => {
  const { url: redisUrl } = await startRedis(t)
  const options = { redisUrl, apiKey: KEY, tokenHmacSecret: SECRET }
  const nodes = await Promise.all([start(t, options), start(t, options)]) as [Running, Running]
  await until(() => nodes.every(({ app }) => app.connections.nodes().length === 2))
  const connectAll = async (user: string, count: number): Promise<Client[]> => Promise.all(nodes.flatMap(({ wsUrl }) => Array.from({ length: count }, async () => connect(t, wsUrl, await as(user)))))
  const ada = await connectAll('ada', 20)
  const streams = await Promise.all(nodes.map(async ({ url }) => listenTo(t, `${url}/sse?token=${await tokenOf({ sub: 'ada' })}`)))
  const bob = await connectAll('bob', 5)
  for (const [index, close] of [() => apiOf(nodes[0].url)('disconnect', { user: 'ada' }), () => nodes[1].app.connections.disconnect({ user: 'bob' })].entries()) {
    const meant = index === 0 ? ada : bob
    const closed = Promise.all([...meant.map((client) => client.closed()), ...index === 0 ? streams.map((stream) => stream.ended.then(() => ({ code: 3503 }))) : []])
    const started = performance.now()
    await close()
    const closes = await closed
    const ms = Math.round(performance.now() - started)
    t.comment(`${closes.length} connections of a user on 2 nodes closed within ${ms} ms`)
    t.ok(ms <= 1000, `${ms} ms`)
    t.ok(closes.every(({ code }) => code === 3503))
    if (index === 0) t.ok(bob.every(({ ws }) => ws.readyState === ws.OPEN), 'nobody else')
  }
  t.strictSame(nodes.map(({ app }) => app.connections.count), [0, 0])
})
