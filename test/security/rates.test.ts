import { once } from 'node:events'
import { get, type ClientRequest, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import rateLimit from '@fastify/rate-limit'
import fastify from 'fastify'
import t from 'tap'
import fanfare from '../../src/app.ts'
import { connect, listen, start, until, type Client } from '../helper.ts'
import { answerOf, as, startSecure } from '../tokens.ts'

/** What a server answers to an upgrade, with its headers; 101 if it is accepted. */
async function attempt (url: string, headers: Record<string, string> = {}, localAddress = '127.0.0.1'): Promise<{ status: number, headers: IncomingMessage['headers'], body: string }> {
  const request: ClientRequest = get(url.replace('ws:', 'http:'), {
    localAddress,
    agent: false,
    headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'MDEyMzQ1Njc4OWFiY2RlZg==', ...headers }
  })
  const upgraded = once(request, 'upgrade').then((values) => {
    const [response, socket] = values as [IncomingMessage, Socket]
    socket.destroy()
    return { status: 101, headers: response.headers, body: '' }
  })
  const answered = once(request, 'response').then(async (values) => {
    const [response] = values as [IncomingMessage]
    let body = ''
    for await (const chunk of response) body += String(chunk)
    return { status: response.statusCode ?? 0, headers: response.headers, body }
  })
  return Promise.race([upgraded, answered])
}

t.test('CONNECT_RATE: attempts above it get 429 and retry-after, each address counts for itself, other requests do not count', async (t) => {
  const { url, wsUrl } = await startSecure(t, { connectRate: 5 })
  const { headers } = await as('ada')
  for (let number = 0; number < 10; number++) t.equal((await fetch(`${url}/health/live`)).status, 200)
  const statuses: number[] = []
  // Good and bad ones, over WebSocket and SSE: all of them cost.
  statuses.push((await attempt(wsUrl, headers)).status, (await attempt(wsUrl)).status, (await answerOf(`${url}/sse`, headers)).status, (await attempt(wsUrl.replace('/ws', '/nowhere'))).status, (await attempt(wsUrl, { ...headers, origin: 'https://evil.example' })).status)
  t.strictSame(statuses, [101, 401, 200, 404, 403])
  let refused = 0
  for (let number = 0; number < 10; number++) {
    const { status, headers: answer, body } = await attempt(wsUrl, { ...headers, 'x-forwarded-for': `203.0.113.${number}` })
    if (status === 429) refused++
    t.match({ status, body: JSON.parse(body) }, { status: 429, body: { code: 'FANFARE_TOO_MANY_ATTEMPTS', message: /CONNECT_RATE/ } })
    const seconds = Number(answer['retry-after'])
    t.ok(Number.isInteger(seconds) && seconds > 0 && seconds <= 60, `retry-after: ${answer['retry-after']}`)
  }
  const stream = await fetch(`${url}/sse`, { headers })
  t.equal(stream.status, 429, 'SSE too')
  t.ok(Number(stream.headers.get('retry-after')) > 0)
  t.equal((await attempt(wsUrl, headers, '127.0.0.2')).status, 101, 'another address')
  t.equal((await fetch(`${url}/health/live`)).status, 200)
  t.equal((await answerOf(`${url}/presence`, headers)).status, 200)
  t.comment(`CONNECT_RATE 5: ${statuses.length} attempts let through, ${refused} of 10 more refused with 429`)
})

t.test('in an app that limits its own requests with @fastify/rate-limit CONNECT_RATE was the limit of the app', async (t) => {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(rateLimit, { global: false, max: 1, timeWindow: 1000 })
  await app.register(fanfare, { connectRate: 3 })
  const { wsUrl } = await listen(app)
  const statuses: number[] = []
  for (let number = 0; number < 5; number++) statuses.push((await attempt(wsUrl)).status)
  t.strictSame(statuses, [101, 101, 101, 429, 429])
})

