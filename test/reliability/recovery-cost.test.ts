import t from 'tap'
import { startRedis } from '../redis.ts'
import { Follower } from './follower.ts'
import { recorderOf, startNode } from './nodes.ts'
import { publishAll } from './publisher.ts'
import { FLAWLESS } from './recorder.ts'

const BATCHES = 10
const BATCH = 1000
// What Redis says for each: the publication of some bytes, its kind, and its part of what surrounds it.
const BYTES_EACH = 60

t.test('who recovers costs Redis what is recovered, also if much was published at once', { timeout: 200_000 }, async (t) => {
  const redis = await startRedis(t)
  const { url, wsUrl } = await startNode(t, { REDIS_URL: redis.url })
  const recorder = await recorderOf(url, 'x')
  for (let batch = 0; batch < BATCHES; batch++) {
    const ids = Array.from({ length: BATCH }, (_none, number) => `p${batch}-${number}`)
    for (const id of ids) recorder.send(id)
    const replies = await publishAll(url, ids.map((data) => ({ channel: 'x', data })), true)
    for (const [index, { publish }] of replies.entries()) if (publish) recorder.note(ids[index] as string, publish, 'publisher')
  }
  const sentByRedis = (): number => Number(/total_net_output_bytes:(\d+)/.exec(redis.cli('info', 'stats'))?.[1])
  const before = sentByRedis()
  const startedAt = performance.now()
  const follower = new Follower(t, recorder, 'x', 'subscriber')
  await follower.connect([wsUrl])
  await recorder.settle()
  const bytes = sentByRedis() - before
  t.comment(`${BATCHES * BATCH} recovered in ${(performance.now() - startedAt).toFixed(0)} ms: ${Math.round(bytes / BATCHES / BATCH)} bytes of Redis for each`)
  t.same(recorder.verdict(), FLAWLESS)
  t.equal(recorder.end, BATCHES * BATCH)
  t.ok(bytes < BATCHES * BATCH * BYTES_EACH)
})
