import { formatPosition } from '../../src/hub/publication.ts'
import { ChannelModel, type Violation } from './channel-model.ts'
import type { Received, Recorder, Sent, Sequence } from './recorder.ts'

// A server of a channel knows this many epochs before the present one.
const EPOCHS_KNOWN = 4

/**
 * Compares what happened with what is promised:
 *
 * - P1: nothing that was accepted is missing, unless a loss was told, or Redis lost it and the epoch changed.
 * - P2: on one connection offsets go up by 1, through a change of the epoch too.
 * - P3: a position is the same publication for all, its publisher too.
 * - P4: nobody gets a publication twice without having been told of a loss.
 * - P5: a publication that is repeated with its key has one position, as long as Redis keeps it.
 * - P6: a publication is there at most once; not at all if there was nobody to take it.
 * - P7: what one connection sends comes in that order.
 * - P8: who comes back with a position, and is not told of a loss, has everything; who is told of one has lost something, or may have, as
 *   Redis has lost something not long before.
 * - P9: nothing comes from another channel.
 */
export function verdictOf (recorder: Recorder): Violation[] {
  return recorder.channels.flatMap((facts) => {
    const model = new ChannelModel(facts, recorder)
    return [
      ...model.conflicts,
      ...model.sequences.flatMap((sequence) => [...beginOf(model, sequence), ...courseOf(model, sequence), ...endOf(model, sequence, recorder)]),
      ...publicationsOf(model),
      ...ordersOf(model)
    ]
  })
}

function violation (promise: string, { channel, subscriber }: Sequence, position: Received, sentence: string): Violation {
  return { promise, channel, subscriber, position, sentence: `${subscriber} ${sentence}` }
}

// Who comes without a position hears all that is sent from then on; who asks for the whole history, all that there is.
function beginOf (model: ChannelModel, sequence: Sequence): Violation[] {
  const { start, received, connections } = sequence
  const [first] = received
  const openedAt = connections[0]?.openedAt
  if (!first || openedAt === undefined) return []
  if (start === 'history') {
    return first.offset === 1 || model.isTrimmed ? [] : [violation('P1', sequence, first, `asked for all of the history, which began with ${formatPosition(first)}`)]
  }
  const ids = new Set(received.map(({ id }) => id))
  return model.accepted
    .filter(({ sent, at, position }) => sent.sentAt > openedAt && !ids.has(sent.id) &&
      (position.epoch === first.epoch ? position.offset < first.offset : at < model.firstSeen(first.epoch) && !model.lostAfter(sent.sentAt)))
    .map(({ sent, position }) => violation('P1', sequence, first, `was there at ${openedAt.toFixed(0)} ms, but missed ${sent.id} at ${formatPosition(position)} of ${sent.sentAt.toFixed(0)} ms`))
}

function courseOf (model: ChannelModel, sequence: Sequence): Violation[] {
  const violations: Violation[] = []
  const ids = new Set<string>()
  let before: Received | undefined
  for (const next of sequence.received) {
    const wrong = (promise: string, sentence: string): void => { violations.push(violation(promise, sequence, next, sentence)) }
    if (ids.has(next.id)) wrong('P4', `got ${next.id} twice`)
    ids.add(next.id)
    if (!next.id.startsWith(`${sequence.channel}/`)) wrong('P9', `got ${next.id} of another channel`)
    if (before && next.offset !== before.offset + 1) {
      wrong(next.connection === before.connection ? 'P2' : 'P8', `got ${formatPosition(next)} after ${formatPosition(before)}`)
    }
    if (before && next.epoch !== before.epoch) violations.push(...passageOf(model, sequence, before, next))
    before = next
  }
  return violations
}

