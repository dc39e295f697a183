import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { FaultProxy } from '../fault-proxy.ts'
import { connect, until } from '../helper.ts'
import { greet } from '../protocols/centrifuge/client.ts'
import { startRedis } from '../redis.ts'
import { SECRET, secondsFromNow, tokenOf } from '../tokens.ts'
import { startNode } from './nodes.ts'

const CLIENTS = 100
const STALL_MS = 2000
const NO_PONG = 3012
// More megabytes than the sockets take.
const MUCH = 60
const DELAY_MS = 100
// Who was closed within this time after its last answer had not answered one before, as our own process was late.
const LATE_MS = 500

const ROUTE = `export default async function (app) {
  app.get('/stall', ({ query: { ms } }, reply) => {
    reply.hijack()
    reply.raw.write('it begins')
    // Written at the end of this turn.
    setImmediate(() => {
      const end = performance.now() + Number(ms)
      while (performance.now() < end);
      reply.raw.end()
    })
  })
}`

/** Blocks the loop of a server: resolves when that has begun, with its end. */
async function stall (url: string, ms: number): Promise<{ over: Promise<unknown> }> {
  const response = await fetch(`${url}/stall?ms=${ms}`)
  return { over: response.text() }
}

interface Answering { readonly ws: WebSocket, pings: number, pingedAt: number, closed: { code: number, msAfterPing: number } | undefined }

/** A client that answers every ping, and knows when. */
async function answering (t: Test, wsUrl: string): Promise<Answering> {
  const ws = new WebSocket(wsUrl)
  t.teardown(() => ws.terminate())
  const client: Answering = { ws, pings: 0, pingedAt: -Infinity, closed: undefined }
  ws.on('ping', () => {
    client.pings++
    client.pingedAt = performance.now()
  })
  ws.on('close', (code) => { client.closed = { code, msAfterPing: performance.now() - client.pingedAt } })
  await once(ws, 'open')
  return client
}

t.test('the event loop blocked for 2 s, with pings every second and 1 s to answer: 0 false "no pong" closings', { timeout: 200_000 }, async (t) => {
  const { url, wsUrl } = await startNode(t, { ROUTES_DIR: t.testdir({ 'stall.js': ROUTE }), PING_INTERVAL: '1', PONG_TIMEOUT: '1' })
  // They are pinged at all phases of the interval.
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => answering(t, wsUrl)))
  await until(() => clients.every(({ pings }) => pings > 0))
  const before = clients.map(({ pings }) => pings)
  await (await stall(url, STALL_MS)).over
  const silent = new WebSocket(wsUrl, { autoPong: false })
  const silentClosed = once(silent, 'close') as Promise<[number]>
  // Until those have been checked who were pinged before the stall, and who were pinged right after it.
  await until(() => clients.every(({ pings, closed }, index) => pings >= (before[index] as number) + 2 || closed !== undefined))
  const closed = clients.flatMap(({ closed }) => closed ?? [])
  const falsely = closed.filter(({ code, msAfterPing }) => code === NO_PONG && msAfterPing > LATE_MS)
  t.comment(`a stall of ${STALL_MS / 1000} s: ${falsely.length} of ${CLIENTS} closed falsely, ${closed.length} at all`)
  t.equal(falsely.length, 0)
  t.equal((await silentClosed)[0], NO_PONG, 'who really does not answer is closed')
})

t.test('the event loop blocked while a token ends, and another one has come: that was read too late', async (t) => {
  const { url, wsUrl } = await startNode(t, { ROUTES_DIR: t.testdir({ 'stall.js': ROUTE }), TOKEN_HMAC_SECRET: SECRET })
  const exp = secondsFromNow(5)
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada', exp }) })
  const token = await tokenOf({ sub: 'ada' })
  await until(() => Date.now() > (exp - 1) * 1000)
  const { over } = await stall(url, STALL_MS)
  const { refresh } = await client.ask({ refresh: { token } })
  await over
  t.match(refresh, { expires: true })
})

t.test('the event loop blocked while a client takes more at once than may wait for it: it was closed as too slow, and is not', async (t) => {
  const much = `export default async function (app) {
    app.get('/much', () => Promise.all(Array.from({ length: ${MUCH} }, () => app.connections.publish('broadcast', 'x'.repeat(1_000_000)))))
  }`
  const { url, wsUrl } = await startNode(t, { ROUTES_DIR: t.testdir({ 'stall.js': ROUTE, 'much.js': much }), MAX_BUFFERED_BYTES: '1000000' })
  const client = await connect(t, wsUrl)
  client.ws.pause()
  await fetch(`${url}/much`)
  const { over } = await stall(url, STALL_MS)
  client.ws.resume()
  await client.hears(MUCH)
  await over
  client.ws.send('it stays')
  t.equal((await client.hears(MUCH + 1)).at(-1), 'it stays')
})

t.test('the event loop blocked while Redis answers: what it had published was called unavailable', async (t) => {
  const publish = `import { setImmediate, setTimeout } from 'node:timers/promises'
  export default async function (app) {
    app.get('/publish', async () => {
      const published = app.connections.publish('x', 'data')
      // Until it is on its way: the answer takes longer.
      await setTimeout(${DELAY_MS / 2})
      // Timers come next after immediates, and sockets after timers.
      await setImmediate()
      for (const end = performance.now() + ${STALL_MS}; performance.now() < end;);
      return published
    })
  }`
  const proxy = await new FaultProxy((await startRedis(t)).port).start(t)
  const { url } = await startNode(t, { ROUTES_DIR: t.testdir({ 'publish.js': publish }), REDIS_URL: `redis://127.0.0.1:${proxy.port}` })
  proxy.delayMs = DELAY_MS
  t.match(await (await fetch(`${url}/publish`)).json(), { offset: 1 })
})
