import t from 'tap'
import type { Position } from '../../src/hub/publication.ts'
import { planOf } from './plan.ts'
import { Recorder, type Received, type Sent, type Sequence } from './recorder.ts'
import { verdictOf } from './verdict.ts'

const HISTORY_SIZE = 10

function publish (recorder: Recorder, id: string, position: Position, more: Partial<Sent> = {}): Sent {
  const sentAt = 10 * position.offset
  const sent: Sent = { id, channel: 'red', way: 'once', sentAt, answers: [{ at: sentAt + 5, outcome: 'ok', position }], ...more }
  recorder.sent.set(id, sent)
  return sent
}

function received (id: string, position: Position, connection = 1): Received {
  return { ...position, id, at: 10 * position.offset + 6, connection }
}

function subscribe (recorder: Recorder, subscriber: string, all: Received[], start: Sequence['start'] = 'live'): Sequence {
  const connections = [1, 2].map((number) => ({ number, node: 0, query: '', openedAt: number === 1 ? 1 : 35 }))
  const sequence: Sequence = { subscriber, channel: 'red', start, received: all, connections }
  recorder.sequences.push(sequence)
  return sequence
}

const at = (offset: number, epoch = 'A'): Position => ({ epoch, offset })

/** Six publications, which one subscriber has heard over two connections. */
function flawless (): { recorder: Recorder, sequence: Sequence } {
  const recorder = new Recorder([{ name: 'red', historySize: HISTORY_SIZE }])
  const all = [1, 2, 3, 4, 5, 6].map((offset) => received(publish(recorder, `red/${offset}`, at(offset)).id, at(offset), offset <= 3 ? 1 : 2))
  return { recorder, sequence: subscribe(recorder, 'one', all) }
}

type Tamper = (recorder: Recorder, sequence: Sequence) => void

/** The last three come in a new epoch. */
const changeEpoch: Tamper = (recorder, sequence) => {
  for (const offset of [4, 5, 6]) {
    publish(recorder, `red/${offset}`, at(offset, 'B'))
    sequence.received[offset - 1] = received(`red/${offset}`, at(offset, 'B'), 2)
  }
}

const wrongs: readonly (readonly [promise: string, what: string, tamper: Tamper])[] = [
  ['P1', 'who was there does not hear what is sent', (_recorder, { received }) => { received.shift() }],
  ['P1', 'the whole history is without its beginning', (recorder, { received }) => { subscribe(recorder, 'two', received.slice(1), 'history') }],
  ['P1', 'who was there hears only what is in the next epoch', (recorder, sequence) => {
    changeEpoch(recorder, sequence)
    subscribe(recorder, 'two', sequence.received.slice(3))
  }],
  ['P1', 'what was accepted is not in the next epoch, though Redis lost nothing', (recorder, sequence) => {
    changeEpoch(recorder, sequence)
    publish(recorder, 'red/7', at(4))
  }],
  ['P2', 'a hole on one connection', (_recorder, { received }) => { received.splice(1, 1) }],
  ['P3', 'two see different publications at one position', (recorder, { received: all }) => {
    publish(recorder, 'red/7', at(7))
    subscribe(recorder, 'two', [received('red/7', at(1)), ...all.slice(1)])
  }],
  ['P3', 'a publisher is told a position where another publication is', (recorder) => { publish(recorder, 'red/7', at(3)) }],
  ['P4', 'a publication comes twice', (_recorder, { received: all }) => { all.push(received('red/3', at(7), 2)) }],
  ['P5', 'a key has two positions', (recorder) => {
    const { answers } = publish(recorder, 'red/7', at(7), { way: 'retry' })
    answers.push({ at: 90, outcome: 'ok', position: at(8) })
  }],
  ['P6', 'a publication of unknown outcome is there twice', (recorder, { received: all }) => {
    publish(recorder, 'red/7', at(7), { answers: [{ at: 75, outcome: 'unknown' }] })
    all.push(received('red/7', at(7), 2), received('red/7', at(8), 2))
  }],
  ['P6', 'a publication is there that nobody took', (recorder, { received: all }) => {
    publish(recorder, 'red/7', at(7), { answers: [{ at: 75, outcome: 'refused' }] })
    all.push(received('red/7', at(7), 2))
  }],
  ['P6', 'a publication was never sent', (_recorder, { received: all }) => { all.push(received('red/7', at(7), 2)) }],
  ['P7', 'two publications of one connection change places', (recorder, { received: all }) => {
    for (const id of ['red/7', 'red/8']) publish(recorder, id, at(7), { way: 'socket', socket: 'x', answers: [] })
    all.push(received('red/8', at(7), 2), received('red/7', at(8), 2))
  }],
  ['P8', 'a hole after a recovery', (_recorder, { received }) => { received.splice(3, 1) }],
  ['P8', 'a recovery from an epoch that had another past', (recorder, sequence) => {
    changeEpoch(recorder, sequence)
    publish(recorder, 'red/7', at(2, 'B'))
  }],
  ['P8', 'a loss is told, but nothing is lost', (_recorder, sequence) => { sequence.lostAt = 70 }],
  ['P9', 'a publication of another channel', (_recorder, { received: all }) => { all.push(received('blue/1', at(7), 2)) }]
]

