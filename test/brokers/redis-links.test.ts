import t from 'tap'
import { until } from '../helper.ts'
import { attempt, numbers, setUp, since } from './faulty-redis.ts'

t.jobs = 3

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

t.test('a history is never ahead of what the node delivers: not either where what was missed was being fetched, a moment before', async (t) => {
  const { proxy, node, other } = await setUp(t)
  // The second comes without the first, so that the node fetches.
  proxy.drops = (number) => number !== 1
  proxy.holds = true
  await other.publish('x', 'm0')
  await other.publish('x', 'm1')
  await until(() => proxy.held.length === 1)
  await other.publish('x', 'm2')
  const reading = node.broker.history('x', { last: 3, limit: 100 })
  await until(() => proxy.held.length === 2)
  // Both answers come in one piece, and the history is looked at before the fetch has quite ended.
  proxy.release()
  const { publications } = await reading
  t.equal(publications.length, 3)
  t.same(node.texts('x'), ['m0', 'm1', 'm2'], 'else who joins with this history would get the last one twice')
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
