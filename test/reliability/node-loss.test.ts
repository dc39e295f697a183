import t, { type Test } from 'tap'
import { until } from '../helper.ts'
import type { ServerProcess } from '../process.ts'
import { Follower } from './follower.ts'
import { membersOn, presentBy, recorderOf, startTwoNodes } from './nodes.ts'
import { Publisher } from './publisher.ts'
import { FLAWLESS, type Recorder } from './recorder.ts'
import { Sender } from './sender.ts'

const ON_EACH = 100
const SENDERS = 10
const RATE = 200
const PRESENCE_TTL = 3
const DRAIN_TIMEOUT = 2

interface Scene {
  readonly leaving: ServerProcess
  readonly staying: ServerProcess
  readonly recorder: Recorder
  /** Those who begin on the node that leaves. */
  readonly moving: Follower[]
  readonly senders: Sender[]
  readonly publishers: Publisher[]
}

/** Two nodes under load, with 100 clients and a publisher each, who know of the other node, and senders on the one that leaves. */
async function setUp (t: Test): Promise<Scene> {
  const { nodes: [leaving, staying] } = await startTwoNodes(t, { PRESENCE_TTL: String(PRESENCE_TTL), DRAIN_TIMEOUT: String(DRAIN_TIMEOUT), LOG_LEVEL: 'info' })
  const recorder = await recorderOf(staying.url, 'x')
  const follow = async (wsUrls: string[]): Promise<Follower[]> => Promise.all(Array.from({ length: ON_EACH }, async (_none, index) => {
    const follower = new Follower(t, recorder, 'x', `s${index}, first on ${wsUrls[0]}`)
    await follower.follow(wsUrls)
    return follower
  }))
  const [moving] = await Promise.all([follow([leaving.wsUrl, staying.wsUrl]), follow([staying.wsUrl])])
  const publishers = [[leaving.url, staying.url], [staying.url, leaving.url]].map((urls, index) => new Publisher(recorder, 'x', `p${index}`, urls).start(RATE))
  const senders = await Promise.all(Array.from({ length: SENDERS }, (_none, index) => Sender.connect(t, leaving.wsUrl, recorder, `c${index}`)))
  await recorder.reaches(2 * RATE)
  return { leaving, staying, recorder, moving, senders, publishers }
}

/** Goes on a while without the node, then looks at what was heard. */
async function prove (t: Test, { recorder, publishers, moving, senders }: Scene): Promise<void> {
  await recorder.reaches(recorder.end + 2 * RATE)
  await Promise.all(publishers.map((publisher) => publisher.stop()))
  await recorder.settle()
  const verdict = recorder.verdict()
  const published = senders.map(({ published }) => published)
  const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0)
  t.comment(`${recorder.end} published, ${verdict.lost} lost, ${verdict.doubled} doubled, ${verdict.disordered} out of order; ` +
    `${sum(moving.map(({ sequence }) => sequence.recovered))} recovered on the other node; ${sum(publishers.map(({ retried }) => retried))} batches published again; ` +
    `of ${sum(senders.map(({ sent }) => sent))} sent without confirmation ${sum(published.map(({ count }) => count))} published`)
  for (const fault of recorder.faults) t.comment(fault)
  t.same(verdict, FLAWLESS)
  t.equal(sum(published.map(({ holes }) => holes)), 0, 'of a sender\'s messages all up to one were published')
}

t.test('a node killed with SIGKILL under load: 0 lost after recovery on the other node, presence right within PRESENCE_TTL', { timeout: 200_000 }, async (t) => {
  const scene = await setUp(t)
  const { leaving, staying, moving } = scene
  t.equal((await presentBy(staying.url, 'x')).length, 2 * ON_EACH + SENDERS)
  leaving.child.kill('SIGKILL')
  const killedAt = performance.now()
  const isRight = async (): Promise<boolean> => {
    const [present, true_] = [await presentBy(staying.url, 'x'), membersOn(staying, 'x')]
    return true_.length === 2 * ON_EACH && present.join() === true_.join()
  }
  await until(isRight)
  const ms = performance.now() - killedAt
  t.comment(`presence right after ${(ms / 1000).toFixed(1)} s of ${PRESENCE_TTL} s`)
  t.ok(ms < (PRESENCE_TTL + 1) * 1000)
  await prove(t, scene)
  t.ok(await isRight(), 'presence is still right')
  t.ok(moving.every(({ closes: [code] }) => code === 1006), 'each was cut')
})

t.test('SIGTERM under load: every client gets a close code, 0 lost after recovery on the other node', { timeout: 200_000 }, async (t) => {
  const scene = await setUp(t)
  const { leaving, staying, moving, senders } = scene
  const left = membersOn(leaving, 'x')
  leaving.child.kill('SIGTERM')
  const stoppedAt = performance.now()
  await until(() => senders.every(({ code }) => code !== undefined))
  t.equal(await leaving.exit, 0)
  const seconds = (performance.now() - stoppedAt) / 1000
  t.same((await presentBy(staying.url, 'x')).filter((client) => left.includes(client)), [], 'nobody of the node that left is still there')
  await until(async () => (await presentBy(staying.url, 'x')).join() === membersOn(staying, 'x').join())
  await prove(t, scene)
  const told = [...moving.map(({ closes: [code] }) => code), ...senders.map(({ code }) => code)]
  t.comment(`${told.filter((code) => code === 1012).length} of ${ON_EACH + SENDERS} clients got 1012; exit after ${seconds.toFixed(1)} s`)
  t.same(told, Array(ON_EACH + SENDERS).fill(1012))
  t.ok(seconds < DRAIN_TIMEOUT + 2)
})
