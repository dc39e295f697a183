import { Poll } from './poll.js'

const EVERY = 3_000

/** @typedef {{ connections: number, channels: number, maxMessageBytes?: number }} Answer */

/** Asks the server every three seconds how it is. */
export class Health {
  #poll = new Poll(EVERY, (timeout) => this.#look(timeout))
  #onAnswer

  /** @param {(answer: Answer | undefined) => void} onAnswer gets undefined when there was none */
  constructor (onAnswer) {
    this.#onAnswer = onAnswer
  }

  /** @returns {Promise<boolean>} whether the server answered at all */
  async ask () {
    return await this.#poll.now() ?? false
  }

  async #look (timeout) {
    try {
      const response = await fetch(new URL('health/ready', document.baseURI), { cache: 'no-store', signal: timeout })
      // A node that is not ready answers 503, and may say how many are connected all the same.
      const answer = await response.json().catch(() => undefined)
      this.#onAnswer(Number.isInteger(answer?.connections) ? answer : undefined)
      return true
    } catch {
      this.#onAnswer(undefined)
      return false
    }
  }
}