for (const [promise, what, tamper] of wrongs) {
  t.test(`the model finds it: ${what}`, async (t) => {
    const { recorder, sequence } = flawless()
    tamper(recorder, sequence)
    const found = verdictOf(recorder)
    t.ok(found.some((violation) => violation.promise === promise), JSON.stringify(found))
  })
}

const rights: readonly (readonly [what: string, tamper: Tamper])[] = [
  ['all that is sent is heard', () => {}],
  ['Redis comes back with its data: the epoch changes, offsets go on, and what was before is of the new epoch too', (recorder, sequence) => {
    changeEpoch(recorder, sequence)
    subscribe(recorder, 'two', sequence.received.map((one) => ({ ...one, epoch: 'B' })), 'history')
  }],
  ['Redis loses data, which is told; what was there comes again in another epoch', (recorder, sequence) => {
    recorder.losses.push(70)
    sequence.lostAt = 71
    const { answers } = publish(recorder, 'red/6', at(6), { way: 'retry' })
    answers.push({ at: 80, outcome: 'ok', position: at(1, 'B') })
    subscribe(recorder, 'one', [received('red/6', at(1, 'B'))], 'history')
  }],
  ['Redis falls back to what it had earlier: who has seen no more than that goes on', (recorder, sequence) => {
    recorder.losses.push(70)
    subscribe(recorder, 'two', [...sequence.received.slice(0, 3), received(publish(recorder, 'red/7', at(4, 'B')).id, at(4, 'B'), 2)])
  }],
  ['a loss is found out late, and told to who has gone on by then', (recorder, sequence) => {
    recorder.losses.push(0)
    sequence.lostAt = 71
  }],
  ['a loss is told to who was away for longer than the history', (recorder, sequence) => {
    sequence.lostAt = 70
    publish(recorder, 'red/7', at(6 + HISTORY_SIZE + 1))
  }]
]

for (const [what, tamper] of rights) {
  t.test(`the model has nothing against it: ${what}`, async (t) => {
    const { recorder, sequence } = flawless()
    tamper(recorder, sequence)
    t.same(verdictOf(recorder), [])
  })
}

t.test('a seed says what is to happen, and a longer round begins like a shorter one', async (t) => {
  const [short, again, long, other] = [planOf(7, 8), planOf(7, 8), planOf(7, 30), planOf(8, 8)]
  t.same(again.nodes, short.nodes)
  t.same(again.redis, short.redis)
  t.same(Array.from({ length: 100 }, () => again.dice.below(1000)), Array.from({ length: 100 }, () => short.dice.below(1000)))
  t.same(long.redis.slice(0, short.redis.length), short.redis)
  for (const [index, { faults, link }] of short.nodes.entries()) {
    t.same(long.nodes[index]?.faults.slice(0, faults.length), faults)
    t.same(long.nodes[index]?.link.slice(0, link.length), link)
  }
  t.notSame(other.nodes, short.nodes)
})
