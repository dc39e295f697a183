import { ReplyError } from '../reply-errors.ts'

const MAX_REPLY_BYTES = 33_554_432

/** What the replies to one request may take in memory, all together. */
export class ReplyBudget {
  readonly #most: number
  #bytes: number

  /** @param most bytes that they may take */
  constructor (most = MAX_REPLY_BYTES) {
    this.#most = most
    this.#bytes = most
  }

  /**
   * Takes what is about to be made.
   *
   * @param bytes 0: only asks whether there is anything left
   * @throws {ReplyError} 106 if there is not as much left
   */
  take (bytes: number): void {
    if (bytes > this.#bytes) this.refuse()
    this.#bytes -= bytes
  }

  /** What is left; 1 at least. */
  get left (): number {
    return Math.max(1, this.#bytes)
  }

  /** @throws {ReplyError} 106 */
  refuse (): never {
    throw new ReplyError(106, `The replies to one request may have ${this.#most} bytes in all: ask for less at once`)
  }

  /** Counts what has been made. */
  add (bytes: number): void {
    this.#bytes -= bytes
  }
}
