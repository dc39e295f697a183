import t, { type Test } from 'tap'
import { connect, connectMany, start, startReady, until, type Running } from './helper.ts'
import { FaultProxy } from './fault-proxy.ts'
import { startRedis } from './redis.ts'
import { as, startSecure } from './tokens.ts'

async function twoNodes (t: Test): Promise<[Running, Running]> {
  const { url } = await startRedis(t)
  const nodes = await Promise.all([start(t, { redisUrl: url }), start(t, { redisUrl: url })]) as [Running, Running]
  await until(() => nodes.every(({ app }) => app.connections.nodes().length === 2))
  return nodes
}

t.jobs = 3

t.test('channels, presence and their counts are those of all nodes', async (t) => {
  const [one, two] = await twoNodes(t)
  await connectMany(t, `${one.wsUrl}?channel=red`, 3)
  const [leaving] = await connectMany(t, `${two.wsUrl}?channel=red`, 2)
  await connect(t, `${two.wsUrl}?channel=blue`)
  for (const { app } of [one, two]) {
    await until(async () => (await app.connections.presenceStats('red')).clients === 5)
    t.same(Object.fromEntries(await app.connections.channels()), { red: 5, blue: 1 })
    t.same(Object.fromEntries(await app.connections.channels('b*')), { blue: 1 })
    t.same(await app.connections.presenceStats('red'), { clients: 5, users: 1 })
    t.equal(new Set((await app.connections.presence('red')).map(({ client }) => client)).size, 5)
  }
  leaving?.ws.terminate()
  await until(async () => (await one.app.connections.presenceStats('red')).clients === 4)
  t.equal((await one.app.connections.channels('red')).get('red'), 4)
})

t.test('disconnect closes those who are meant on all nodes within a second, and nobody else', async (t) => {
  const [one, two] = await twoNodes(t)
  const meant = [await connect(t, `${one.wsUrl}?channel=red`), ...await connectMany(t, `${two.wsUrl}?channel=red`, 2)]
  const spared = await connect(t, `${two.wsUrl}?channel=blue`)
  const closed = Promise.all(meant.map((client) => client.closed()))
  const started = performance.now()
  t.equal(await one.app.connections.disconnect({ channel: 'red' }, { code: 4001, reason: 'out' }), 3)
  t.same(await closed, Array(3).fill({ code: 4001, reason: 'out' }))
  const ms = Math.round(performance.now() - started)
  t.ok(ms <= 1000, `all closed after ${ms} ms`)
  t.equal(spared.ws.readyState, spared.ws.OPEN)
  t.equal(two.app.connections.count, 1)
})

t.test('nodes know each other, and who has gone', async (t) => {
  const [one, two] = await twoNodes(t)
  await connect(t, `${two.wsUrl}?channel=red&channel=blue`)
  const [self] = one.app.connections.nodes()
  t.match(self, { num_clients: 0, version: /^\d/ })
  await until(() => one.app.connections.nodes().some(({ num_clients: clients, num_channels: channels, num_subs: subscriptions }) => clients === 1 && channels === 2 && subscriptions === 2))
  await two.app.close()
  await until(() => one.app.connections.nodes().length === 1)
  t.same(Object.fromEntries(await one.app.connections.channels()), {})
})

t.test('without Redis other nodes cannot be asked, and that is said', async (t) => {
  const redis = await startRedis(t)
  const { app, wsUrl } = await startReady(t, { redisUrl: redis.url })
  const client = await connect(t, wsUrl)
  const closed = client.closed()
  await redis.kill()
  await until(() => app.connections.trouble !== undefined)
  await t.rejects(app.connections.channels(), { code: 'FANFARE_UNAVAILABLE', statusCode: 503 })
  await t.rejects(app.connections.presence('broadcast'), { code: 'FANFARE_UNAVAILABLE' })
  await t.rejects(app.connections.disconnect({ channel: 'broadcast' }), { code: 'FANFARE_UNAVAILABLE' })
  t.equal((await closed).code, 3503, 'those of this node are closed all the same')
})

