import t, { type Test } from 'tap'
import { Follower } from './follower.ts'
import { below, brokers, recorderOf, shuffled, wsUrlsOf } from './nodes.ts'
import { Publisher, publishAll } from './publisher.ts'
import { FLAWLESS } from './recorder.ts'

const CLIENTS = 200
const CUTS = 20
const RATE = 500
// What is published while a client is away, at most.
const MOST_MISSED = 150
// What the channel keeps already: who comes back must not be dearer for it. When all of it was looked at for each piece of
// a recovery, the clients never caught up.
const KEPT = 50_000
const BATCH = 1000

async function proveRecovery (t: Test, broker: keyof typeof brokers): Promise<void> {
  const nodes = await brokers[broker](t)
  const [{ url }] = nodes
  const wsUrls = wsUrlsOf(nodes)
  for (let kept = 0; kept < KEPT; kept += BATCH) await publishAll(url, Array.from({ length: BATCH }, () => ({ channel: 'storm', data: 'before' })), true)
  const recorder = await recorderOf(url, 'storm')
  const publishers = nodes.map((node, index) => new Publisher(recorder, 'storm', `p${index}`, [node.url]).start(RATE / nodes.length))
  const followers = Array.from({ length: CLIENTS }, (_none, index) => new Follower(t, recorder, 'storm', `s${index}`))
  const startedAt = performance.now()
  await Promise.all(followers.map(async (follower) => {
    for (let cut = 0; cut < CUTS; cut++) {
      const [first, ...others] = shuffled(wsUrls)
      if (below(10) === 0) follower.connectAndCut(first)
      else {
        await follower.connect([first, ...others])
        // Some are cut while they recover, others when they have long heard what is new.
        await follower.hears(below(2 * follower.sequence.lost + MOST_MISSED))
        follower.cut(below(2) === 0)
      }
      await recorder.reaches(recorder.end + below(MOST_MISSED))
    }
    await follower.follow(shuffled(wsUrls))
  }))
  const seconds = (performance.now() - startedAt) / 1000
  await Promise.all(publishers.map((publisher) => publisher.stop()))
  await recorder.settle()

  const verdict = recorder.verdict()
  const { sequences, faults } = recorder
  const heard = sequences.reduce((sum, { count }) => sum + count, 0)
  const recovered = sequences.reduce((sum, { recovered }) => sum + recovered, 0)
  const refused = followers.reduce((sum, { refused }) => sum + refused, 0)
  const rate = publishers.reduce((sum, { rate }) => sum + rate, 0)
  t.comment(`${CLIENTS * CUTS} cuts in ${seconds.toFixed(1)} s at ${rate} messages/s: ${heard} heard, ${recovered} of them out of the history; ` +
    `${verdict.lost} lost, ${verdict.doubled} doubled, ${verdict.disordered} out of order; ${refused} times refused`)
  for (const fault of faults) t.comment(fault)
  t.same(verdict, FLAWLESS)
  // 1013 asks to come back: Redis did not answer in time, on a machine that has too much to do.
  t.same(followers.flatMap(({ closes }) => closes).filter((code) => code !== 1013), [], 'no connection was closed by a server')
  t.ok(recovered > CLIENTS * CUTS, 'there was much to recover')
}

for (const broker of ['memory', 'Redis'] as const) {
  const place = broker === 'memory' ? 'one node with the memory broker' : 'two nodes with Redis, each time on either'
  t.test(`200 clients cut 20 times each under 500 messages/s, each recovering by position behind ${KEPT} others on ${place}: 0 lost, 0 doubled, 0 out of order`, { timeout: 400_000 }, (t) => proveRecovery(t, broker))
}
