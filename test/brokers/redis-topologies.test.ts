import t, { type Test } from 'tap'
import { RedisBroker } from '../../src/brokers/redis.ts'
import type { Position } from '../../src/hub/publication.ts'
import { FaultProxy } from '../fault-proxy.ts'
import { until } from '../helper.ts'
import { replicated, startRedis, startRedisCluster, startSentinel } from '../redis.ts'
import { brokerContract, Node } from './contract.ts'

// Most of it is waiting for what Redis notices after seconds.
t.jobs = 4

const quiet = { info: () => {}, warn: () => {} }

function brokerAt (redisUrl: string, redisShardedPubsub: 'auto' | 'on' | 'off' = 'auto'): RedisBroker {
  return new RedisBroker({ redisUrl, redisPrefix: 'test', redisShardedPubsub }, quiet)
}

/** Publishes on one node to many channels, and looks whether another node hears all. */
async function reachesOtherNode (t: Test, make: () => RedisBroker): Promise<void> {
  const [one, two] = [await new Node(make()).start(t), await new Node(make()).start(t)]
  const channels = Array.from({ length: 30 }, (_none, index) => `many ${index}`)
  await Promise.all(channels.map((channel) => two.broker.subscribe(channel)))
  await Promise.all(channels.map((channel) => one.publish(channel, channel)))
  await until(() => channels.every((channel) => two.texts(channel).length === 1))
  t.ok(channels.every((channel) => two.texts(channel)[0] === channel))
}

t.test('sharded Pub/Sub on one Redis', async (t) => {
  const { url } = await startRedis(t)
  await brokerContract(t, () => brokerAt(url, 'on'))
})

t.test('a Redis Cluster of three', async (t) => {
  const { url, servers } = await startRedisCluster(t)
  t.test('sharded', async (t) => {
    await brokerContract(t, () => brokerAt(url))
    await reachesOtherNode(t, () => brokerAt(url))
    t.ok(servers.every(({ cli }) => cli('info', 'commandstats').includes('cmdstat_spublish')), 'every server publishes its share')
  })
  t.test('not sharded', async (t) => {
    await brokerContract(t, () => brokerAt(url, 'off'))
    await reachesOtherNode(t, () => brokerAt(url, 'off'))
  })
})

// Alone: it looks at all timers of the process.
t.test('a node that left a cluster while it looked at the slots went on looking for ever, and its process never ended', { buffered: false }, async (t) => {
  const { url, servers } = await startRedisCluster(t)
  const { broker } = await new Node(brokerAt(url)).start(t)
  // A frozen server does not answer: it is being asked when the node leaves.
  for (const { signal } of servers) signal('SIGSTOP')
  await until(() => broker.trouble !== undefined)
  await broker.close()
  for (const { signal } of servers) signal('SIGCONT')
  await until(() => !process.getActiveResourcesInfo().includes('Timeout'))
  t.pass('no timer is left')
})

t.test('a cluster whose slots move: nothing is lost or doubled', async (t) => {
  const { url, servers } = await startRedisCluster(t)
  const node = await new Node(brokerAt(url)).start(t)
  await node.broker.subscribe('x')
  await node.publish('x', 'm0')
  const slot = servers[0]?.cli('cluster', 'keyslot', '{x}') as string
  const ids = servers.map(({ cli }) => cli('cluster', 'myid'))
  const from = servers.findIndex(({ cli }) => cli('cluster', 'countkeysinslot', slot) !== '0')
  const to = (from + 1) % 3
  servers[to]?.cli('cluster', 'setslot', slot, 'importing', ids[from] as string)
  servers[from]?.cli('cluster', 'setslot', slot, 'migrating', ids[to] as string)
  for (const key of (servers[from]?.cli('cluster', 'getkeysinslot', slot, '10') as string).split('\n')) {
    servers[from]?.cli('migrate', '127.0.0.1', String(servers[to]?.port), key, '0', '5000')
  }
  for (const { cli } of servers) cli('cluster', 'setslot', slot, 'node', ids[to] as string)
  const texts = Array.from({ length: 20 }, (_none, index) => `m${index + 1}`)
  for (const text of texts) await until(() => node.publish('x', text, { idempotencyKey: text }).then(() => true, () => false))
  await until(() => node.texts('x').length >= 21)
  t.same(node.texts('x'), ['m0', ...texts])
  t.same(node.lost, [])
})

