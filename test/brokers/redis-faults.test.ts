import t from 'tap'
import { RedisBroker } from '../../src/brokers/redis.ts'
import { FaultProxy } from '../fault-proxy.ts'
import { until } from '../helper.ts'
import { startRedis } from '../redis.ts'
import { Node } from './contract.ts'
import { attempt, nodeAt, numbers, quiet, setUp, since, untilPublished } from './faulty-redis.ts'

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

t.test('a replica that lagged takes over: nothing of before can be recovered, as something is lost', async (t) => {
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
  t.equal(await continuous(alsoKept), false, 'it would not hear what came after it')
  t.equal(await continuous(kept), false)
  t.same((await node.broker.history('x', { limit: 10 })).publications.map(({ data }) => String(data)), ['m0', 'm1', 'm2'])
})

t.test('memory of Redis used up: publishing fails with a clear error, and works again when there is room', async (t) => {
  const { redis, node } = await setUp(t, ['--maxmemory-policy', 'noeviction'])
  await node.publish('x', 'before')
  redis.cli('config', 'set', 'maxmemory', '1mb')
  await t.rejects(node.publish('x', 'y'.repeat(10_000)), { code: 'FANFARE_UNAVAILABLE', message: /OOM/ })
  t.match(node.broker.trouble, /^Redis refuses to write: OOM/, 'and the node is not ready')
  redis.cli('config', 'set', 'maxmemory', '0')
  await until(() => node.broker.trouble === undefined)
  await node.publish('x', 'after')
  await until(() => node.texts('x').length === 2)
  t.same(node.texts('x'), ['before', 'after'])
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

t.test('what others publish in Redis ends no node: one stray message ended all of them', async (t) => {
  const { redis, node } = await setUp(t)
  await node.publish('x', 'before')
  await until(() => node.texts('x').length === 1)
  const [channel] = redis.cli('pubsub', 'channels', '*{x}*').split('\n')
  const control = redis.cli('pubsub', 'channels', '*control').split('\n')[0]
  for (const stray of ['hello', '', 'e:1\nN\u0001', '{', 'null', '{"kind":"ask"}']) {
    for (const name of [channel, control]) t.ok(Number(redis.cli('publish', name as string, stray)) > 0, `${name} is heard`)
  }
  await node.publish('x', 'after')
  await until(() => node.texts('x').includes('after'))
  t.same(node.texts('x'), ['before', 'after'])
})

t.test('a history that is kept for longer than a day is kept as long as that: its position was forgotten, and it with that', async (t) => {
  const { redis, node } = await setUp(t)
  await node.publish('x', 'kept', { historyTtl: 604_800 })
  const times = redis.cli('keys', '*{x}*').split('\n').map((key) => Number(redis.cli('ttl', key)))
  t.ok(times.length >= 2 && times.every((seconds) => seconds > 604_700), times.join())
})
