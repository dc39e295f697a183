import { formatPosition } from '../../src/hub/publication.ts'
import type { Violation } from './channel-model.ts'
import type { Plan } from './plan.ts'
import type { Received, Recorder, Sequence } from './recorder.ts'

const AROUND_OFFSETS = 3
const AROUND_MS = 3000

/** What happened in a round, in lines of figures. */
export function figuresOf ({ seed, seconds, storage, sharded, nodes }: Plan, recorder: Recorder): string[] {
  const { sent, sequences, faults, cuts, refusals, settledAfter } = recorder
  const publications = Array.from(sent.values())
  const outcomes = publications.map(({ answers }) => ['ok', 'unknown', 'refused'].find((name) => answers.some(({ outcome }) => outcome === name)) ?? 'not told')
  const deliveries = sequences.reduce((sum, { received }) => sum + received.length, 0)
  const connections = sequences.flatMap(({ connections }) => connections)
  return [
    `seed ${seed}: ${nodes.length} nodes, Redis with ${storage}${sharded ? ', sharded Pub/Sub' : ''}, ${seconds} s of faults`,
    `${publications.length} publications (${countsOf(publications.map(({ way }) => way))}); outcome ${countsOf(outcomes)}`,
    `${deliveries} deliveries over ${connections.length} connections; ${cuts} cuts, ${refusals} not let in, closed with ${countsOf(connections.map(({ code }) => String(code)))}`,
    `${faults.length} faults: ${countsOf(faults.map(({ target, kind }) => `${target.split(' ')[0]} ${kind}`))}`,
    `${sequences.filter(({ lostAt }) => lostAt !== undefined).length} losses told, ${recorder.losses.length} times Redis lost data; all had everything ${settledAfter.toFixed(0)} ms after all was whole`
  ]
}

/** What is needed to understand a violation. */
export function storyOf ({ promise, sentence, channel, position, subscriber }: Violation, recorder: Recorder): string[] {
  const lines = [`${promise} broken in ${channel}: ${sentence}`]
  if (!position) return lines
  const sequences = recorder.sequences.filter((sequence) => sequence.channel === channel)
  const times: number[] = []
  for (const sequence of sequences) {
    const near = sequence.received.filter(({ offset }) => Math.abs(offset - position.offset) <= AROUND_OFFSETS)
    if (near.length === 0) continue
    if (sequence.subscriber === subscriber || !subscriber) times.push(...near.map(({ at }) => at))
    lines.push(...sequenceLines(sequence, near))
  }
  const [from, to] = [Math.min(...times) - AROUND_MS, Math.max(...times) + AROUND_MS]
  const faults = recorder.faults.filter(({ at, until = Infinity }) => at <= to && until >= from)
  lines.push('faults around it:', ...faults.map(({ target, kind, at, until }) => `  ${at.toFixed(0)} to ${until?.toFixed(0) ?? '?'} ms: ${target} ${kind}`))
  lines.push('publishers around it:')
  for (const { id, way, sentAt, answers } of recorder.sent.values()) {
    if (answers.some((answer) => answer.position && Math.abs(answer.position.offset - position.offset) <= AROUND_OFFSETS) && id.startsWith(`${channel}/`)) {
      lines.push(`  ${id} (${way}) at ${sentAt.toFixed(0)} ms: ${answers.map(({ at, outcome, position }) => `${outcome} ${position ? formatPosition(position) : ''} at ${at.toFixed(0)}`).join('; ')}`)
    }
  }
  return lines
}

function sequenceLines ({ subscriber, start, connections, lostAt }: Sequence, near: readonly Received[]): string[] {
  const numbers = new Set(near.map(({ connection }) => connection))
  return [
    `${subscriber} (${start})${lostAt === undefined ? '' : `, told of a loss at ${lostAt.toFixed(0)} ms`}:`,
    ...connections.filter(({ number }) => numbers.has(number) || numbers.has(number + 1) || numbers.has(number - 1)).map(({ number, node, query, openedAt, closedAt, code }) =>
      `  connection ${number} to node ${node} ?${query}, ${openedAt?.toFixed(0) ?? 'never open'} to ${closedAt?.toFixed(0) ?? '?'} ms, ${code ?? ''}`),
    `  ${near.map((received) => `${formatPosition(received)} ${received.id} at ${received.at.toFixed(0)} ms on ${received.connection}`).join('; ')}`
  ]
}

function countsOf (names: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return Array.from(counts).toSorted().map(([name, count]) => `${name} ${count}`).join(', ')
}
