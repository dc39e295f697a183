import type { Position } from '../../src/hub/publication.ts'
import type { ChannelFacts, Recorder, Sent, Sequence } from './recorder.ts'

/** A promise that was broken. */
export interface Violation {
  /** Which promise, by its number in test/chaos/verdict.ts. */
  readonly promise: string
  readonly sentence: string
  readonly channel: string
  readonly position?: Position
  readonly subscriber?: string
}

/** What a publisher was told of a publication. */
export interface Accepted { readonly sent: Sent, readonly at: number, readonly position: Position }

/**
 * What all that was heard and answered says about one channel: which publication has which position. Whoever saw a
 * position first says so; who saw something else there is a violation.
 */
export class ChannelModel {
  readonly facts: ChannelFacts
  readonly sequences: readonly Sequence[]
  readonly sent: readonly Sent[]
  readonly accepted: readonly Accepted[]
  readonly conflicts: Violation[] = []
  /** Positions of each publication. */
  readonly places = new Map<string, Position[]>()
  readonly #ids = new Map<string, Map<number, string>>()
  readonly #seenAt = new Map<string, number>()
  readonly #losses: readonly number[]
  #top = 0

  constructor (facts: ChannelFacts, { sequences, sent, losses }: Recorder) {
    this.facts = facts
    this.sequences = sequences.filter(({ channel }) => channel === facts.name)
    this.sent = Array.from(sent.values()).filter(({ channel }) => channel === facts.name)
    this.accepted = this.sent.flatMap((sent) => sent.answers.flatMap(({ position, at }) => position ? [{ sent, at, position }] : []))
    this.#losses = losses
    for (const { sent: { id }, at, position } of this.accepted) this.#note(id, position, at, 'its publisher')
    for (const { subscriber, received } of this.sequences) {
      for (const { id, at, ...position } of received) this.#note(id, position, at, subscriber)
    }
  }

  /** The highest offset of all. */
  get top (): number {
    return this.#top
  }

  /** Whether the history may have been without its beginning at some time. */
  get isTrimmed (): boolean {
    return this.#top > this.facts.historySize
  }

  /** Which publication has a position, if anybody knows. */
  idAt (epoch: string, offset: number): string | undefined {
    return this.#ids.get(epoch)?.get(offset)
  }

  /** When anything of an epoch was first seen. */
  firstSeen (epoch: string): number {
    return this.#seenAt.get(epoch) ?? Infinity
  }

  /** The first offset up to one about which two epochs do not say the same, if there is one. */
  difference (one: string, other: string, upTo: number): number | undefined {
    for (const [offset, id] of this.#ids.get(one) ?? []) {
      const otherId = this.idAt(other, offset)
      if (offset <= upTo && otherId !== undefined && otherId !== id) return offset
    }
  }

  /** Whether Redis lost data after a moment. */
  lostAfter (at: number): boolean {
    return this.#losses.some((loss) => loss >= at)
  }

  #note (id: string, { epoch, offset }: Position, at: number, who: string): void {
    this.#top = Math.max(this.#top, offset)
    let ids = this.#ids.get(epoch)
    if (!ids) this.#ids.set(epoch, ids = new Map())
    const known = ids.get(offset)
    if (known === undefined) {
      ids.set(offset, id)
      const places = this.places.get(id)
      if (places) places.push({ epoch, offset })
      else this.places.set(id, [{ epoch, offset }])
    } else if (known !== id) {
      this.conflicts.push({ promise: 'P3', channel: this.facts.name, position: { epoch, offset }, subscriber: who, sentence: `${who} saw ${id} where others saw ${known}` })
    }
    this.#seenAt.set(epoch, Math.min(at, this.firstSeen(epoch)))
  }
}
