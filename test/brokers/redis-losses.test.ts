import t, { type Test } from 'tap'
import { FaultProxy } from '../fault-proxy.ts'
import { until } from '../helper.ts'
import { startRedis, type RedisServer } from '../redis.ts'
import type { Node } from './contract.ts'
import { nodeAt, setUp, untilPublished } from './faulty-redis.ts'

/** A master, and a replica that has everything but what is published last; who follows `x` behind a way of its own to them has that neither. */
async function lagging (t: Test): Promise<{ master: RedisServer, behind: Node, way: FaultProxy, publishLast: (publisher: Node) => Promise<void>, failOver: () => Promise<void>, goOver: (proxy: FaultProxy) => void }> {
  const master = await startRedis(t)
  const replication = await new FaultProxy(master.port).start(t)
  const replica = await startRedis(t, ['--replicaof', '127.0.0.1', String(replication.port)])
  await until(() => replica.cli('info', 'replication').includes('master_link_status:up'))
  const way = await new FaultProxy(master.port).start(t)
  const behind = await nodeAt(t, way.port)
  await behind.broker.subscribe('x')
  return {
    master,
    behind,
    way,
    async publishLast (publisher) {
      await publisher.publish('x', 'kept')
      await until(() => behind.texts('x').length === 1 && replica.cli('xlen', 'faults:{x}:stream') === '1')
      replication.swallowing = true
      way.swallowing = true
      await publisher.publish('x', 'acknowledged, and lost')
    },
    async failOver () {
      replica.cli('replicaof', 'no', 'one')
      await master.kill()
    },
    goOver (proxy) {
      proxy.target = replica.port
      proxy.swallowing = false
      proxy.reset()
    }
  }
}

t.test('who had not heard yet what a failover lost was never told of it', async (t) => {
  const { master, behind, way, publishLast, failOver, goOver } = await lagging(t)
  const other = await new FaultProxy(master.port).start(t)
  const ahead = await nodeAt(t, other.port)
  await ahead.broker.subscribe('x')
  await publishLast(ahead)
  await until(() => ahead.texts('x').length === 2)
  const [first] = behind.heard.get('x') ?? []
  other.swallowing = true
  await failOver()
  goOver(way)
  // It has gone on, as nobody has said yet that something is lost.
  await untilPublished(behind, 'new', performance.now())
  await until(() => behind.texts('x').includes('new'))
  t.same(behind.lost, [])
  const later = behind.heard.get('x')?.at(-1)?.position
  goOver(other)
  await until(() => ahead.lost.length > 0)
  await until(() => behind.lost.length > 0)
  t.same([ahead.lost, behind.lost], [['x'], ['x']])
  t.equal((await behind.broker.history('x', { since: first?.position, limit: 10 })).continuous, false, 'nor does it look recovered to who comes back')
  t.equal((await behind.broker.history('x', { since: later, limit: 10 })).continuous, false, 'nor to who had gone on, and left before it was known')
  await ahead.publish('x', 'on')
  await until(() => behind.texts('x').includes('on') && ahead.texts('x').includes('on'))
  t.equal(behind.lost.length, 1)
})

t.test('the same where only the node that has published it knows of it, which hears nothing itself', async (t) => {
  const { master, behind, way, publishLast, failOver, goOver } = await lagging(t)
  const other = await new FaultProxy(master.port).start(t)
  const publisher = await nodeAt(t, other.port)
  await publishLast(publisher)
  await failOver()
  goOver(way)
  goOver(other)
  await until(() => behind.broker.trouble === undefined)
  await untilPublished(publisher, 'new', performance.now())
  await until(() => behind.lost.length > 0)
  t.same(behind.lost, ['x'])
})

t.test('a server that comes back twice with the same old state: what was lost in between looked recovered', async (t) => {
  const { redis, node, other } = await setUp(t)
  const first = await node.publish('x', 'kept')
  redis.cli('save')
  for (const text of ['lost', 'lost as well']) {
    await untilPublished(node, text, performance.now())
    await until(() => node.texts('x').at(-1) === text)
    const { length: before } = node.lost
    await redis.kill()
    await redis.restart()
    await untilPublished(other, 'new', performance.now())
    await until(() => node.lost.length > before)
  }
  t.equal((await other.broker.history('x', { since: first, limit: 10 })).continuous, false)
})

t.test('nobody can say that something is lost by naming a position', async (t) => {
  const { redis, node, other } = await setUp(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const { epoch } = await node.publish('x', 'a')
  await redis.kill()
  await redis.restart()
  await untilPublished(other, 'b', performance.now())
  await until(() => node.texts('x').length === 2)
  t.equal((await other.broker.history('x', { since: { epoch, offset: 1000 }, limit: 10 })).continuous, false)
  t.ok((await other.broker.history('x', { since: { epoch, offset: 1 }, limit: 10 })).continuous)
  t.same(node.lost, [])
})

t.test('after a publication that was refused, what had been sent behind it was published', async (t) => {
  const { redis, node } = await setUp(t)
  await node.publish('x', 'before')
  redis.signal('SIGSTOP')
  const refused = node.publish('x', 'first').then(() => false, () => true)
  // Their times end so much later than that of the first.
  await new Promise((resolve) => setTimeout(resolve, 300))
  const behind = ['second', 'third'].map((text) => node.publish('x', text).then(() => false, () => true))
  t.ok(await refused)
  redis.signal('SIGCONT')
  t.same(await Promise.all(behind), [true, true])
  await untilPublished(node, 'after', performance.now())
  await until(() => node.texts('x').includes('after'))
  t.same(node.texts('x'), ['before', 'after'])
})

t.test('a channel that has kept publications, and keeps none by another rule, had a hole in its history', async (t) => {
  const { node, other } = await setUp(t)
  const first = await node.publish('x', '1')
  const second = await node.publish('x', '2')
  await other.publish('x', '3', { historySize: 0 })
  await node.publish('x', '4')
  t.same((await node.broker.history('x', { limit: 10 })).publications.map(({ data }) => String(data)), ['4'])
  for (const since of [first, second]) t.equal((await node.broker.history('x', { since, limit: 10 })).continuous, false)
})

t.test('a channel to which everything is published past the history was forgotten, or never', async (t) => {
  const { redis, node } = await setUp(t)
  const meta = (): number => Number(redis.cli('ttl', 'faults:{y}:meta'))
  await node.publish('y', '1', { skipHistory: true })
  t.ok(meta() > 86_000, `${meta()} s`)
  redis.cli('expire', 'faults:{y}:meta', '1000')
  await node.publish('y', '2', { skipHistory: true })
  t.ok(meta() > 86_000, `${meta()} s`)
})

t.test('a position beyond what a script can count is one that is not known', async (t) => {
  const { node } = await setUp(t)
  const { epoch } = await node.publish('x', '1')
  for (const offset of [Number.MAX_SAFE_INTEGER, 2 ** 64, 1e30]) t.equal((await node.broker.history('x', { since: { epoch, offset }, limit: 10 })).continuous, false)
})
