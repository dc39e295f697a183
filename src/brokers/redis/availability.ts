import { fanfareError } from '../../errors.ts'
import { CLOSED } from './link.ts'

/** Where the broker reports its troubles. */
export interface Log {
  info (sentence: string): void
  warn (sentence: string): void
}

/** Whether Redis can be used, and since when not; the log is told of each change once. */
export class Availability {
  readonly #log: Log
  #reason: string | undefined = 'it has not answered yet'
  #awaySince: number | undefined

  constructor (log: Log) {
    this.#log = log
  }

  /** Why it cannot be used; nothing if it can. */
  get reason (): string | undefined {
    return this.#reason
  }

  /** @returns whether that is news */
  up (): boolean {
    if (this.#reason === undefined) return false
    if (this.#awaySince !== undefined) this.#log.info(`Redis is back after ${((performance.now() - this.#awaySince) / 1000).toFixed(1)} s`)
    this.#reason = undefined
    this.#awaySince = undefined
    return true
  }

  down (reason: string): void {
    if (this.#awaySince === undefined) this.#log.warn(`Redis is away: ${reason}. Trying again until it is back`)
    this.#awaySince ??= performance.now()
    // An error says more than the end of the connection that comes after it.
    if (this.#reason === undefined || reason !== CLOSED) this.#reason = reason
  }
}

/** Waits for work; whatever goes wrong with it is FANFARE_UNAVAILABLE. */
export async function available<Result> (work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw fanfareError('FANFARE_UNAVAILABLE', (error as Error).message)
  }
}