t.test('USER_MESSAGE_RATE: all connections of a user share it, nothing is dropped, and other users do not wait', async (t) => {
  const { wsUrl } = await startSecure(t, { userMessageRate: 50 })
  const [one, two, bob, listener] = await Promise.all(['ada', 'ada', 'bob', 'eve'].map(async (user) => connect(t, wsUrl, await as(user)))) as [Client, Client, Client, Client]
  const started = performance.now()
  for (let number = 0; number < 60; number++) for (const [name, { ws }] of [['one', one], ['two', two]] as const) ws.send(`${name} ${number}`)
  await listener.hears(50)
  bob.ws.send('bob')
  await until(() => listener.texts.includes('bob'))
  const waited = listener.texts.indexOf('bob')
  t.ok(waited < 80, `bob was heard as number ${waited}`)
  await listener.hears(121)
  const seconds = (performance.now() - started) / 1000
  t.ok(seconds > 1.2, `70 messages above the rate of 50/s took ${seconds.toFixed(2)} s`)
  for (const name of ['one', 'two']) t.strictSame(listener.texts.filter((text) => text.startsWith(name)), Array.from({ length: 60 }, (_, number) => `${name} ${number}`))
  t.comment(`USER_MESSAGE_RATE 50: 120 messages of a user on 2 connections took ${seconds.toFixed(2)} s, 0 lost; another user waited for ${waited - 50}`)
})

t.test('who was disconnected went on publishing what waited for its rate', async (t) => {
  const { app, wsUrl } = await startSecure(t, { userMessageRate: 20, channels: [{ match: '*', allow: { publish: 'everyone' } }] })
  const [sender, listener, other] = await Promise.all(['ada', 'eve', 'bob'].map(async (user) => connect(t, wsUrl, await as(user)))) as [Client, Client, Client]
  for (let number = 0; number < 60; number++) sender.ws.send('ada')
  await listener.hears(20)
  const closed = sender.closed()
  await app.connections.disconnect({ user: 'ada' })
  t.equal((await closed).code, 3503)
  const heardOf = (name: string): number => listener.texts.filter((text) => text === name).length
  const before = heardOf('ada')
  // At the same rate, so that this takes a second.
  for (let number = 0; number < 40; number++) other.ws.send('bob')
  await until(() => heardOf('bob') === 40)
  t.equal(heardOf('ada'), before)
})

t.test('USER_MESSAGE_RATE does not begin anew for who comes back at once while another connection stays', async (t) => {
  const { wsUrl } = await startSecure(t, { userMessageRate: 30 })
  const [staying, listener] = await Promise.all([connect(t, wsUrl, await as('ada')), connect(t, wsUrl, await as('eve'))])
  const started = performance.now()
  for (let number = 0; number < 30; number++) staying.ws.send('x')
  await listener.hears(30)
  const fresh = await connect(t, wsUrl, await as('ada'))
  for (let number = 0; number < 15; number++) fresh.ws.send('x')
  await listener.hears(45)
  const ms = performance.now() - started
  t.ok(ms > 300, `15 messages more took ${Math.round(ms)} ms`)
})

t.test('MAX_EVENT_LOOP_DELAY: while the loop is late new connections get 503, those there are go on, and later all is well', async (t) => {
  const { url, wsUrl } = await start(t, { maxEventLoopDelay: 50 })
  const client = await connect(t, wsUrl)
  // Late for longer than a second, which is how often the delay is looked at.
  for (const end = performance.now() + 2200; performance.now() < end;) {
    const block = performance.now() + 150
    while (performance.now() < block);
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { status, body } = await attempt(wsUrl)
  t.match({ status, body: JSON.parse(body || '{}') }, { status: 503, body: { code: 'FANFARE_OVERLOADED' } })
  t.match(await answerOf(`${url}/sse`), { status: 503, text: /FANFARE_OVERLOADED/ })
  t.equal((await fetch(`${url}/health/live`)).status, 200, 'it lives')
  client.ws.send('still here')
  t.strictSame(await client.hears(1), ['still here'])
  await until(async () => (await attempt(wsUrl)).status === 101)
  t.comment('MAX_EVENT_LOOP_DELAY 50 ms: 0 accepted while late, the one that was there went on, accepted again afterwards')
})

t.test('an upgrade that CONNECT_RATE refused left its socket open, and the server could not be closed', async (t) => {
  const { app, wsUrl } = await startSecure(t, { connectRate: 1 })
  const { headers } = await as('ada')
  for (let number = 0; number < 20; number++) await attempt(wsUrl, headers)
  const count = async (): Promise<number> => new Promise((resolve, reject) => app.server.getConnections((error, count) => error ? reject(error) : resolve(count)))
  await until(async () => await count() === 0)
  await app.close()
  t.equal(app.connections.count, 0)
})
