import { setTimeout } from 'node:timers/promises'
import type { Position } from '../../src/hub/publication.ts'
import { KEY, post } from '../routes/api-client.ts'
import type { Recorder } from './recorder.ts'

const PAUSE_MS = 25
// Caught up with at most, in a turn. On a machine that cannot take the rate it publishes more slowly, so that it, too,
// comes to an end: else what each client has yet to read grows faster than it can read.
const MOST_LATE_MS = 2 * PAUSE_MS
// Whoever is not heard for so long has no node any more, as after a test that failed.
const GIVE_UP_MS = 60_000

/** What a node answers to one command of a batch. */
export interface PublishReply { readonly publish?: Position, readonly error?: { readonly code: number } }

/** One publication of a batch. */
export interface PublishCommand { readonly channel: string, readonly data: string, readonly idempotency_key?: string }

/**
 * Publishes through the server API of a node.
 *
 * @param parallel whether all at once, or each when the one before has its place
 * @throws if the node does not answer: what has been published is not known then
 */
export async function publishAll (url: string, commands: readonly PublishCommand[], parallel: boolean): Promise<PublishReply[]> {
  const body = JSON.stringify({ commands: commands.map((command) => ({ publish: command })), parallel })
  const { status, json } = await post(`${url}/api/batch`, body, { 'x-api-key': KEY })
  if (status !== 200) throw new Error(`status ${status}`)
  return json.replies as PublishReply[]
}

/**
 * Publishes so many messages per second, or as many as the machine can take, until it is stopped. What a node did not
 * confirm is published again, with the same idempotency key, on the next one.
 */
export class Publisher {
  readonly #recorder: Recorder
  readonly #channel: string
  readonly #name: string
  readonly #urls: readonly string[]
  #count = 0
  #retried = 0
  #seconds = 0
  #stopping = false
  #running: Promise<void> | undefined

  /** @param urls of nodes; the first is used until it fails */
  constructor (recorder: Recorder, channel: string, name: string, urls: readonly string[]) {
    this.#recorder = recorder
    this.#channel = channel
    this.#name = name
    this.#urls = urls
  }

  /** Id of what it has not sent yet. */
  get next (): string {
    return `${this.#name}-${this.#count}`
  }

  /** How often it was not known whether something had been published. */
  get retried (): number {
    return this.#retried
  }

  /** Messages per second that it came to. */
  get rate (): number {
    return Math.round(this.#count / this.#seconds)
  }

  start (rate: number): this {
    this.#running = this.#run(rate)
    return this
  }

  /** Resolves when everything has been confirmed. */
  async stop (): Promise<void> {
    this.#stopping = true
    await this.#running
  }

  async #run (rate: number): Promise<void> {
    const startedAt = performance.now()
    let [due, turnAt] = [0, startedAt]
    while (!this.#stopping) {
      await setTimeout(PAUSE_MS)
      const now = performance.now()
      due += Math.min(now - turnAt, MOST_LATE_MS) * rate / 1000
      turnAt = now
      const ids: string[] = []
      for (; this.#count < Math.floor(due); this.#count++) ids.push(this.next)
      if (ids.length > 0) await this.#publish(ids)
    }
    this.#seconds = (performance.now() - startedAt) / 1000
  }

  async #publish (ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#recorder.send(id)
    let open = ids
    const startedAt = performance.now()
    for (let attempt = 0; open.length > 0; attempt++) {
      if (performance.now() - startedAt > GIVE_UP_MS) throw new Error(`no node confirmed ${open.join(' ')}`)
      if (attempt > 0) await setTimeout(PAUSE_MS)
      open = await this.#attempt(open, this.#urls[this.#retried % this.#urls.length] as string)
      if (open.length > 0) this.#retried++
    }
  }

  /** Returns those that were not confirmed. */
  async #attempt (ids: readonly string[], url: string): Promise<string[]> {
    const commands = ids.map((id) => ({ channel: this.#channel, data: id, idempotency_key: id }))
    try {
      const replies = await publishAll(url, commands, true)
      return ids.filter((id, index) => {
        const publish = replies[index]?.publish
        if (publish) this.#recorder.note(id, publish, this.#name)
        return !publish
      })
    } catch {
      return ids.slice()
    }
  }
}
