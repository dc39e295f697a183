import { isTerminal } from './close-codes.js'

/** An attempt that has not opened after this time is given up: a lost SYN would otherwise hang for minutes. */
const CONNECT_TIMEOUT = 10_000
/** Only a connection that has lasted this long counts as good again; else open-and-close would loop fast. */
const STABLE_AFTER = 5_000

/**
 * How long to wait before a try: somewhere between 0.5 s and a limit that doubles up to 20 s. The whole range is
 * random, so that the pages a restart threw off do not all come back in the same moment.
 *
 * @param {number} attempt 1 for the first try after a connection was lost
 * @returns {number} milliseconds
 */
export function pauseBefore (attempt, random = Math.random) {
  const shortest = 500
  const longest = Math.min(20_000, shortest * 2 ** attempt)
  return shortest + random() * (longest - shortest)
}

/**
 * @typedef {'closed' | 'connecting' | 'open' | 'closing' | 'waiting'} State
 * @typedef {{ code: number, reason: string, opened: boolean, byUser: boolean, hint?: string }} Close
 */

/**
 * One WebSocket that comes back. It owns every rule about when to connect again and shows nothing itself:
 * `onState` is called after each change of state, `onMessage` for each message.
 */
export class Connection {
  /** @type {State} */
  state = 'closed'
  channel = ''
  /** Tries since the connection was last good. */
  attempt = 0
  /** When the next try starts, as `performance.now()`; only in state `waiting`. */
  retryAt = 0
  /** @type {Close | undefined} why the last connection ended */
  lastClose

  #socket
  #timer
  #byUser = false
  #openedAt
  #onState
  #onMessage

  constructor ({ onState, onMessage }) {
    this.#onState = onState
    this.#onMessage = onMessage
  }

  /** The address of a channel, relative to the page, so that the page also works below a path of a proxy. */
  static urlOf (channel) {
    const url = new URL('ws', document.baseURI)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    url.searchParams.set('channel', channel)
    return url
  }

  /** Connects to a channel; leaves the one before. */
  connect (channel) {
    this.#drop()
    this.channel = channel
    this.attempt = 0
    this.lastClose = undefined
    this.#open()
  }

  /** Ends it, and every automatic try with it. */
  disconnect () {
    clearTimeout(this.#timer)
    if (this.state === 'waiting') return this.#enter('closed')
    if (!this.#socket) return
    this.#byUser = true
    this.#socket.close(1000)
    this.#enter('closing')
  }

  /** Does not wait for the rest of the pause. */
  retryNow () {
    if (this.state !== 'waiting') return
    clearTimeout(this.#timer)
    this.#open()
  }

  /** @returns {boolean} whether the message left for the server */
  send (data) {
    if (this.state !== 'open' || this.#socket.readyState !== WebSocket.OPEN) return false
    this.#socket.send(data)
    return true
  }

  #open () {
    const socket = new WebSocket(Connection.urlOf(this.channel))
    socket.binaryType = 'arraybuffer'
    this.#socket = socket
    this.#byUser = false
    this.#openedAt = undefined
    // A socket that was replaced may still speak: nothing it says counts any more.
    const ifCurrent = (handle) => (event) => { if (socket === this.#socket) handle(event) }
    socket.addEventListener('open', ifCurrent(() => this.#opened()))
    socket.addEventListener('message', ifCurrent((event) => this.#onMessage(event.data)))
    socket.addEventListener('close', ifCurrent((event) => this.#closed(event)))
    this.#timer = setTimeout(() => socket.close(), CONNECT_TIMEOUT)
    this.#enter('connecting')
  }

  #opened () {
    clearTimeout(this.#timer)
    this.#openedAt = performance.now()
    this.#enter('open')
  }

  #closed ({ code, reason }) {
    clearTimeout(this.#timer)
    const opened = this.#openedAt !== undefined
    if (opened && performance.now() - this.#openedAt >= STABLE_AFTER) this.attempt = 0
    this.lastClose = { code, reason, opened, byUser: this.#byUser }
    this.#socket = undefined
    if (this.#byUser || isTerminal(code)) return this.#enter('closed')
    this.attempt += 1
    const pause = pauseBefore(this.attempt)
    this.retryAt = performance.now() + pause
    this.#timer = setTimeout(() => this.#open(), pause)
    this.#enter('waiting')
  }

  /** Lets go of the present socket without a report: the user is on the way to another channel. */
  #drop () {
    clearTimeout(this.#timer)
    const socket = this.#socket
    this.#socket = undefined
    socket?.close(1000)
  }

  /** @param {State} state */
  #enter (state) {
    this.state = state
    this.#onState(this)
  }
}
