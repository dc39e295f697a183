import t from 'tap'
import { Outbox } from '../../src/brokers/redis/outbox.ts'

const OPTIONS = { historySize: 0, historyTtl: 0 }

// So many need a Redis that does not answer, and a machine that publishes them within a second.
t.test('130,000 small publications wait behind a call that fails: all are refused; that ended the process', async (t) => {
  const outbox = new Outbox(async () => new Promise((_resolve, reject) => setTimeout(() => reject(new Error('no answer')), 500)), 1)
  const data = Buffer.from('x')
  let refused = 0
  const all = Array.from({ length: 150_000 }, async () => outbox.publish('a', { kind: 'text', data }, OPTIONS).catch(() => { refused++ }))
  await Promise.all(all)
  await outbox.idle()
  t.equal(refused, 150_000)
  const from = performance.now()
  await t.rejects(outbox.publish('a', { kind: 'text', data }, OPTIONS), { message: /no answer/ }, 'there is room again')
  t.ok(performance.now() - from > 400, 'it was sent')
})
