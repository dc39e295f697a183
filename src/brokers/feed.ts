import type { Position, Publication } from '../hub/publication.ts'
import type { BrokerListener, History, HistoryQuery } from './broker.ts'

// So much is fetched at once when something is missing.
const PAGE = 500
const PAGE_BYTES = 4_194_304
// What may wait while that is fetched; above it, it is fetched too.
const MAX_WAITING = 2000

/** What a node hears of a channel at once. */
export interface Heard {
  readonly epoch: string
  readonly publications: readonly Publication[]
}

/**
 * One channel as a node hears it through a way that may lose things. What it hands on is whole and in order: what is
 * missing is fetched from the history before anything newer goes on, and only what is no longer there is given up, aloud.
 */
export class Feed {
  readonly #channel: string
  readonly #read: (query: HistoryQuery) => Promise<History>
  readonly #listener: BrokerListener
  #position: Position | undefined
  #waiting: Heard[] = []
  #fetching: Promise<void> | undefined
  #sure = false
  /** How often it was said that the fast way was interrupted. */
  #doubts = 0
  /** When it was last known to be whole, on the monotonic clock in milliseconds. */
  checkedAt = 0

  /** @param read asks the broker's store */
  constructor (channel: string, read: (query: HistoryQuery) => Promise<History>, listener: BrokerListener) {
    this.#channel = channel
    this.#read = read
    this.#listener = listener
  }

  /** Whether it has handed on all that it knows of. */
  get live (): boolean {
    return this.#sure && !this.fetching
  }

  /** Whether it reads the history now. */
  get fetching (): boolean {
    return this.#fetching !== undefined
  }

  /** Where it stands, if that is known. */
  get offset (): number | undefined {
    return this.#position?.offset
  }

  /** Whether it has handed on everything up to a position. */
  reached ({ epoch, offset }: Position): boolean {
    return this.live && this.#position?.epoch === epoch && this.#position.offset >= offset
  }

  /** Takes what came by the fast way. */
  receive (heard: Heard): void {
    if (this.live && this.#continue(heard)) return
    this.#sure = false
    this.#waiting.push(heard)
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift()
    this.fetch().catch(() => {})
  }

  /** Takes what somebody else has read of the history, if it joins on; whether it did. */
  offer (heard: Heard): boolean {
    return this.live && this.#continue(heard)
  }

  /** Says that the fast way was interrupted: nothing goes on before the history has been looked at. */
  doubt (): void {
    this.#doubts++
    this.#sure = false
  }

  /** The same, and looks at once. */
  check (): void {
    this.doubt()
    this.fetch().catch(() => {})
  }

  /**
   * Fetches what is missing, if anything, and hands it on.
   *
   * @throws what reading the history throws; the feed stays where it is then, and fetches again when more comes
   */
  fetch (): Promise<void> {
    this.#fetching ??= this.#fetchAll().finally(() => { this.#fetching = undefined })
    return this.#fetching
  }

  async #fetchAll (): Promise<void> {
    do {
      this.#sure = false
      const doubts = this.#doubts
      const history = await this.#read(this.#position ? { since: this.#position, limit: PAGE, maxBytes: PAGE_BYTES } : { limit: 0 })
      // What was read before it was interrupted says nothing of what came after.
      this.#sure = this.#catchUp(history) && doubts === this.#doubts
      while (this.#sure && this.#waiting.length > 0) this.#sure = this.#continue(this.#waiting.shift() as Heard)
    } while (!this.#sure)
    this.checkedAt = performance.now()
  }

  // Whether the feed is now where the channel stood.
  #catchUp ({ publications, position, continuous }: History): boolean {
    if (!continuous) {
      this.#position = position
      this.#listener.lost(this.#channel, position)
    } else {
      const offset = publications.at(-1)?.position?.offset ?? this.#position?.offset ?? position.offset
      this.#position = { epoch: position.epoch, offset }
      if (publications.length > 0) this.#listener.deliver(this.#channel, publications)
    }
    return this.#position.offset === position.offset
  }

  // Whether what was heard joins on to what was handed on; what has been handed on already is left out.
  #continue ({ epoch, publications }: Heard): boolean {
    if (!this.#position || epoch !== this.#position.epoch) return false
    let { offset } = this.#position
    const news: Publication[] = []
    for (const publication of publications) {
      const number = publication.position?.offset ?? offset
      if (number > offset + 1) return false
      if (publication.position && number <= offset) continue
      offset = number
      news.push(publication)
    }
    this.#position = { epoch, offset }
    this.checkedAt = performance.now()
    if (news.length > 0) this.#listener.deliver(this.#channel, news)
    return true
  }
}
