import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

const LOOK_AGAIN_MS = 20

/** Requests that are being handled, so that a server that stops can answer them first. */
export class OpenRequests {
  /** How many each socket has. What waits behind another answer is not told that its client has gone: only the socket says so for all. */
  readonly #counts = new Map<Socket, number>()

  /** To be called when all of a request has come. */
  add ({ socket }: IncomingMessage, response: ServerResponse): void {
    if (socket.destroyed) return
    const count = this.#counts.get(socket)
    if (count === undefined) socket.once('close', () => this.#counts.delete(socket))
    this.#counts.set(socket, (count ?? 0) + 1)
    response.once('finish', () => {
      const before = this.#counts.get(socket)
      if (before !== undefined) this.#counts.set(socket, before - 1)
    })
  }

  /** Resolves when all of them are answered, or their clients gone; at a time of `performance.now` in any case. */
  async answered (by: number): Promise<void> {
    while (performance.now() < by && Array.from(this.#counts.values()).some((count) => count > 0)) await wait(LOOK_AGAIN_MS)
  }
}
