import { setImmediate as turn } from 'node:timers/promises'
import pRetry from 'p-retry'
import { newId } from '../hub/connection.ts'

// What waits for a back end that is away; what comes on top of it is lost.
const MAX_EVENTS = 100_000
const MAX_BYTES = 16_777_216
// Of one request. 64 KiB is what servers take that have been told nothing else.
const MAX_BATCH_EVENTS = 500
const MAX_BATCH_BYTES = 61_440
// Pauses between attempts: the first one, up to twice of it by chance, and the longest.
const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 30_000

/** Something that has happened; `time` is when, in milliseconds since 1970. */
export type CallbackEvent =
  | { readonly type: 'disconnect', readonly user: string, readonly client: string, readonly code: number, readonly time: number }
  | { readonly type: 'unsubscribe', readonly channel: string, readonly user: string, readonly client: string, readonly time: number }
  | { readonly type: 'occupied' | 'vacated', readonly channel: string, readonly time: number }
  | { readonly type: 'lost', readonly count: number, readonly time: number }

/** Where the queue reports what goes wrong: any pino-like logger. */
export interface QueueLog { warn (facts: object, sentence: string): void }

/** How much may wait. */
export interface QueueLimits { readonly maxEvents: number, readonly maxBytes: number }

/**
 * Tells the back end what has happened: in order, in batches, one request at a time, and again until it has taken it. What
 * does not find room while it is away is counted, and the count stands where the events are missing.
 */
export class EventQueue {
  readonly #send: (body: string, id: string) => Promise<unknown>
  readonly #log: QueueLog
  readonly #limits: QueueLimits
  readonly #stopping = new AbortController()
  #waiting: { readonly text: string, readonly bytes: number }[] = []
  #bytes = 0
  #lost = 0
  #running: Promise<void> | undefined

  /** @param send delivers a batch, or rejects; `id` is the same when it is repeated */
  constructor (send: (body: string, id: string) => Promise<unknown>, log: QueueLog, limits: QueueLimits = { maxEvents: MAX_EVENTS, maxBytes: MAX_BYTES }) {
    this.#send = send
    this.#log = log
    this.#limits = limits
  }

  add (event: CallbackEvent): void {
    const text = JSON.stringify({ id: newId(), ...event })
    const bytes = Buffer.byteLength(text)
    if (this.#waiting.length >= this.#limits.maxEvents || this.#bytes + bytes > this.#limits.maxBytes) {
      this.lose()
      return
    }
    if (this.#lost > 0) this.#tellLost()
    this.#push(text, bytes)
  }

  /** Counts an event that cannot be told. */
  lose (): void {
    if (this.#lost++ === 0) this.#log.warn({ waiting: this.#waiting.length }, 'events are lost: too many wait for the back end')
    this.#run()
  }

  /** Ends: what waits is sent, each batch once. What then still waits is lost, and the log says how much. */
  async stop (): Promise<void> {
    this.#stopping.abort()
    await this.#running
    try {
      while (this.#waiting.length > 0 || this.#lost > 0) await this.#next().attempt()
    } catch {
      this.#log.warn({ events: this.#waiting.length + this.#lost }, 'the back end was not told of all that has happened')
    }
  }

  #push (text: string, bytes = Buffer.byteLength(text)): void {
    this.#waiting.push({ text, bytes })
    this.#bytes += bytes
    this.#run()
  }

  #tellLost (): void {
    const count = this.#lost
    this.#lost = 0
    this.#log.warn({ events: count }, 'events were lost, and the back end is told how many')
    this.#push(JSON.stringify({ id: newId(), type: 'lost', count, time: Date.now() }))
  }

  #run (): void {
    this.#running ??= this.#sendAll().catch(() => {}).finally(() => { this.#running = undefined })
  }

  async #sendAll (): Promise<void> {
    const { signal } = this.#stopping
    // What happens together goes together.
    await turn()
    while (!signal.aborted && (this.#waiting.length > 0 || this.#lost > 0)) {
      const { count, attempt } = this.#next()
      await pRetry(attempt, {
        retries: Infinity,
        minTimeout: FIRST_PAUSE_MS,
        maxTimeout: LONGEST_PAUSE_MS,
        randomize: true,
        signal,
        onFailedAttempt: ({ error: { message, code }, attemptNumber }: { error: NodeJS.ErrnoException, attemptNumber: number }) => {
          if (!signal.aborted) this.#log.warn({ events: count, attempts: attemptNumber, reason: message || code }, 'events could not be delivered; they are sent again')
        }
      })
    }
  }

  // The next batch. It stays in the queue until it has been taken.
  #next (): { count: number, attempt: () => Promise<void> } {
    if (this.#lost > 0 && this.#waiting.length < this.#limits.maxEvents) this.#tellLost()
    let count = 0
    let bytes = 0
    for (const event of this.#waiting) {
      if (count === MAX_BATCH_EVENTS || (count > 0 && bytes + event.bytes > MAX_BATCH_BYTES)) break
      count++
      bytes += event.bytes
    }
    const id = newId()
    const body = `{"events":[${this.#waiting.slice(0, count).map(({ text }) => text).join(',')}]}`
    const attempt = async (): Promise<void> => {
      await this.#send(body, id)
      this.#waiting = this.#waiting.slice(count)
      this.#bytes -= bytes
    }
    return { count, attempt }
  }
}
