import t from 'tap'
import { apiOf } from '../routes/api-client.ts'
import { Follower } from './follower.ts'
import { recorderOf, startTwoNodes, wsUrlsOf } from './nodes.ts'
import { publishAll, type PublishReply } from './publisher.ts'
import { FLAWLESS, type Sequence } from './recorder.ts'

const PUBLISHERS = 32
const PUBLICATIONS = 1000
const KEYS = 1000
const SENDS = 5

t.test('32 x 1,000 concurrent publishes over 2 nodes: offsets without a hole, every subscriber on both nodes and the history in the same order, each publisher\'s own order kept', { timeout: 400_000 }, async (t) => {
  const { nodes } = await startTwoNodes(t)
  const recorder = await recorderOf(nodes[0].url, 'x')
  const follow = async (name: string): Promise<Sequence[]> => Promise.all(wsUrlsOf(nodes).flatMap((wsUrl, node) => [0, 1, 2].map(async (number) => {
    const follower = new Follower(t, recorder, 'x', `${name} ${number} on node ${node}`)
    await follower.connect([wsUrl])
    return follower.sequence
  })))
  await follow('subscriber')
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: PUBLISHERS }, async (_none, publisher) => {
    const ids = Array.from({ length: PUBLICATIONS }, (_none, number) => `p${publisher}-${number}`)
    for (const id of ids) recorder.send(id)
    const replies = await publishAll((nodes[publisher % 2] ?? nodes[0]).url, ids.map((data) => ({ channel: 'x', data })), false)
    for (const [index, { publish }] of replies.entries()) if (publish) recorder.note(ids[index] as string, publish, `publisher ${publisher}`)
  }))
  const seconds = (performance.now() - startedAt) / 1000
  await recorder.settle()
  // Those hear it all from the history.
  await follow('latecomer')
  await recorder.settle()

  const total = PUBLISHERS * PUBLICATIONS
  let disorder = 0
  const latest = new Map<string, number>()
  for (let offset = 1; offset <= total; offset++) {
    const [publisher = '', number] = recorder.at(offset)?.split('-') ?? []
    if (Number(number) !== (latest.get(publisher) ?? -1) + 1) disorder++
    latest.set(publisher, Number(number))
  }
  t.comment(`${total} publications in ${seconds.toFixed(1)} s, offsets 1 to ${recorder.end}, heard by ${recorder.sequences.length} subscribers; ${disorder} out of their publisher's order`)
  for (const fault of recorder.faults) t.comment(fault)
  t.same(recorder.verdict(), FLAWLESS)
  t.equal(recorder.end, total)
  t.equal(disorder, 0)
})

t.test('1,000 idempotency keys x 5 racing sends over both nodes: exactly 1,000 publications, and all five senders are told the same position', { timeout: 200_000 }, async (t) => {
  const { nodes } = await startTwoNodes(t)
  const recorder = await recorderOf(nodes[0].url, 'x')
  for (const wsUrl of wsUrlsOf(nodes)) await new Follower(t, recorder, 'x', wsUrl).connect([wsUrl])
  const keys = Array.from({ length: KEYS }, (_none, number) => `k${number}`)
  for (const key of keys) recorder.send(key)
  const replies = await Promise.all(Array.from({ length: SENDS }, async (_none, send) =>
    publishAll((nodes[send % 2] ?? nodes[0]).url, keys.map((key) => ({ channel: 'x', data: key, idempotency_key: key })), true)
  ))
  for (const sent of replies) for (const [index, { publish }] of sent.entries()) if (publish) recorder.note(keys[index] as string, publish, 'sender')
  const differing = keys.filter((_key, index) => new Set(replies.map((sent) => placeOf(sent[index]))).size > 1).length
  await recorder.settle()
  const { offset } = await apiOf(nodes[0].url)('history', { channel: 'x' })
  t.comment(`${KEYS * SENDS} sends, ${String(offset)} publications, ${differing} keys whose senders were told different positions`)
  for (const fault of recorder.faults) t.comment(fault)
  t.same(recorder.verdict(), FLAWLESS)
  t.equal(offset, KEYS)
  t.equal(differing, 0)
})

function placeOf (reply: PublishReply | undefined): string {
  return reply?.publish ? `${reply.publish.epoch}:${reply.publish.offset}` : 'failed'
}
