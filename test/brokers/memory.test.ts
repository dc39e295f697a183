import t from 'tap'
import { MemoryBroker } from '../../src/brokers/memory.ts'
import { brokerContract, Node } from './contract.ts'

brokerContract(t, () => new MemoryBroker(1e7))

t.test('all histories together take no more than they may, and those that give way are not taken for whole', async (t) => {
  const node = await new Node(new MemoryBroker(1_000_000)).start(t)
  const names = Array.from({ length: 100 }, (_none, index) => `c${index}`)
  for (const name of names) {
    for (let index = 0; index < 10; index++) await node.publish(name, 'x'.repeat(5000))
  }
  const histories = await Promise.all(names.map((name) => node.broker.history(name, { limit: Infinity })))
  const kept = histories.reduce((sum, { publications }) => sum + publications.length, 0)
  t.ok(kept * 5200 <= 1_000_000 && kept > 150, `${kept} publications of 1,000 are kept`)
  t.equal(histories[0]?.publications.length, 0, 'the idlest gave way')
  t.equal(histories.at(-1)?.publications.length, 10)
  const { position } = histories[0] as { position: { epoch: string } }
  t.equal((await node.broker.history('c0', { limit: 10, since: { ...position, offset: 3 } })).continuous, false)
})

t.test('of one that alone would take more than all histories may, the oldest publications give way and no others', async (t) => {
  const node = await new Node(new MemoryBroker(100_000)).start(t)
  for (let offset = 1; offset <= 100; offset++) {
    const position = await node.publish('large', 'x'.repeat(5000), { historySize: 1000 })
    const { publications, continuous } = await node.broker.history('large', { limit: Infinity, since: { ...position, offset: Math.max(0, offset - 19) } })
    if (!continuous || publications.length !== Math.min(offset, 19)) t.fail(`after ${offset}: ${publications.length} are kept`)
  }
  await node.publish('large', 'x'.repeat(100_000), { historySize: 1000 })
  t.same((await node.broker.history('large', { limit: Infinity })).publications, [], 'there is no room for a larger one')
  const after = await node.publish('large', 'x', { historySize: 1000 })
  t.same((await node.broker.history('large', { limit: Infinity })).publications.map(({ position }) => position), [after])
})

t.test('a channel that was forgotten begins in another epoch, one that nobody published to does not', async (t) => {
  const node = await new Node(new MemoryBroker(1e7)).start(t)
  const untouched = (await node.broker.history('untouched', { limit: 0 })).position
  const first = await node.publish('first', 'x')
  t.same(untouched, { epoch: first.epoch, offset: 0 })
  t.ok((await node.broker.history('untouched', { limit: 10, since: untouched })).continuous)
  for (let index = 0; index < 100_000; index++) await node.publish(`other ${index}`, 'x', { historySize: 0 })
  const again = await node.publish('first', 'y')
  t.equal(again.offset, 1)
  t.not(again.epoch, first.epoch)
  t.equal((await node.broker.history('first', { limit: 10, since: first })).continuous, false)
  t.equal((await node.broker.history('untouched', { limit: 10, since: untouched })).continuous, false, 'it might have been forgotten too')
  for (let index = 0; index < 200_000; index++) await node.broker.history(`made up ${index}`, { limit: 1 })
  t.same((await node.broker.history('first', { limit: 0 })).position, again, 'to ask for many names makes nothing forgotten')
})

t.test('an epoch is new at each start', async (t) => {
  const epochs = await Promise.all(Array.from({ length: 10 }, async () => (await (await new Node(new MemoryBroker(1000)).start(t)).publish('x', 'x')).epoch))
  t.equal(new Set(epochs).size, 10)
})

t.test('a history that is kept for longer than an hour is kept as long as that: after an hour it was one of another epoch', async (t) => {
  const { performance } = globalThis
  const now = performance.now.bind(performance)
  let ahead = 0
  t.intercept(performance, 'now', { value: () => now() + ahead })
  const node = await new Node(new MemoryBroker(1e7)).start(t)
  const first = await node.publish('kept', 'x', { historyTtl: 86_400 })
  ahead = 2 * 3_600_000
  const { publications, position, continuous } = await node.broker.history('kept', { limit: 10, since: { ...first, offset: 0 } })
  t.strictSame([publications.length, position, continuous], [1, first, true])
  t.same(await node.publish('kept', 'y', { historyTtl: 86_400 }), { ...first, offset: 2 })
})

t.test('very many channels with one small publication each take no more than they may: a third of it was counted', async (t) => {
  const node = await new Node(new MemoryBroker(1_000_000)).start(t)
  const names = Array.from({ length: 5000 }, (_none, index) => `c${index}`)
  for (const name of names) await node.publish(name, 'x')
  const kept = (await Promise.all(names.map((name) => node.broker.history(name, { limit: 1 })))).filter(({ publications }) => publications.length > 0)
  t.ok(kept.length > 500 && kept.length * 900 <= 1_000_000, `${kept.length} histories of 5,000 are kept`)
})
