import { isTerminal } from './close-codes.js'
import { positionOf, publicationOf } from './positioned.js'
import { Recovery } from './recovery.js'
import { subprotocols } from './token.js'

/** Close code of a server that cannot bring all that was missed. */
export const INSUFFICIENT_STATE = 3010
/** Not a code of WebSockets: the server refused the request for its token, or for having none. */
export const TOKEN_NEEDED = 401
/** An attempt that has not opened after this time is given up: a lost SYN would otherwise hang for minutes. */
const CONNECT_TIMEOUT = 10_000
/** Only a connection that has lasted this long counts as good again; else open-and-close would loop fast. */
const STABLE_AFTER = 5_000
// So often in a row it is tried to hear a channel whose history may not be read: what refuses it may be passing.
const DOUBTS = 4

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
 * One WebSocket that comes back, with what was missed meanwhile. It owns every rule about when to connect again and
 * shows nothing itself: `onState` is called after each change of state, `onMessage` for each message and what it is
 * to this page, `onRecovered` when everything from before the connection has come.
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
  /** When the connection opened, as `performance.now()`; undefined while there is none. */
  openedAt

  #recovery = new Recovery()
  /** Whether the server tells positions; older ones do not. */
  #positioned = false
  /** @type {AbortController | undefined} of the present connection, from its first request on */
  #current
  #socket
  #timer
  #byUser = false
  #onState
  #onMessage
  #onRecovered

  constructor ({ onState, onMessage, onRecovered }) {
    this.#onState = onState
    this.#onMessage = onMessage
    this.#onRecovered = onRecovered
  }

  /** Whether what is missed now comes with the next connection. */
  get resumes () {
    return this.#positioned && this.#recovery.possible
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
    if (channel !== this.channel) this.#recovery = new Recovery()
    this.channel = channel
    this.attempt = 0
    this.lastClose = undefined
    this.#open()
  }

  /** Ends it, and every automatic try with it. */
  disconnect () {
    clearTimeout(this.#timer)
    if (this.state === 'waiting') return this.#enter('closed')
    if (!this.#current) return
    this.#byUser = true
    if (!this.#socket) return this.#closed({ code: 1000, reason: '' })
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

  async #open () {
    const current = new AbortController()
    this.#current = current
    this.#byUser = false
    this.#timer = setTimeout(() => this.#socket ? this.#socket.close() : current.abort(), CONNECT_TIMEOUT)
    this.#enter('connecting')
    const answer = await positionOf(this.channel, current.signal)
    if (current !== this.#current) return
    if (answer.ok) this.#connect(answer.position)
    // Who may not read the history can perhaps hear what comes; if not, this says why, which a browser does not.
    else if (answer.code === 'FANFARE_FORBIDDEN') this.#connect(undefined, answer.sentence)
    else this.#closed({ code: answer.needsToken ? TOKEN_NEEDED : 1006, reason: '', hint: answer.sentence, isWrong: answer.isWrong })
  }

  /**
   * @param {import('./positioned.js').Position | undefined} position where the channel stands
   * @param {string} [doubt] why it may be refused
   */
  #connect (position, doubt) {
    const url = Connection.urlOf(this.channel)
    this.#positioned = position !== undefined
    if (position) {
      this.#recovery.begin(position)
      for (const [name, value] of Object.entries({ positions: true, ...this.#recovery.query })) url.searchParams.set(name, value)
    }
    const socket = new WebSocket(url, subprotocols())
    socket.binaryType = 'arraybuffer'
    this.#socket = socket
    // A socket that was replaced may still speak: nothing it says counts any more.
    const ifCurrent = (handle) => (event) => { if (socket === this.#socket) handle(event) }
    socket.addEventListener('open', ifCurrent(() => this.#opened()))
    socket.addEventListener('message', ifCurrent((event) => this.#received(event.data)))
    socket.addEventListener('close', ifCurrent(({ code, reason }) => {
      const hint = this.openedAt === undefined ? doubt : undefined
      this.#closed({ code, reason, hint, isWrong: hint !== undefined && this.attempt >= DOUBTS })
    }))
  }

  #opened () {
    clearTimeout(this.#timer)
    this.openedAt = performance.now()
    this.#enter('open')
    if (!this.#positioned || this.#recovery.complete) this.#onRecovered()
  }

  #received (message) {
    if (!this.#positioned) return this.#onMessage(message, 'new')
    const publication = publicationOf(message)
    const { complete } = this.#recovery
    const kind = this.#recovery.take(publication)
    if (kind !== 'double') this.#onMessage(publication.data, kind)
    if (!complete && this.#recovery.complete) this.#onRecovered()
  }

  #closed ({ code, reason, hint, isWrong = false }) {
    clearTimeout(this.#timer)
    const opened = this.openedAt !== undefined
    const stable = opened && performance.now() - this.openedAt >= STABLE_AFTER
    if (stable) this.#recovery.settle()
    // The server is there, and has no reason to say it again.
    if (stable || code === INSUFFICIENT_STATE) this.attempt = 0
    this.lastClose = { code, reason, opened, byUser: this.#byUser, hint }
    if (code === INSUFFICIENT_STATE) this.#recovery.lose()
    this.#forget()
    if (this.#byUser || isTerminal(code) || code === TOKEN_NEEDED || isWrong) return this.#enter('closed')
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
    this.#current?.abort()
    this.#forget()
    socket?.close(1000)
  }

  #forget () {
    this.#current = undefined
    this.#socket = undefined
    this.openedAt = undefined
  }

  /** @param {State} state */
  #enter (state) {
    this.state = state
    this.#onState(this)
  }
}