// From one epoch to the next, without having been told of a loss: both have the same past.
function passageOf (model: ChannelModel, sequence: Sequence, before: Received, next: Received): Violation[] {
  const passage = `went on from ${formatPosition(before)} to ${formatPosition(next)}`
  const differs = model.difference(before.epoch, next.epoch, before.offset)
  const missed = model.accepted.filter(({ sent, position }) => position.epoch === before.epoch && position.offset > before.offset &&
    model.idAt(next.epoch, position.offset) !== sent.id && !model.lostAfter(sent.sentAt))
  return [
    ...differs === undefined ? [] : [violation('P8', sequence, next, `${passage}, but ${differs} is ${model.idAt(before.epoch, differs)} in one and ${model.idAt(next.epoch, differs)} in the other`)],
    ...missed.map(({ sent, position }) => violation('P1', sequence, next, `${passage} without ${sent.id} at ${formatPosition(position)}`))
  ]
}

// A node that was away finds out what Redis has lost when it is back, or when it looks at a quiet channel; then all are told.
const FOUND_OUT_MS = 15_000

// Who is told of a loss must have lost something: Redis has, or the channel has gone on by more than its history.
function endOf (model: ChannelModel, sequence: Sequence, { faults }: Recorder): Violation[] {
  const { lostAt, received, connections } = sequence
  if (lostAt === undefined) return []
  const last = received.at(-1)
  const since = last === undefined ? connections[0]?.openedAt ?? 0 : model.sent.find(({ id }) => id === last.id)?.sentAt ?? 0
  const epochs = faults.filter(({ kind }) => kind === 'restart' || kind === 'rollback' || kind === 'failover').length
  if (model.lostAfter(since - FOUND_OUT_MS) || epochs > EPOCHS_KNOWN) return []
  if (last === undefined || model.top - last.offset > model.facts.historySize) return []
  return [violation('P8', sequence, last, `was told of a loss after ${formatPosition(last)} at ${lostAt.toFixed(0)} ms, though nothing was lost`)]
}

function publicationsOf (model: ChannelModel): Violation[] {
  const { facts: { name }, places } = model
  const known = new Map(model.sent.map((sent) => [sent.id, sent]))
  const strangers = Array.from(places.keys()).filter((id) => !known.has(id))
  return [
    ...strangers.map((id) => ({ promise: 'P6', channel: name, sentence: `${id} was never sent` })),
    ...model.sent.flatMap((sent) => timesOf(model, sent))
  ]
}

function timesOf (model: ChannelModel, sent: Sent): Violation[] {
  const places = model.places.get(sent.id) ?? []
  const [position] = places
  if (!position) return []
  const facts = { channel: sent.channel, position }
  const where = places.map(formatPosition).join(', ')
  if (sent.answers.length > 0 && sent.answers.every(({ outcome }) => outcome === 'refused')) {
    return [{ ...facts, promise: 'P6', sentence: `${sent.id} is at ${where}, though nobody was there to take it` }]
  }
  const repeated = sent.way === 'retry' || sent.way === 'twice'
  if (repeated && model.lostAfter(sent.sentAt)) return []
  const answers = new Set(sent.answers.flatMap(({ position }) => position ? [formatPosition(position)] : []))
  // The same offset in another epoch is the same place, seen after Redis was started again.
  const offsets = new Set(places.map(({ offset }) => offset))
  return [
    ...answers.size > 1 ? [{ ...facts, promise: 'P5', sentence: `${sent.id} was given ${Array.from(answers).join(' and ')}` }] : [],
    ...offsets.size > 1 ? [{ ...facts, promise: 'P6', sentence: `${sent.id} (${sent.way}) is at ${where}` }] : []
  ]
}

function ordersOf (model: ChannelModel): Violation[] {
  const latest = new Map<string, { id: string, position: { epoch: string, offset: number } }>()
  return model.sent.flatMap(({ id, socket, channel }) => {
    const position = model.places.get(id)?.[0]
    if (socket === undefined || position === undefined) return []
    const key = `${socket} ${position.epoch}`
    const before = latest.get(key)
    latest.set(key, { id, position })
    if (!before || before.position.offset < position.offset) return []
    return [{ promise: 'P7', channel, position, sentence: `${socket} sent ${before.id} before ${id}, but they are at ${formatPosition(before.position)} and ${formatPosition(position)}` }]
  })
}
