/** How much may be sent ahead of what has come back, in bytes. */
const LIMIT_BYTES = 256 * 1024
/** What a message counts beyond its bytes, so that empty ones are not free. */
const OVERHEAD_BYTES = 32

/** How an EchoWindow differs from the usual one. */
export interface EchoWindowOptions {
  /** Whether messages may come back at all; true by default. */
  echoes?: boolean
  /** How long to wait for the very first message to come back, in milliseconds; 1000 by default. */
  firstTimeout?: number
  /** How long to wait for the next one, from a server that has sent some back, in milliseconds; 10,000 by default. */
  nextTimeout?: number
}

/** What an EchoWindow asks of its owner. */
export interface EchoWindowEvents {
  /** Whether what the server sends is being read at present: if not, silence means nothing. */
  isReading: () => boolean
  /** Called when waiting has been given up, so that there is room. */
  onGivenUp: (hadEchoed: boolean) => void
}

/**
 * Keeps count of one's own messages until the server has sent them back, so that a sender does not run further ahead
 * of its server than the server's buffers carry. Messages come back in the order they were sent, among those of others,
 * and carry no mark: they are known by their content. Someone else's message with the very same content may be taken
 * for one's own, which makes the count a little early, never late.
 *
 * A server that sends nothing back for a second, or stops doing so for ten, is no longer waited for.
 */
export class EchoWindow {
  readonly #events: EchoWindowEvents
  readonly #firstTimeout: number
  readonly #nextTimeout: number
  #state: 'unknown' | 'echoing' | 'silent' = 'unknown'
  #waiting: Buffer[] = []
  #bytes = 0
  #returned = 0
  #timer: NodeJS.Timeout | undefined
  // Of a silent server: the first message that did not come back, and the last one sent. If the first returns
  // after all, the server was only slow; and once the last one has returned, all have.
  #probe: Buffer | undefined
  #last: Buffer | undefined

  /**
   * @param events How to ask and tell the owner.
   * @param options Whether messages come back, and how long to wait for them.
   */
  constructor (events: EchoWindowEvents, { echoes = true, firstTimeout = 1000, nextTimeout = 10_000 }: EchoWindowOptions = {}) {
    this.#events = events
    this.#firstTimeout = firstTimeout
    this.#nextTimeout = nextTimeout
    if (!echoes) this.#state = 'silent'
  }

  /** How many messages are known not to have come back, from a server that does send them back. */
  get missing (): number {
    return this.#state === 'echoing' ? this.#waiting.length : 0
  }

  /** Whether nothing is being waited for. */
  get settled (): boolean {
    return this.#waiting.length === 0
  }

  /**
   * Whether a message may be sent now.
   *
   * @param size Its bytes.
   */
  hasRoom (size: number): boolean {
    return this.settled || this.#bytes + size + OVERHEAD_BYTES <= LIMIT_BYTES
  }

  /**
   * Notes a message that has been sent.
   *
   * @param data Its content, which must not change afterwards.
   */
  sent (data: Buffer): void {
    this.#last = data
    if (this.#state === 'silent') return
    this.#push(data)
    if (this.#timer === undefined) this.#startClock()
  }

  /**
   * Compares a received message with the ones that are being waited for.
   *
   * @param data Its content.
   */
  received (data: Buffer): void {
    if (this.#state === 'silent') return this.#receivedLate(data)
    const oldest = this.#waiting[0]
    if (oldest === undefined || !oldest.equals(data)) return
    this.#waiting.shift()
    this.#bytes -= oldest.length + OVERHEAD_BYTES
    this.#returned++
    const isFirst = this.#state === 'unknown'
    this.#state = 'echoing'
    if (this.settled) this.stop()
    else if (isFirst) this.#startClock()
    else this.#timer?.refresh()
  }

  /** Stops the clock: the connection has ended, or nothing is being waited for. */
  stop (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #push (data: Buffer): void {
    this.#waiting.push(data)
    this.#bytes += data.length + OVERHEAD_BYTES
  }

  #receivedLate (data: Buffer): void {
    if (this.#probe === undefined || !this.#probe.equals(data)) return
    this.#state = 'echoing'
    if (this.#last !== undefined && this.#last !== this.#probe) {
      this.#push(this.#last)
      this.#startClock()
    }
    this.#probe = undefined
  }

  #lookAgain (): void {
    const { isReading } = this.#events
    const returned = this.#returned
    // A process that got no time for a second finds the timer due and the messages unread: those go first.
    setImmediate(() => {
      if (this.#timer === undefined) return
      if (returned !== this.#returned || !isReading()) this.#startClock()
      else this.#giveUp()
    })
  }

  #startClock (): void {
    this.stop()
    const timeout = this.#state === 'echoing' ? this.#nextTimeout : this.#firstTimeout
    this.#timer = setTimeout(() => this.#lookAgain(), timeout)
  }

  #giveUp (): void {
    const hadEchoed = this.#state === 'echoing'
    this.stop()
    this.#state = 'silent'
    this.#probe = this.#waiting[0]
    this.#waiting = []
    this.#bytes = 0
    this.#events.onGivenUp(hadEchoed)
  }
}
