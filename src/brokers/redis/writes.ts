import type { Log } from './availability.ts'

// It answers, but it is full, cannot save, has too few replicas, is one itself, or has an ACL that forbids it.
const REFUSAL = /\b(?:OOM|MISCONF|NOREPLICAS|READONLY|NOPERM|can't (?:run|access|publish))\b/

/** Whether Redis writes what it is told to; the log is told of each change once. */
export class Writes {
  readonly #attempt: (channel: string) => Promise<unknown>
  readonly #log: Log
  #refused: { readonly channel: string, readonly reason: string } | undefined

  /** @param attempt writes something for a channel that changes nothing */
  constructor (attempt: (channel: string) => Promise<unknown>, log: Log) {
    this.#attempt = attempt
    this.#log = log
  }

  /** Why it does not; nothing if it does, as far as is known. */
  get refusal (): string | undefined {
    return this.#refused?.reason
  }

  /** Takes note of why something could not be written. */
  failed (channel: string, { message }: Error): void {
    if (this.#refused || !REFUSAL.test(message)) return
    this.#refused = { channel, reason: message.replace(/\.$/, '') }
    this.#log.warn(`Redis refuses to write: ${this.#refused.reason}. Trying again until it does`)
  }

  /** Takes note that something was written. */
  succeeded (channel: string): void {
    if (this.#refused?.channel === channel) this.#end()
  }

  /** Looks whether it writes again: who is not ready is sent no clients, who would publish something. */
  async look (): Promise<void> {
    if (!this.#refused) return
    try {
      await this.#attempt(this.#refused.channel)
      this.#end()
    } catch (error) {
      // Why it does not do this one thing says nothing of publications: the next one will show.
      if (!REFUSAL.test((error as Error).message)) this.#refused = undefined
    }
  }

  #end (): void {
    this.#refused = undefined
    this.#log.info('Redis writes again')
  }
}