t.test('a node that does not hear that somebody is to be disconnected: that was called success', async (t) => {
  const { port } = await startRedis(t)
  const proxy = await new FaultProxy(port).start(t)
  const one = await start(t, { redisUrl: `redis://127.0.0.1:${port}` })
  const two = await start(t, { redisUrl: `redis://127.0.0.1:${proxy.port}` })
  await until(() => [one, two].every(({ app }) => app.connections.nodes().length === 2))
  const client = await connect(t, `${two.wsUrl}?channel=red`)
  proxy.swallowing = true
  await t.rejects(one.app.connections.disconnect({ channel: 'red' }), { code: 'FANFARE_UNAVAILABLE', message: /not every node has answered/ })
  t.equal(client.ws.readyState, client.ws.OPEN)
  proxy.swallowing = false
})

t.test('Redis is back after 11 s, for one node sooner than for the other: to disconnect whom that has was called success', async (t) => {
  const { port } = await startRedis(t)
  const proxies = await Promise.all([0, 1].map(() => new FaultProxy(port).start(t)))
  const [one, two] = await Promise.all(proxies.map(async (proxy) => start(t, { redisUrl: `redis://127.0.0.1:${proxy.port}` }))) as [Running, Running]
  await until(() => [one, two].every(({ app }) => app.connections.nodes().length === 2))
  const client = await connect(t, `${two.wsUrl}?channel=red`)
  const closed = client.closed()
  for (const proxy of proxies) proxy.swallowing = true
  const from = performance.now()
  await until(() => performance.now() - from > 11_000 && one.app.connections.trouble !== undefined)
  for (const [index, proxy] of proxies.entries()) {
    proxy.swallowing = false
    await until(() => [one, two][index]?.app.connections.trouble === undefined)
    const told = one.app.connections.disconnect({ channel: 'red' })
    if (index === 0) await t.rejects(told, { code: 'FANFARE_UNAVAILABLE', message: /not every node has answered/ })
    else t.equal(await told, 1)
  }
  t.equal((await closed).code, 3503)
})

t.test('a node that was cut off for longer than it counts as living disconnects, when it is back, whom others have: they stayed for ever', async (t) => {
  const { port, url } = await startRedis(t)
  const proxy = await new FaultProxy(port).start(t)
  const [one, two] = await Promise.all([startSecure(t, { redisUrl: url }), startSecure(t, { redisUrl: `redis://127.0.0.1:${proxy.port}` })])
  await until(() => [one, two].every(({ app }) => app.connections.nodes().length === 2))
  const [ada, bob] = [await connect(t, two.wsUrl, await as('ada')), await connect(t, two.wsUrl, await as('bob'))]
  const closed = ada.closed()
  proxy.swallowing = true
  await until(() => one.app.connections.nodes().length === 1)
  t.equal(await one.app.connections.disconnect({ user: 'ada' }, { code: 4001, reason: 'logged out' }), 0)
  proxy.swallowing = false
  t.same(await closed, { code: 4001, reason: 'logged out' })
  const again = await connect(t, two.wsUrl, await as('ada'))
  await one.app.connections.publish('broadcast', 'still here')
  t.same([await bob.hears(1), await again.hears(1)], [['still here'], ['still here']], 'others, and who comes back, stay')
})

t.test('who is put into a channel hears what is published right after that, with Redis: it was lost to plain clients', async (t) => {
  const [one, two] = await twoNodes(t)
  const client = await connect(t, `${two.wsUrl}?channel=own`)
  for (let round = 0; round < 10; round++) {
    t.equal(await one.app.connections.addTo(`orders:${round}`, { channel: 'own' }), 1)
    await one.app.connections.publish(`orders:${round}`, `first of ${round}`)
  }
  t.same((await client.hears(10)).toSorted(), Array.from({ length: 10 }, (_, round) => `first of ${round}`))
})
