/** One WebSocket client on a raw TCP socket. */

import { connect } from 'node:net'
import { CLOSE, PING, PONG, checkUpgrade, clientFrame, upgradeRequest } from './frames.js'
import { Inflater } from './inflater.js'

/**
 * All sockets read into the end of one buffer. What is left of a split frame is copied in front of the next read, so that
 * every frame is parsed in one piece and nothing is joined or allocated for the others.
 */
const CARRY_ROOM = 2 ** 20
const READ_ROOM = 2 ** 18
const space = Buffer.allocUnsafeSlow(CARRY_ROOM + READ_ROOM)
const readSpace = space.subarray(CARRY_ROOM)

/** How long a server may take until it delivers to a new connection. */
const OPEN_WITHIN = 20_000

/** As many local addresses as keep the port range of each well below its 28,000. */
const LOCAL_ADDRESSES = 8

/**
 * @typedef {object} Listener
 * @property {(bytes: number) => void} chunk
 * @property {() => void} afterRead
 * @property {(connection: Connection, buffer: Buffer, start: number, end: number, compressed: boolean) => void} message
 * @property {(connection: Connection, reason: string) => void} lost
 *
 * @typedef {object} Target
 * @property {string} host
 * @property {number} port
 * @property {boolean} deflate
 * @property {string} [token]
 * @property {import('./protocols/plain.js').Protocol} protocol
 * @property {Listener} listener
 * @property {number} payloadBytes
 */

export class Connection {
  /** @type {Buffer | null} */
  #carry = null
  #upgraded = false
  #ready = false
  #ended = false
  /** What the server said about extensions. */
  extensions = ''
  /** @type {Inflater | undefined} if the server compressed something before the connection was ready */
  inflater

  /**
   * @param {number} index
   * @param {string[]} channels
   * @param {Target} target
   */
  constructor (index, channels, target) {
    this.index = index
    this.channels = channels
    this.target = target
    this.protocol = target.protocol
    this.listener = target.listener
    /** For the protocol's own use while it opens. */
    this.replies = 0
  }

  /** Resolves when the server will deliver to this connection. */
  open () {
    const { host, port, deflate, token } = this.target
    return new Promise((resolve, reject) => {
      this.opened = resolve
      this.refused = reject
      this.socket = connect({
        host,
        port,
        noDelay: true,
        localAddress: `127.0.0.${2 + this.index % LOCAL_ADDRESSES}`,
        onread: { buffer: readSpace, callback: (bytes) => this.#read(bytes) }
      })
      this.timer = setTimeout(() => this.#lose('not open in time'), OPEN_WITHIN)
      this.socket.on('connect', () => this.socket.write(upgradeRequest(`${host}:${port}`, this.protocol.path(this.channels), deflate, token)))
      this.socket.on('error', (error) => this.#lose(error.message))
      this.socket.on('close', () => this.#lose('the server ended the connection'))
    })
  }

  /** @param {Buffer | string} frame */
  write (frame) {
    this.socket.write(frame)
  }

  /** @param {string} text */
  sendText (text) {
    this.socket.write(clientFrame(Buffer.from(text)))
  }

  /** Ends without a handshake, so that no port stays in TIME_WAIT. */
  drop () {
    this.#ended = true
    this.socket.resetAndDestroy()
  }

  /** @param {string} reason */
  #lose (reason) {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.timer)
    this.socket.destroy()
    if (this.#ready) this.listener.lost(this, reason)
    else this.refused(new Error(`connection ${this.index}: ${reason}`))
  }

  /** @param {number} bytes */
  #read (bytes) {
    if (this.#ended) return false
    this.listener.chunk(bytes)
    let at = CARRY_ROOM
    const end = CARRY_ROOM + bytes
    if (this.#carry !== null) {
      at -= this.#carry.length
      this.#carry.copy(space, at)
      this.#carry = null
    }
    try {
      if (!this.#upgraded) at = this.#upgrade(at, end)
      if (this.#upgraded) at = this.#frames(at, end)
      if (end - at > CARRY_ROOM - READ_ROOM) throw new Error('a frame too large for this client')
    } catch (error) {
      this.#lose(/** @type {Error} */ (error).message)
      return false
    }
    if (at < end) this.#carry = Buffer.from(space.subarray(at, end))
    if (this.#ready) this.listener.afterRead()
    return true
  }

  /**
   * @param {number} at
   * @param {number} end
   */
  #upgrade (at, end) {
    const length = space.subarray(at, end).indexOf('\r\n\r\n')
    if (length === -1) return at
    this.extensions = checkUpgrade(space.toString('latin1', at, at + length))
    this.#upgraded = true
    const hello = this.protocol.hello(this.channels)
    if (hello !== '') this.sendText(hello)
    if (this.protocol.greet === null) this.#nowReady()
    return at + length + 4
  }

  /**
   * @param {Buffer} message
   * @param {boolean} compressed
   */
  #greet (message, compressed) {
    if (compressed) this.inflater ??= new Inflater(this.extensions)
    const text = compressed ? this.inflater.inflate(message) : message
    if (this.protocol.greet(this, text.toString())) this.#nowReady()
  }

  #nowReady () {
    this.#ready = true
    clearTimeout(this.timer)
    this.opened()
  }

  /**
   * Takes all complete frames.
   * @param {number} at
   * @param {number} end
   * @returns {number} where the first incomplete one starts
   */
  #frames (at, end) {
    while (end - at >= 2) {
      const first = space[at]
      let length = space[at + 1]
      let body = at + 2
      if (length === 126) {
        if (end - at < 4) break
        length = (space[at + 2] << 8) | space[at + 3]
        body = at + 4
      } else if (length === 127) {
        if (end - at < 10) break
        length = Number(space.readBigUInt64BE(at + 2))
        body = at + 10
      } else if (length > 127) {
        throw new Error('a masked frame from the server')
      }
      const next = body + length
      if (next > end) break
      // 0x81 and 0x82: a whole text or binary message; 0xc1 and 0xc2: likewise, compressed.
      if ((first & 0xbf) === 0x81 || (first & 0xbf) === 0x82) {
        if (this.#ready) this.listener.message(this, space, body, next, first > 0xbf)
        else this.#greet(space.subarray(body, next), first > 0xbf)
      } else {
        this.#control(first, body, next)
      }
      at = next
    }
    return at
  }

  /**
   * @param {number} first
   * @param {number} body
   * @param {number} next
   */
  #control (first, body, next) {
    if (first === (0x80 | PING)) {
      this.write(clientFrame(space.subarray(body, next), PONG))
    } else if (first === (0x80 | CLOSE)) {
      const code = next - body >= 2 ? space.readUInt16BE(body) : 1005
      throw new Error(`closed with ${code} ${space.toString('utf8', Math.min(body + 2, next), next)}`)
    } else if (first !== (0x80 | PONG)) {
      throw new Error(`a frame starting with byte ${first}`)
    }
  }
}
