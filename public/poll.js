/**
 * Asks the server again and again while somebody looks at the page: a forgotten tab in the background costs the
 * server nothing.
 */
export class Poll {
  /** Milliseconds from one question to the next. */
  every
  #ask
  #running = false
  #timer

  /**
   * @template Answer
   * @param {number} every milliseconds
   * @param {(timeout: AbortSignal) => Promise<Answer>} ask
   */
  constructor (every, ask) {
    this.every = every
    this.#ask = ask
    document.addEventListener('visibilitychange', () => { if (this.#running) this.now() })
  }

  /** Asks now, and from now on. @returns {Promise<Answer | undefined>} undefined while nobody looks */
  async now () {
    this.stop()
    this.#running = true
    if (document.visibilityState === 'hidden') return
    this.#timer = setTimeout(() => this.now(), this.every)
    return this.#ask(AbortSignal.timeout(this.every))
  }

  stop () {
    this.#running = false
    clearTimeout(this.#timer)
  }
}
