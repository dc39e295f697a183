import t, { type Test } from 'tap'
import { RedisBroker } from '../../src/brokers/redis.ts'
import { FaultProxy } from '../fault-proxy.ts'
import { until } from '../helper.ts'
import { startRedis, type RedisServer } from '../redis.ts'
import { Node } from './contract.ts'

const quiet = { info: () => {}, warn: () => {} }

async function nodeAt (t: Test, port: number): Promise<Node> {
  return new Node(new RedisBroker({ redisUrl: `redis://127.0.0.1:${port}`, redisPrefix: 'faults', redisShardedPubsub: 'auto' }, quiet)).start(t)
}

/** A node that is in channel `x`, behind a proxy, and one that has a way of its own. */
async function setUp (t: Test, args: string[] = []): Promise<{ redis: RedisServer, proxy: FaultProxy, node: Node, other: Node }> {
  const redis = await startRedis(t, args)
  const proxy = await new FaultProxy(redis.port).start(t)
  const [node, other] = [await nodeAt(t, proxy.port), await nodeAt(t, redis.port)]
  await node.broker.subscribe('x')
  return { redis, proxy, node, other }
}

const since = (started: number): number => Math.round(performance.now() - started)
const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_none, index) => `m${from + index}`)

/** Publishes; returns how long it took, in milliseconds, and the code with which it failed, if so. */
async function attempt (node: Node, text: string): Promise<{ ms: number, code?: string }> {
  const started = performance.now()
  try {
    await node.publish('x', text)
    return { ms: since(started) }
  } catch (error) {
    return { ms: since(started), code: (error as { code: string }).code }
  }
}

/** Tries until something can be published again; returns after how long. */
async function untilPublished (node: Node, text: string, started: number): Promise<number> {
  await until(async () => (await attempt(node, text)).code === undefined)
  return since(started)
}

t.test('Redis killed and started again empty: publishing fails at once, then goes on in a new epoch, and the loss is told', async (t) => {
  const { redis, node } = await setUp(t)
  const before = await node.publish('x', 'before')
  await until(() => node.texts('x').length === 1)
  await redis.kill()
  const { ms, code } = await attempt(node, 'lost')
  t.equal(code, 'FANFARE_UNAVAILABLE')
  t.ok(ms <= 1000, `failed after ${ms} ms`)
  await until(() => node.broker.trouble !== undefined)
  t.match(node.broker.trouble, /^Redis is away: /)
  await redis.restart()
  const back = await untilPublished(node, 'after', performance.now())
  t.ok(back <= 5000, `published again after ${back} ms`)
  await until(() => node.lost.length > 0)
  await node.publish('x', 'later')
  await until(() => node.texts('x').includes('later'))
  t.same(node.lost, ['x'])
  t.equal((await node.broker.history('x', { since: before, limit: 10 })).continuous, false)
  t.equal(node.broker.trouble, undefined)
})

