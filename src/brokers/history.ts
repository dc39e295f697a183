import type { Position, Publication } from '../hub/publication.ts'
import type { History, HistoryQuery } from './broker.ts'

/** What a broker has of a channel. */
export interface Stream {
  /** Where the channel stands. */
  readonly position: Position
  /** The stored publications, or the part of them that matters, by offset. */
  readonly publications: readonly Publication[]
  /**
   * Earlier epochs, the latest first, and the offset up to which each of them is still true: when a server comes back
   * with its data, or another takes its place, what it has of an epoch is what that epoch began with.
   */
  readonly earlier?: readonly Position[]
}

/** Answers a query of a channel's history. */
export function historyOf (stream: Stream, query: HistoryQuery): History {
  const { since, limit, reverse = false } = query
  const from = since === undefined ? undefined : placeOf(stream, since)
  const continuous = since === undefined || (from !== undefined && (limit === 0 || reverse || reaches(stream, from)))
  return { publications: select(stream, query, from), position: stream.position, continuous }
}

function select ({ publications, position: { offset } }: Stream, { last, limit, reverse, maxBytes = Infinity }: HistoryQuery, from: number | undefined): Publication[] {
  const after = last === undefined ? from : offset - last
  let wanted = publications.filter(({ position }) => after === undefined || (reverse ? offsetOf(position) < after : offsetOf(position) > after))
  if (reverse) wanted = wanted.toReversed()
  let bytes = 0
  const end = wanted.findIndex(({ data }, index) => index >= limit || ((bytes += data.length) > maxBytes && index > 0))
  return wanted.slice(0, end === -1 ? wanted.length : end)
}

// Which offset a position of an earlier epoch has now; none if it is of no known epoch, or what it counts was lost.
function placeOf ({ position, earlier = [] }: Stream, { epoch, offset }: Position): number | undefined {
  let end = position.offset
  if (epoch === position.epoch) return offset <= end ? offset : undefined
  for (const known of earlier) {
    end = Math.min(end, known.offset)
    if (known.epoch === epoch) return offset <= end ? offset : undefined
  }
}

// Whether everything after an offset is there: what is stored has no holes, so that its beginning tells.
function reaches ({ position, publications }: Stream, from: number): boolean {
  return from === position.offset || publications.some((publication) => offsetOf(publication.position) === from + 1)
}

function offsetOf (position: Position | undefined): number {
  return position?.offset ?? 0
}
