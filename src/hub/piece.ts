import type { History, HistoryQuery } from '../brokers/broker.ts'
import type { Position, Publication } from './publication.ts'

/** A part of a channel's history on its way to somebody who joins. */
export interface Piece {
  readonly publications: readonly Publication[]
  readonly continuous: boolean
  /** Where the channel stood. */
  readonly position: Position
  /** Up to where these publications reach. */
  readonly end: Position
  /** Whether what is delivered from now on comes right after them. */
  readonly complete: boolean
}

/**
 * Puts what was read and what was published while it was read together.
 *
 * @param meanwhile what was published, in order
 * @param lossesSince whether publications were lost to the channel in this time
 */
export function pieceOf ({ since }: HistoryQuery, history: History, meanwhile: readonly Publication[], lossesSince: boolean): Piece {
  const { position, continuous } = history
  const publications = continuous ? history.publications.slice() : []
  const end = publications.at(-1)?.position ?? (continuous && since ? { ...position, offset: since.offset } : position)
  let next = position.offset + 1
  let complete = !lossesSince && end.offset === position.offset
  for (const publication of meanwhile) {
    const place = publication.position
    if (place && place.epoch === position.epoch && place.offset < next) continue
    // What was published past the history has no place, and nobody will see it later.
    if (place && (!complete || place.epoch !== position.epoch || place.offset !== next)) {
      complete = false
      continue
    }
    publications.push(publication)
    if (place) next++
  }
  return { publications, continuous, position, end: publications.findLast((publication) => publication.position)?.position ?? end, complete }
}