t.test('Redis killed and started again with all its data: nothing is lost, and positions of before still hold', async (t) => {
  const { redis, node } = await setUp(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const before = await node.publish('x', 'before')
  await node.publish('x', 'meanwhile')
  await redis.kill()
  await redis.restart()
  await untilPublished(node, 'after', performance.now())
  await until(() => node.texts('x').length === 3)
  t.same(node.texts('x'), ['before', 'meanwhile', 'after'])
  t.same(node.lost, [])
  const { publications, continuous, position } = await node.broker.history('x', { since: before, limit: 10 })
  t.ok(continuous)
  t.not(position.epoch, before.epoch)
  t.same(publications.map(({ data }) => String(data)), ['meanwhile', 'after'])
})

t.test('Redis stopped: a publication that failed is not published later', async (t) => {
  const { redis, node } = await setUp(t)
  await node.publish('x', 'before')
  redis.signal('SIGSTOP')
  const stopped = performance.now()
  const attempts = await Promise.all(numbers(50).map((text) => attempt(node, text)))
  t.ok(attempts.every(({ ms, code }) => code === 'FANFARE_UNAVAILABLE' && ms <= 1000), `50 failed within ${Math.max(...attempts.map(({ ms }) => ms))} ms`)
  await until(() => node.broker.trouble !== undefined)
  t.ok(since(stopped) <= 10_000, `noticed after ${since(stopped)} ms`)
  redis.signal('SIGCONT')
  const back = await untilPublished(node, 'after', performance.now())
  t.ok(back <= 5000, `published again after ${back} ms`)
  await until(() => node.texts('x').includes('after'))
  t.same(node.texts('x'), ['before', 'after'])
  t.same(node.lost, [])
})

t.test('a link that swallows everything is noticed, and what others published meanwhile is made up for', async (t) => {
  const { proxy, node, other } = await setUp(t)
  await other.publish('x', 'm0')
  await until(() => node.texts('x').length === 1)
  proxy.swallowing = true
  const cut = performance.now()
  for (const text of numbers(50, 1)) await other.publish('x', text)
  t.equal((await attempt(node, 'from the cut node')).code, 'FANFARE_UNAVAILABLE')
  await until(() => node.broker.trouble !== undefined)
  t.ok(since(cut) <= 10_000, `noticed after ${since(cut)} ms`)
  proxy.swallowing = false
  const healed = performance.now()
  await until(() => node.texts('x').length === 51)
  t.comment(`made up for ${since(healed)} ms after the link was whole`)
  t.ok(since(healed) <= 5000)
  t.same(node.texts('x'), numbers(51))
  t.same(node.lost, [])
})

t.test('only what the history no longer holds is given up, and that is told before anything newer is delivered', async (t) => {
  const { proxy, node, other } = await setUp(t)
  await other.publish('x', 'm0', { historySize: 10 })
  await until(() => node.texts('x').length === 1)
  proxy.swallowing = true
  for (const text of numbers(20, 1)) await other.publish('x', text, { historySize: 10 })
  proxy.reset()
  proxy.swallowing = false
  await until(() => node.lost.length === 1)
  t.same(node.texts('x'), ['m0'])
  await other.publish('x', 'new')
  await until(() => node.texts('x').length === 2)
  t.same(node.texts('x'), ['m0', 'new'])
  t.same(node.lost, ['x'])
})

t.test('FLUSHALL ends the epoch: the loss is told, and nothing looks recovered', async (t) => {
  const { redis, node } = await setUp(t)
  const before = await node.publish('x', 'before')
  await until(() => node.texts('x').length === 1)
  redis.cli('flushall')
  const after = await node.publish('x', 'after')
  await until(() => node.lost.length === 1)
  t.not(after.epoch, before.epoch)
  t.equal(after.offset, 1)
  t.equal((await node.broker.history('x', { since: before, limit: 10 })).continuous, false)
  await node.publish('x', 'later')
  await until(() => node.texts('x').includes('later'))
})

t.test('eviction of one key: a lost history is told to who needs it, a lost position ends the epoch', async (t) => {
  const { redis, node } = await setUp(t)
  const first = await node.publish('x', 'm0')
  const second = await node.publish('x', 'm1')
  redis.cli('del', 'faults:{x}:stream')
  t.equal((await node.broker.history('x', { since: first, limit: 10 })).continuous, false)
  t.equal((await node.broker.history('x', { since: second, limit: 10 })).continuous, true)
  t.equal((await node.publish('x', 'm2')).offset, 3)
  redis.cli('del', 'faults:{x}:meta')
  const third = await node.publish('x', 'm3')
  t.equal(third.offset, 1)
  t.not(third.epoch, second.epoch)
  t.same((await node.broker.history('x', { limit: 10 })).publications.map(({ data }) => String(data)), ['m3'], 'what was stored in the old epoch is gone')
})

t.test('a replica that lagged takes over: what it never had cannot be recovered, what it had can', async (t) => {
  const master = await startRedis(t)
  const replication = await new FaultProxy(master.port).start(t)
  const replica = await startRedis(t, ['--replicaof', '127.0.0.1', String(replication.port)])
  const proxy = await new FaultProxy(master.port).start(t)
  await until(() => replica.cli('info', 'replication').includes('master_link_status:up'))
  const node = await nodeAt(t, proxy.port)
  await node.broker.subscribe('x')
  const kept = await node.publish('x', 'm0')
  const alsoKept = await node.publish('x', 'm1')
  await until(() => replica.cli('xlen', 'faults:{x}:stream') === '2')
  replication.swallowing = true
  const lost = await node.publish('x', 'lost in the failover')
  await until(() => node.texts('x').length === 3)
  replica.cli('replicaof', 'no', 'one')
  proxy.target = replica.port
  await master.kill()
  await untilPublished(node, 'm2', performance.now())
  await until(() => node.lost.length > 0)
  t.same(node.lost, ['x'], 'this node had seen more than there is now')
  const continuous = async (position: typeof kept): Promise<boolean> => (await node.broker.history('x', { since: position, limit: 10 })).continuous
  t.equal(await continuous(lost), false)
  t.equal(await continuous(alsoKept), true)
  t.same((await node.broker.history('x', { since: kept, limit: 10 })).publications.map(({ data }) => String(data)), ['m1', 'm2'])
})

t.test('memory of Redis used up: publishing fails with a clear error, and works again when there is room', async (t) => {
  const { redis, node } = await setUp(t, ['--maxmemory-policy', 'noeviction'])
  await node.publish('x', 'before')
  redis.cli('config', 'set', 'maxmemory', '1mb')
  await t.rejects(node.publish('x', 'y'.repeat(10_000)), { code: 'FANFARE_UNAVAILABLE', message: /OOM/ })
  redis.cli('config', 'set', 'maxmemory', '0')
  await node.publish('x', 'after')
  await until(() => node.texts('x').length === 2)
  t.same(node.texts('x'), ['before', 'after'])
})

t.test('Pub/Sub connections cut all the time, as a full output buffer does: 0 lost, 0 doubled', async (t) => {
  const { redis, node, other } = await setUp(t)
  let published = 0
  for (let cuts = 0; cuts < 20; cuts++) {
    for (const text of numbers(20, published)) await other.publish('x', text, { historySize: 1000 })
    published += 20
    redis.cli('client', 'kill', 'type', 'pubsub')
  }
  await until(() => node.texts('x').length >= published)
  t.same(node.texts('x'), numbers(published))
  t.same(node.lost, [])
  t.comment(`${published} publications, 20 cuts`)
})

t.test('Pub/Sub messages lost on the way, the last one too: final loss 0', async (t) => {
  const { proxy, node, other } = await setUp(t)
  proxy.drops = (number) => number % 20 === 7
  for (const text of numbers(500)) await other.publish('x', text, { historySize: 1000 })
  await until(() => node.texts('x').length === 500)
  proxy.drops = () => true
  const dropped = performance.now()
  await other.publish('x', 'm500')
  await until(() => node.texts('x').length === 501)
  t.same(node.texts('x'), numbers(501))
  t.same(node.lost, [])
  t.comment(`${proxy.dropped} messages dropped; the last one was made up for after ${since(dropped)} ms`)
})

t.test('connections reset all the time: repeated with a key, every publication is there exactly once', async (t) => {
  const { proxy, node, other } = await setUp(t)
  await other.broker.subscribe('x')
  let failures = 0
  const resets = setInterval(() => proxy.reset(), 150)
  await Promise.all(numbers(200).map(async (text, index) => {
    await new Promise((resolve) => setTimeout(resolve, index * 10))
    await until(() => node.publish('x', text, { idempotencyKey: text, historySize: 1000 }).then(() => true, () => {
      failures++
      return false
    }))
  }))
  clearInterval(resets)
  await until(() => other.texts('x').length >= 200)
  t.same(other.texts('x').toSorted(), numbers(200).toSorted())
  await until(() => node.texts('x').length >= 200)
  t.same(node.texts('x'), other.texts('x'), 'both nodes have one order')
  t.comment(`${failures} tries failed`)
  t.ok(failures > 0)
})

t.test('who joins while what somebody else has missed is fetched is let in when that is done', async (t) => {
  const { proxy, node, other } = await setUp(t)
  proxy.drops = () => true
  proxy.delayMs = 100
  await other.publish('x', 'm0')
  const reading = node.broker.history('x', { limit: 0 })
  let joining: Promise<void> | undefined
  await until(() => (joining = node.broker.subscribe('x')) !== undefined)
  await joining
  await reading
  t.same(node.texts('x'), ['m0'])
})

t.test('a slow Redis costs time and no more', async (t) => {
  const { proxy, node, other } = await setUp(t)
  await other.broker.subscribe('x')
  proxy.delayMs = 200
  const positions = await Promise.all(numbers(100).map((text) => node.publish('x', text)))
  t.same(positions.map(({ offset }) => offset), Array.from({ length: 100 }, (_none, index) => index + 1))
  await until(() => node.texts('x').length === 100 && other.texts('x').length === 100)
  t.same(node.texts('x'), numbers(100))
})

t.test('Redis away when the node starts: it waits for it', async (t) => {
  const redis = await startRedis(t)
  await redis.kill()
  const broker = new RedisBroker({ redisUrl: redis.url, redisPrefix: 'faults', redisShardedPubsub: 'auto' }, quiet)
  const starting = new Node(broker).start(t)
  await until(() => /ECONNREFUSED/.test(broker.trouble ?? ''))
  await t.rejects(broker.publish('x', { kind: 'text', data: Buffer.from('x') }, { historySize: 1, historyTtl: 1 }), { code: 'FANFARE_UNAVAILABLE' })
  await redis.restart()
  await (await starting).publish('x', 'x')
})
