import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { formatPosition } from '../../src/hub/publication.ts'
import { below, brokers, recorderOf, shuffled, wsUrlsOf } from './nodes.ts'
import { Publisher } from './publisher.ts'
import type { Heard, Recorder } from './recorder.ts'

const JOINS = 10_000
const AT_ONCE = 20
const RATE = 1000
const PUBLISHERS = 4
// Histories are sent in pieces of 100.
const MOST_HISTORY = 120
// Live publications that each hears after what was there before.
const LIVE = 5

// A node may refuse, and then says so, on a machine that has too much to do.
const MOST_REFUSED = JOINS / 100
// A join takes some tenths of a second; one that takes so long has lost something, and is said to be stuck.
const STUCK_MS = 100_000

interface Joined { readonly gaps: number, readonly doubles: number, readonly early: number, readonly ms: number }

/**
 * Joins in one of three ways, hears the beginning, and compares it with what it must be: with `since`, just what comes
 * after it; with `history`, so many at least; plainly, no later than what is published once the connection is open. Then
 * one after the other.
 *
 * @returns nothing if the node did not take it, or asked to come back later
 * @throws if it is stuck
 */
async function join (wsUrl: string, recorder: Recorder, publishers: readonly Publisher[]): Promise<Joined | undefined> {
  const [kind] = shuffled(['plain', 'history', 'since'] as const)
  const amount = below(MOST_HISTORY) + 1
  const before = recorder.end
  const since = { ...recorder.start, offset: before - amount }
  const query = { plain: '', history: `&history=${amount}`, since: `&since=${formatPosition(since)}` }[kind]
  const startedAt = performance.now()
  const ws = new WebSocket(`${wsUrl}?channel=x&positions=true${query}`, { perMessageDeflate: false })
  const heard: Heard[] = []
  let enough = Infinity
  let firstSent: readonly string[] = []
  // Plainly: what was published first once it was open, by whichever publisher, says where it had to begin at the latest.
  const isEnough = (): boolean => kind === 'plain' ? firstSent.every((id) => recorder.offsetOf(id) !== undefined) : heard.length >= amount
  const whole = new Promise<void>((resolve) => {
    ws.on('message', (data: Buffer) => {
      const publication = JSON.parse(data.toString()) as Heard
      heard.push(publication)
      recorder.note(publication.data, publication, `joined with ${kind}`)
      if (publication.offset >= enough && isEnough()) resolve()
    })
  })
  ws.on('error', () => {})
  let stuck = ''
  const patience = setTimeout(() => {
    stuck = `${kind}, ${amount} of ${before}: stuck in state ${ws.readyState}; heard ${heard.length}, the last at ${heard.at(-1)?.offset}, waits for ${enough}, the end is ${recorder.end}`
    ws.terminate()
  }, STUCK_MS)
  const closed = new Promise((resolve) => ws.on('close', resolve)).then(() => {
    clearTimeout(patience)
    if (stuck !== '') throw new Error(stuck)
    return true
  })
  if (await Promise.race([closed, once(ws, 'open').catch(() => {})]) === true) return
  const ms = performance.now() - startedAt
  firstSent = publishers.map(({ next }) => next)
  enough = recorder.end + LIVE
  if (await Promise.race([closed, whole]) === true) return
  ws.terminate()

  const offsets = heard.map(({ offset }) => offset)
  const first = offsets[0] ?? Infinity
  const [earliest, latest] = {
    plain: [0, Math.min(...firstSent.map((id) => recorder.offsetOf(id) ?? Infinity))],
    history: [before - amount + 1, Infinity],
    since: [since.offset + 1, since.offset + 1]
  }[kind] as [number, number]
  const steps = offsets.map((offset, index) => index === 0 ? 1 : offset - (offsets[index - 1] as number))
  const gaps = steps.filter((step) => step > 1).length + (first > latest ? 1 : 0)
  const doubles = steps.filter((step) => step < 1).length
  const early = first < earliest ? 1 : 0
  if (gaps + doubles + early > 0) recorder.fault(`${kind}, ${amount}: the first was due from ${earliest} to ${latest}; heard ${offsets.join(' ')}`)
  return { gaps, doubles, early, ms }
}

async function proveJoining (t: Test, broker: keyof typeof brokers): Promise<void> {
  const nodes = await brokers[broker](t)
  const recorder = await recorderOf(nodes[0].url, 'x')
  const publishers = Array.from({ length: PUBLISHERS }, (_none, index) =>
    new Publisher(recorder, 'x', `p${index}`, [(nodes[index % nodes.length] ?? nodes[0]).url]).start(RATE / PUBLISHERS))
  await recorder.reaches(MOST_HISTORY)
  const startedAt = performance.now()
  const joined: Joined[] = []
  let [left, refused] = [JOINS, 0]
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (left > 0 && refused < MOST_REFUSED) {
      left--
      const result = await join(shuffled(wsUrlsOf(nodes))[0], recorder, publishers)
      if (result) {
        joined.push(result)
        if (joined.length % 1000 === 0) t.comment(`${joined.length} joins by ${((performance.now() - startedAt) / 1000).toFixed(0)} s, ${recorder.end} published`)
      } else {
        left++
        refused++
      }
    }
  }))
  const seconds = (performance.now() - startedAt) / 1000
  await Promise.all(publishers.map((publisher) => publisher.stop()))
  const rate = publishers.reduce((sum, { rate }) => sum + rate, 0)
  const sum = (what: 'gaps' | 'doubles' | 'early'): number => joined.reduce((total, join) => total + join[what], 0)
  const ms = joined.map(({ ms }) => ms).sort((a, b) => a - b)
  t.comment(`${joined.length} joins in ${seconds.toFixed(1)} s at ${rate} messages/s: ${sum('gaps')} gaps, ${sum('doubles')} doubles, ${sum('early')} began too early; to open p50 ${ms[ms.length / 2 | 0]?.toFixed(0)} ms, max ${ms.at(-1)?.toFixed(0)} ms; ${refused} refused`)
  for (const fault of recorder.faults) t.comment(fault)
  t.equal(joined.length, JOINS)
  t.equal(sum('gaps'), 0)
  t.equal(sum('doubles'), 0)
  t.equal(sum('early'), 0, 'nobody heard more of the history than was asked for')
  t.equal(recorder.verdict().conflicting, 0)
  t.ok(refused < MOST_REFUSED, 'they were let in')
}

for (const broker of ['memory', 'Redis'] as const) {
  t.test(`subscribing while 1,000/s are published, 10,000 times, plainly, with history or since a position (${broker}): 0 gaps, 0 doubles`, { timeout: 600_000 }, (t) => proveJoining(t, broker))
}
