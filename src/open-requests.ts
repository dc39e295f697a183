import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'

/** Requests that are being handled, so that a server that stops can answer them first. */
export class OpenRequests {
  readonly #responses = new Set<ServerResponse>()

  /** To be called when all of a request has come. */
  add (response: ServerResponse): void {
    this.#responses.add(response)
    response.once('close', () => this.#responses.delete(response))
  }

  /** Resolves when all of them are answered, or their clients gone; after so many milliseconds in any case. */
  async answered (milliseconds: number): Promise<void> {
    const over = new AbortController()
    const all = Promise.all(Array.from(this.#responses, (response) => once(response, 'close')))
    await Promise.race([all, wait(milliseconds, undefined, { signal: over.signal }).catch(() => {})])
    over.abort()
  }
}