t.test('a slot that moves away and is back at once: what was published to its channels came up to 15 s late from then on', async (t) => {
  const { url, servers } = await startRedisCluster(t)
  const [one, two] = [await new Node(brokerAt(url)).start(t), await new Node(brokerAt(url)).start(t)]
  await two.broker.subscribe('x')
  const slot = servers[0]?.cli('cluster', 'keyslot', '{x}') as string
  const ids = servers.map(({ cli }) => cli('cluster', 'myid'))
  const owner = servers.find(({ cli }) => cli('pubsub', 'shardchannels') !== '')
  const id = owner?.cli('cluster', 'myid') as string
  for (const next of [ids.find((other) => other !== id) as string, id]) owner?.cli('cluster', 'setslot', slot, 'node', next)
  t.equal(owner?.cli('pubsub', 'shardchannels'), '', 'Redis has ended the subscription')
  await one.publish('x', 'late')
  await until(() => two.texts('x').length === 1)
  await until(() => owner?.cli('pubsub', 'shardchannels') !== '')
  const began = performance.now()
  await one.publish('x', 'at once')
  await until(() => two.texts('x').length === 2)
  t.ok(performance.now() - began < 5000, `the next one after ${Math.round(performance.now() - began)} ms`)
  t.same(two.texts('x'), ['late', 'at once'])
})

t.test('a server of a cluster that dies is replaced by its replica: what was acknowledged is heard, once and in order', async (t) => {
  const { url, servers } = await startRedisCluster(t, 1)
  const [one, two] = [await new Node(brokerAt(url)).start(t), await new Node(brokerAt(url)).start(t)]
  const channels = Array.from({ length: 30 }, (_none, index) => `of a cluster ${index}`)
  await Promise.all(channels.map((channel) => two.broker.subscribe(channel)))
  const acknowledged = new Map<string, string[]>(channels.map((channel) => [channel, []]))
  const publishToAll = async (round: number): Promise<boolean> => {
    const done = await Promise.all(channels.map((channel) => one.publish(channel, `m${round}`).then(() => acknowledged.get(channel)?.push(`m${round}`), () => {})))
    return done.every(Boolean)
  }
  t.ok(await publishToAll(0))
  await replicated(servers, 3)
  const killedAt = performance.now()
  await servers.find(({ cli }) => cli('role').startsWith('master'))?.kill()
  let rounds = 0
  t.notOk(await publishToAll(++rounds), 'its channels cannot be published to')
  await until(() => publishToAll(++rounds))
  t.comment(`published to all again ${Math.round(performance.now() - killedAt)} ms after a server was killed, ${rounds} rounds`)
  const heard = (channel: string): string[] => two.texts(channel).filter((text) => acknowledged.get(channel)?.includes(text))
  await until(() => channels.every((channel) => heard(channel).length >= (acknowledged.get(channel)?.length ?? 0)))
  for (const channel of channels) t.same(heard(channel), acknowledged.get(channel), channel)
  t.same([one.lost, two.lost], [[], []])
})

t.test('Sentinel', async (t) => {
  const { url, master, replica } = await startSentinel(t)
  t.test('the broker', async (t) => brokerContract(t, () => brokerAt(url)))
  t.test('a failover: publishing goes on, what the replica had can be recovered', async (t) => {
    const node = await new Node(brokerAt(url)).start(t)
    await node.broker.subscribe('x')
    const before = await node.publish('x', 'before')
    await node.publish('x', 'replicated')
    await until(() => replica.cli('xlen', 'test:{x}:stream') === '2')
    const killed = performance.now()
    await master.kill()
    let after: Position | undefined
    await until(async () => {
      after = await node.publish('x', 'after').catch(() => undefined)
      return after !== undefined
    })
    t.comment(`published again ${Math.round(performance.now() - killed)} ms after the master was killed`)
    await until(() => node.texts('x').includes('after'))
    t.same(node.texts('x'), ['before', 'replicated', 'after'])
    t.same(node.lost, [])
    const history = await node.broker.history('x', { since: before, limit: 10 })
    t.ok(history.continuous)
    t.not(after?.epoch, before.epoch)
  })
})

t.test('a failover that is told while a node asks for the master does not leave that node away for ever', async (t) => {
  const { master, sentinel } = await startSentinel(t)
  const proxy = await new FaultProxy(sentinel.port).start(t)
  const node = await new Node(brokerAt(`redis+sentinel://127.0.0.1:${proxy.port}/main`)).start(t)
  // From now on the node is nearly always asking, until it hears of the failover.
  proxy.delayMs = 150
  await master.kill()
  await until(async () => node.publish('x', 'after').then(() => true, () => false))
  await until(() => node.broker.trouble === undefined)
})

t.test('a sentinel that hangs is passed over for the next: it was waited for for ever, also by a node that had left', async (t) => {
  const { sentinel } = await startSentinel(t)
  const [first, only] = [await new FaultProxy(sentinel.port).start(t), await new FaultProxy(sentinel.port).start(t)]
  for (const proxy of [first, only]) proxy.swallowing = true
  const node = await new Node(brokerAt(`redis+sentinel://127.0.0.1:${first.port},127.0.0.1:${sentinel.port}/main`)).start(t)
  t.match(await node.publish('x', 'm1'), { offset: 1 })

  const lonely = brokerAt(`redis+sentinel://127.0.0.1:${only.port}/main`)
  await lonely.start({ deliver: () => {}, lost: () => {}, control: () => {}, reachable: () => {} })
  await until(() => only.connections > 0)
  await lonely.close()
  await until(() => only.connections === 0)
})
