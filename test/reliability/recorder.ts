import { formatPosition, type Position } from '../../src/hub/publication.ts'
import { until } from '../helper.ts'

/** What a client of `/ws?positions=true` gets for each publication. */
export interface Heard extends Position {
  /** Here: the id of the publication. */
  readonly data: string
}

/** What went wrong, in numbers over all subscribers of a channel. */
export interface Verdict {
  /** Not heard, though published before the end. */
  readonly lost: number
  /** Heard again by a subscriber that had it, or published again. */
  readonly doubled: number
  /** Heard after something newer. */
  readonly disordered: number
  /** Another publication at an offset than somebody else has there, or its publisher was told. */
  readonly conflicting: number
  /** Never sent, or of another epoch. */
  readonly unexpected: number
  /** Times that a subscriber was told that it could not recover (3010). */
  readonly notRecovered: number
}

export const FLAWLESS: Verdict = { lost: 0, doubled: 0, disordered: 0, conflicting: 0, unexpected: 0, notRecovered: 0 }

/** What one subscriber heard, over all of its connections. */
export class Sequence {
  readonly name: string
  /** Where it would recover from. */
  position: Position
  /** Publications that it heard. */
  count = 0
  /** Those among them that had been published before the connection was open: they came out of the history. */
  recovered = 0
  doubled = 0
  disordered = 0
  notRecovered = 0
  readonly #recorder: Recorder
  readonly #missing = new Set<number>()
  #connection = 0
  #openedAt = 0

  constructor (name: string, recorder: Recorder) {
    this.name = name
    this.#recorder = recorder
    this.position = recorder.start
  }

  /** Takes note of a new connection. */
  opened (): void {
    this.#connection++
    this.#openedAt = this.#recorder.end
  }

  /** Takes note of a publication. */
  take ({ epoch, offset, data }: Heard): void {
    this.count++
    const via = `${this.name}, connection ${this.#connection}, ${offset <= this.#openedAt ? 'history' : 'live'}`
    if (offset <= this.#openedAt) this.recovered++
    this.#recorder.note(data, { epoch, offset }, via)
    const last = this.position.offset
    if (offset > last) {
      for (let missing = last + 1; missing < offset; missing++) this.#missing.add(missing)
      if (offset > last + 1) this.#recorder.fault(`${via}: ${offset} right after ${last}`)
      this.position = { epoch, offset }
    } else if (this.#missing.delete(offset)) {
      this.disordered++
      this.#recorder.fault(`${via}: ${offset} only after ${last}`)
    } else {
      this.doubled++
      this.#recorder.fault(`${via}: ${offset} again, after ${last}`)
    }
  }

  /** Takes note of being told that the position is lost; it goes on from where the channel stands. */
  toldNotRecovered (): void {
    this.notRecovered++
    this.#recorder.fault(`${this.name}, connection ${this.#connection}: not recovered from ${formatPosition(this.position)}, the end is ${this.#recorder.end}`)
    this.position = { ...this.position, offset: this.#recorder.end }
  }

  /** How many it has not heard by now. */
  get lost (): number {
    return this.#missing.size + Math.max(0, this.#recorder.end - this.position.offset)
  }
}

/** What was published to a channel in one epoch, and who heard what of it. */
export class Recorder {
  /** Where the channel stood at the beginning. */
  readonly start: Position
  readonly sequences: Sequence[] = []
  /** The first things that went wrong, in words. */
  readonly faults: string[] = []
  /** The latest offset that is known of. */
  end: number
  readonly #ids: (string | undefined)[] = []
  readonly #offsets = new Map<string, number>()
  readonly #sent = new Set<string>()
  readonly #waiting = new Set<{ readonly offset: number, readonly resolve: () => void }>()
  #doubled = 0
  #conflicting = 0
  #strays = 0

  constructor (start: Position) {
    this.start = start
    this.end = start.offset
  }

  subscriber (name: string): Sequence {
    const sequence = new Sequence(name, this)
    this.sequences.push(sequence)
    return sequence
  }

  /** Takes note of what is about to be published. */
  send (id: string): void {
    this.#sent.add(id)
  }

  /** Takes note of where a publication stands, as a subscriber or its publisher was told. */
  note (id: string, { epoch, offset }: Position, teller: string): void {
    if (epoch !== this.start.epoch) {
      this.#strays++
      this.fault(`${teller}: ${id} is of epoch ${epoch}`)
      return
    }
    const known = this.#ids[offset]
    if (known === undefined) this.#place(id, offset, teller)
    else if (known !== id) {
      this.#conflicting++
      this.fault(`${teller}: ${id} at ${offset}, where others have ${known}`)
    }
  }

  /** The id at an offset. */
  at (offset: number): string | undefined {
    return this.#ids[offset]
  }

  /** Where a publication stands, if anybody knows. */
  offsetOf (id: string): number | undefined {
    return this.#offsets.get(id)
  }

  fault (sentence: string): void {
    if (this.faults.length < 10) this.faults.push(sentence)
  }

  /** Resolves when so much has been published. */
  async reaches (offset: number): Promise<void> {
    if (this.end >= offset) return
    await new Promise<void>((resolve) => this.#waiting.add({ offset, resolve }))
  }

  /** Waits until all subscribers have heard everything, or none of them has heard anything for so long, in milliseconds. */
  async settle (ms = 5000): Promise<void> {
    let [lost, since] = [Infinity, performance.now()]
    await until(() => {
      const now = this.sequences.reduce((sum, sequence) => sum + sequence.lost, 0)
      if (now !== lost) [lost, since] = [now, performance.now()]
      return lost === 0 || performance.now() - since > ms
    })
  }

  verdict (): Verdict {
    const sum = (of: (sequence: Sequence) => number): number => this.sequences.reduce((total, sequence) => total + of(sequence), 0)
    const neverSent = Array.from(this.#offsets.keys()).filter((id) => !this.#sent.has(id)).length
    return {
      lost: sum(({ lost }) => lost),
      doubled: this.#doubled + sum(({ doubled }) => doubled),
      disordered: sum(({ disordered }) => disordered),
      conflicting: this.#conflicting,
      unexpected: this.#strays + neverSent,
      notRecovered: sum(({ notRecovered }) => notRecovered)
    }
  }

  #place (id: string, offset: number, teller: string): void {
    if (this.#offsets.has(id)) {
      this.#doubled++
      this.fault(`${teller}: ${id} at ${offset}, and at ${this.#offsets.get(id)} before`)
    }
    this.#ids[offset] = id
    this.#offsets.set(id, offset)
    if (offset <= this.end) return
    this.end = offset
    for (const waiting of this.#waiting) {
      if (waiting.offset > offset) continue
      this.#waiting.delete(waiting)
      waiting.resolve()
    }
  }
}
