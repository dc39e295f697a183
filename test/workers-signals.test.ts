import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { connect, refusal, stopwatch, until } from './helper.ts'
import { startCovered } from './process.ts'
import { connectByAddress, lives, startWorkers } from './workers.ts'

for (const [name, signal, group] of [
  ['SIGTERM', 'SIGTERM', false],
  ['SIGINT of a terminal, which gets to the workers too,', 'SIGINT', true],
  ['SIGTERM to the whole group', 'SIGTERM', true]
] as const) {
  t.test(`${name} drains all workers: every client gets 1012, the exit code is 0, nobody is left`, async (t) => {
    const server = await startWorkers(t, 2)
    const workers = server.workers()
    const clients = await connectByAddress(t, server, 8)
    const closes = Promise.all(clients.map(({ client }) => client.closed()))
    const started = performance.now()
    process.kill(group ? -server.primary : server.primary, signal)
    t.same(await closes, clients.map(() => ({ code: 1012, reason: 'server restarting' })))
    t.equal(await server.exit, 0)
    t.comment(`ended after ${((performance.now() - started) / 1000).toFixed(2)} s`)
    t.same(workers.filter(lives), [])
    t.equal(server.said(/: closing \d+ connections$/).length, 2, 'each worker drained once')
  })
}

t.test('SIGTERM with clients that do not answer: readiness is 503 within 100 ms, the exit within DRAIN_TIMEOUT and 2 s', async (t) => {
  const server = await startWorkers(t, 2, {}, undefined, startCovered)
  const clients = await connectByAddress(t, server, 4)
  for (const { client } of clients) client.ws.pause()
  const started = performance.now()
  const sinceSignal = stopwatch()
  process.kill(server.primary, 'SIGTERM')
  await until(async () => (await refusal(server.wsUrl)).status === 503)
  const unready = sinceSignal()
  const code = await server.exit
  const ended = performance.now() - started
  t.comment(`not ready after ${unready.toFixed(0)} ms, ended after ${(ended / 1000).toFixed(2)} s with code ${code}`)
  t.equal(code, 0)
  t.ok(unready < 100)
  t.ok(ended <= 4000)
})

t.test('a second signal ends all processes at once', async (t) => {
  const server = await startWorkers(t, 2, { DRAIN_TIMEOUT: '60' })
  const workers = server.workers()
  const clients = await connectByAddress(t, server, 4)
  for (const { client } of clients) client.ws.pause()
  process.kill(server.primary, 'SIGTERM')
  await server.says(/^SIGTERM: closing/, 2)
  process.kill(server.primary, 'SIGTERM')
  t.equal(await server.exit, 1)
  await until(() => !workers.some(lives))
})

t.test('a primary that is killed leaves no orphans: the workers drain their clients and end, and the port is free at once', async (t) => {
  const server = await startWorkers(t, 2)
  const workers = server.workers()
  const clients = await connectByAddress(t, server, 8)
  const closes = Promise.all(clients.map(({ client }) => client.closed()))
  process.kill(server.primary, 'SIGKILL')
  t.same((await closes).map(({ code }) => code), clients.map(() => 1012))
  const next = createServer().listen(Number(new URL(server.url).port), '127.0.0.1')
  await once(next, 'listening')
  next.close()
  await until(() => !workers.some(lives))
  const said = (): unknown[] => server.said(/^The primary process is gone: closing \d+ connections$/)
  await until(() => said().length >= 2)
  t.equal(said().length, 2)
})

t.test('a rolling restart is given up if Redis is away, and done if it is asked for again later, twice if asked for twice', async (t) => {
  const server = await startWorkers(t, 2, {}, undefined, startCovered)
  const before = server.workers()
  const client = await connect(t, server.wsUrl)
  await server.redis.kill()
  process.kill(server.primary, 'SIGHUP')
  await server.says(/ended before it listened \(code 1\): the other workers stay as they are$/)
  t.match(server.output(), /^The broker cannot be reached: Redis is away/m)
  t.same(server.workers(), before)
  t.equal(client.ws.readyState, client.ws.OPEN)
  await server.redis.restart()
  process.kill(server.primary, 'SIGHUP')
  await server.says(/takes over from/)
  process.kill(server.primary, 'SIGHUP')
  await server.says(/^All workers are replaced/, 2)
  t.equal(server.said(/takes over from/).length, 4)
  t.equal(server.workers().length, 2)
  t.same(server.workers().filter((pid) => before.includes(pid)), [])
})
