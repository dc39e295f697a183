import { once } from 'node:events'
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { connect, until } from '../helper.ts'
import { startRedis } from '../redis.ts'
import { as, SECRET, secondsFromNow } from '../tokens.ts'
import { Follower } from './follower.ts'
import { recorderOf, startNode, wsUrlsOf, type Nodes } from './nodes.ts'
import { Publisher } from './publisher.ts'
import { FLAWLESS } from './recorder.ts'

const CLIENTS = 100
const RATE = 300
const HOUR = 3600
const DAY = 24 * HOUR

/** Settings that show a server process a clock of its own, and a way to step it. The monotonic clock is that of the machine. */
function steppingClock (t: Test): { settings: NodeJS.ProcessEnv, step: (seconds: number) => void } {
  const library = readdirSync('/usr/lib').map((folder) => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`).find((path) => existsSync(path))
  if (library === undefined) throw new Error('libfaketime is missing; bash .ci/needs fetches it')
  const file = `${t.testdir({ clock: '+0' })}/clock`
  return {
    settings: { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_RESET: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' },
    step (seconds) {
      writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}`)
      renameSync(`${file}.new`, file)
    }
  }
}

/** How far a server's clock is ahead of ours, in seconds. */
async function aheadBy (url: string): Promise<number> {
  const answer = await fetch(`${url}/health/live`)
  return (Date.parse(answer.headers.get('date') ?? '') - Date.now()) / 1000
}

async function proveClockDoesNotMatter (t: Test, settings: NodeJS.ProcessEnv, count: number): Promise<void> {
  const { settings: clock, step } = steppingClock(t)
  const nodes = await Promise.all(Array.from({ length: count }, async (_none, index) =>
    // The clock of one of the nodes steps, that of the other goes on.
    startNode(t, { PING_INTERVAL: '0.5', PONG_TIMEOUT: '3', ...settings, ...index === 0 && clock })
  )) as Nodes
  const recorder = await recorderOf(nodes[0].url, 'x')
  const publishers = nodes.map(({ url }, index) => new Publisher(recorder, 'x', `p${index}`, [url]).start(RATE / count))
  const followers = await Promise.all(Array.from({ length: CLIENTS }, async (_none, index) => {
    const follower = new Follower(t, recorder, 'x', `s${index}`)
    await follower.connect([wsUrlsOf(nodes)[index % count] as string])
    return follower
  }))
  for (const seconds of [HOUR, -HOUR, DAY, -DAY, 0]) {
    step(seconds)
    await until(async () => Math.abs(await aheadBy(nodes[0].url) - seconds) < 60)
    // Someone is away at each step, and another just comes.
    const [away, ...others] = followers as [Follower, ...Follower[]]
    away.cut(true)
    const pings = others.map((follower) => follower.pings)
    await recorder.reaches(recorder.end + RATE / 2)
    await away.connect([nodes[0].wsUrl])
    await until(() => others.every((follower, index) => follower.pings >= (pings[index] as number) + 2 || follower.closes.length > 0))
  }
  await Promise.all(publishers.map((publisher) => publisher.stop()))
  await recorder.settle()
  const verdict = recorder.verdict()
  const closed = followers.flatMap(({ closes }) => closes)
  t.comment(`5 steps of up to two days: ${closed.length} of ${CLIENTS} connections closed; ${recorder.end} published, ` +
    `${verdict.lost} lost, ${verdict.doubled} doubled, ${verdict.disordered} out of order, ${verdict.notRecovered} not recovered`)
  for (const fault of recorder.faults) t.comment(fault)
  t.same(closed, [])
  t.same(verdict, FLAWLESS)
}

t.test('the clock steps by an hour and by a day, forwards and back: no disconnect, order kept, nothing lost', { timeout: 200_000 }, (t) => proveClockDoesNotMatter(t, {}, 1))

t.test('the clock steps while connections have tokens: none ends before its time, and each ends when it comes', { timeout: 100_000 }, async (t) => {
  const { settings, step } = steppingClock(t)
  const { url, wsUrl } = await startNode(t, { PING_INTERVAL: '0.5', PONG_TIMEOUT: '3', TOKEN_HMAC_SECRET: SECRET, ...settings })
  const clients = await Promise.all(Array.from({ length: CLIENTS }, async (_none, index) => connect(t, wsUrl, await as(`u${index}`, { exp: secondsFromNow(2 * HOUR) }))))
  const brief = await connect(t, wsUrl, await as('brief', { exp: secondsFromNow(8) }))
  const closed = brief.closed()
  let ended = 0
  for (const { ws } of clients) ws.once('close', () => { ended++ })
  for (const seconds of [HOUR, DAY, -DAY, DAY]) {
    step(seconds)
    await until(async () => Math.abs(await aheadBy(url) - seconds) < 60)
    await Promise.all(clients.map(async ({ ws }) => once(ws, 'ping')))
  }
  t.equal((await closed).code, 3005)
  t.comment(`4 steps of up to two days: ${ended} of ${CLIENTS} connections closed before their tokens ended`)
  t.equal(ended, 0)
})

t.test('the clock of one of two nodes with Redis steps by an hour and by a day, forwards and back: no disconnect, order kept, nothing lost', { timeout: 200_000 }, async (t) => {
  await proveClockDoesNotMatter(t, { REDIS_URL: (await startRedis(t)).url }, 2)
})
