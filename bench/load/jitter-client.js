/**
 * A client that is cut off every now and then and comes back, to any of the nodes, with the position it had reached.
 *
 * The plain protocol has no acknowledgement but one's own message that comes back. So the client keeps what it has said until it
 * hears it. Once it is back and has heard all that there was, it says again what went under with its connection, and then
 * what it had to say while it was away.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from './connection.js'
import { clientFrame } from './frames.js'
import { plain } from './protocols/plain.js'

const RETRY = 1000
/** In a channel where nobody else says anything a client takes it after this time that it has heard everything. */
const SILENCE = 1000
const INSUFFICIENT_STATE = 3010

/**
 * What happens to the clients of a run.
 * @typedef {object} Events
 * @property {number} cuts
 * @property {number} returns
 * @property {number} recoveries returns after which the next message was the one after the last
 * @property {number} insufficient connections that were closed with 3010
 * @property {number} saidAgain messages that went under with a connection
 * @property {number} refused attempts to connect that failed
 * @property {string[]} closings all else that a server closed a connection for
 *
 * @typedef {object} Surroundings
 * @property {import('./jitter.js').JitterJob & import('./main.js').Job} job
 * @property {import('./jitter-ledger.js').Ledger} ledger
 * @property {Events} events
 * @property {() => number} now in microseconds
 * @property {() => void} chunk to be called for each read
 */

export class JitterClient {
  /** @type {Connection | undefined} */
  #connection
  /** @type {{ number: number, text: string }[]} what it has said and not heard yet */
  #unheard = []
  /** @type {{ number: number, text: string }[]} what it will say when it is back */
  #queue = []
  /** Whether it hears all there is, and so may speak. */
  #current = false
  /** @type {NodeJS.Timeout | undefined} */
  #silence
  /** @type {NodeJS.Timeout | undefined} of the next cut, or of coming back */
  #timer
  /** When it was connected, in microseconds. */
  #since = Infinity
  #returning = false
  #forgetful = false
  #gone = false
  #cutting = false
  #ended = false

  /**
   * @param {number} index
   * @param {Surroundings} surroundings
   */
  constructor (index, surroundings) {
    this.index = index
    this.surroundings = surroundings
    const { chunk } = surroundings
    this.listener = {
      chunk,
      afterRead () {},
      message: (_connection, buffer, start, end) => this.#hear(JSON.parse(buffer.toString('latin1', start, end))),
      lost: (_connection, reason) => this.#lost(reason)
    }
  }

  get #channel () {
    return Math.floor(this.index / this.surroundings.job.perChannel)
  }

  get #path () {
    const { offsets, epochs } = this.surroundings.ledger
    const offset = offsets[this.index]
    const since = offset === 0 || this.#forgetful ? '' : `&since=${epochs[this.#channel]}:${offset}`
    return `/ws?channel=c${this.#channel}&positions=true${since}`
  }

  /** Connects, and again until it is let in. */
  async connect () {
    const { job: { host, nodes }, ledger, events } = this.surroundings
    const returning = this.#returning
    while (!this.#ended) {
      const { port } = nodes[Math.floor(Math.random() * nodes.length)]
      const path = this.#path
      const protocol = { ...plain, path: () => path }
      const connection = new Connection(this.index, [], { host, port, deflate: false, protocol, listener: this.listener, payloadBytes: ledger.bytes })
      try {
        this.#since = Infinity
        this.#gone = false
        await connection.open()
      } catch {
        events.refused++
        await sleep(RETRY)
        continue
      }
      // Closed in one breath with being let in.
      if (this.#gone) return
      this.#connection = connection
      this.#since = performance.now() * 1000
      if (returning) this.#silence = setTimeout(() => this.#speak(), SILENCE)
      else this.#speak()
      if (this.#cutting) this.#cutLater(2 / 3 + Math.random() * 2 / 3)
      return
    }
  }

  /** Says the next thing; later, if it is away. */
  say () {
    const message = this.surroundings.ledger.write(this.index, performance.now() * 1000, !this.#current)
    if (this.#current) this.#write([message])
    else this.#queue.push(message)
  }

  /** Begins to be cut off, at any time from now to the end of a usual connection. */
  startCutting () {
    this.#cutting = true
    this.#cutLater(Math.random())
  }

  stopCutting () {
    this.#cutting = false
    if (this.#connection !== undefined) clearTimeout(this.#timer)
  }

  end () {
    this.#ended = true
    clearTimeout(this.#timer)
    clearTimeout(this.#silence)
    this.#connection?.drop()
  }

  /** @param {{ number: number, text: string }[]} messages */
  #write (messages) {
    this.#unheard.push(...messages)
    this.#connection?.write(Buffer.concat(messages.map(({ text }) => clientFrame(Buffer.from(text)))))
  }

  #speak () {
    clearTimeout(this.#silence)
    this.#current = true
    const again = this.#unheard.splice(0)
    this.surroundings.events.saidAgain += again.length
    const messages = [...again, ...this.#queue.splice(0)]
    if (messages.length > 0) this.#write(messages)
  }

  /** @param {number} share of the time that a connection lasts on average */
  #cutLater (share) {
    const { job, events } = this.surroundings
    this.#timer = setTimeout(() => {
      events.cuts++
      this.#connection?.drop()
      this.#comeBack()
    }, share * job.connectedSeconds * 1000)
  }

  #comeBack () {
    clearTimeout(this.#silence)
    this.#connection = undefined
    this.#current = false
    this.#timer = setTimeout(() => {
      this.surroundings.events.returns++
      this.#returning = true
      this.connect()
    }, this.surroundings.job.awaySeconds * 1000)
  }

  /** @param {{ offset: number, epoch: string, data: string }} message */
  #hear (message) {
    const { ledger, events, now } = this.surroundings
    if (this.#returning && message.offset === ledger.offsets[this.index] + 1) events.recoveries++
    this.#returning = false
    this.#forgetful = false
    const heard = ledger.hear(this.index, message, { now: now(), since: this.#since })
    if (heard?.sender === this.index) this.#unheard = this.#unheard.filter(({ number }) => number > heard.number)
    // Who spoke after it was back comes after everything from before.
    if (!this.#current && heard && heard.at >= this.#since) this.#speak()
  }

  /** @param {string} reason */
  #lost (reason) {
    const { events } = this.surroundings
    this.#gone = true
    this.#forgetful = reason.startsWith(`closed with ${INSUFFICIENT_STATE}`)
    if (this.#forgetful) events.insufficient++
    else events.closings.push(reason)
    clearTimeout(this.#timer)
    this.#comeBack()
  }
}
