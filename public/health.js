/** How often the server is asked while somebody looks at the page. */
const EVERY = 3_000

/**
 * Asks the server how many are connected, every three seconds while the page is visible: a forgotten tab in the
 * background costs the server nothing.
 */
export class Health {
  #timer
  #onAnswer

  /** @param {(answer: { connections: number, channels: number } | undefined) => void} onAnswer gets undefined when there was none */
  constructor (onAnswer) {
    this.#onAnswer = onAnswer
    document.addEventListener('visibilitychange', () => this.ask())
  }

  /**
   * Asks now, and again every three seconds.
   *
   * @returns {Promise<boolean>} whether the server answered at all
   */
  async ask () {
    clearTimeout(this.#timer)
    if (document.visibilityState === 'hidden') return false
    this.#timer = setTimeout(() => this.ask(), EVERY)
    try {
      const response = await fetch(new URL('health/ready', document.baseURI), { cache: 'no-store', signal: AbortSignal.timeout(EVERY) })
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
