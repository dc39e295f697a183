import { randomUUID } from 'node:crypto'
import { WebSocket } from 'ws'
import { mayComeBack } from '../close-codes.ts'
import type { Address } from './connect-address.ts'
import { EchoWindow } from './connect-echo-window.ts'
import { describeClose, describeError, describeStatus, readReason } from './connect-failure.ts'

/** How much may wait in this process on its way to the server, in bytes. */
const MAX_BUFFERED_BYTES = 1024 * 1024
/** The largest message that is received, in bytes. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024
/** How long a connection may be silent before the system probes whether it is still there, in milliseconds. */
const KEEP_ALIVE_DELAY = 30_000
/** How long a server may be silent before it is held not to answer pings, in milliseconds. */
const CONFIRM_TIMEOUT = 30_000
/** HTTP answers that may be different next time; so may all from 500. */
const PASSING_STATUS = [408, 425, 429]
/** Close codes that Fanfare does not send, after which coming back does not help either: the server is done, or would refuse the same again. */
const FINAL_CODES = [1000, 1003, 1010]

/** What a connection is made from. */
export interface ConnectionOptions {
  address: Address
  /** Sent as `Authorization: Bearer`. */
  token?: string | undefined
  /** How long opening may take, in seconds. */
  timeout: number
  /** Whether messages are sent as binary ones. */
  binary: boolean
}

/** What the owner of a connection wants to hear. */
export interface ConnectionEvents {
  onOpen: () => void
  onMessage: (data: Buffer, isBinary: boolean) => void
  /** Called when `canSend` or `settled` may have become true. */
  onProgress: () => void
  /** Called when the server no longer sends back what it did send back before. */
  onEchoLost: () => void
}

/** How a connection ended. */
export interface End {
  /** Whether it ever was open. */
  opened: boolean
  /** The close code; 1006 when it was lost or never opened. */
  code: number
  /** Why, in a few words. */
  cause: string
  /** Whether trying again can help. */
  passing: boolean
  /** How many sent messages are known not to have come back. */
  missing: number
}

/** One WebSocket connection of the command-line client, from its opening to its end. */
export class Connection {
  /** Resolves when it has ended; never rejects. */
  readonly ended: Promise<End>
  readonly #socket: WebSocket
  readonly #window: EchoWindow
  readonly #events: ConnectionEvents
  readonly #binary: boolean
  #opened = false
  #cause: string | undefined
  #passing = true
  #deadline: NodeJS.Timeout | undefined

  /**
   * Begins to connect.
   *
   * @param options Where to, and how.
   * @param events Whom to tell.
   */
  constructor (options: ConnectionOptions, events: ConnectionEvents) {
    const { address, token, timeout, binary } = options
    this.#events = events
    this.#binary = binary
    this.#window = new EchoWindow({
      isReading: () => !this.#socket.isPaused,
      onGivenUp: (hadEchoed) => {
        if (hadEchoed) events.onEchoLost()
        events.onProgress()
      }
    }, { echoes: address.echoes })
    this.#socket = new WebSocket(address.url, {
      maxPayload: MAX_MESSAGE_BYTES,
      // 100,000 lines of 1.4 KiB and back over loopback: 22 s with permessage-deflate, 2 s without.
      perMessageDeflate: false,
      ...token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }
    })
    this.#terminateAfter(timeout * 1000, `no answer within ${timeout} s`)
    this.ended = new Promise(resolve => { this.#listen(resolve) })
  }

  /**
   * Whether a message may be sent now.
   *
   * @param size Its bytes.
   */
  canSend (size: number): boolean {
    return this.#isOpen && this.#socket.bufferedAmount < MAX_BUFFERED_BYTES && this.#window.hasRoom(size)
  }

  /** Whether it is open and everything sent has come back, as far as it does. */
  get settled (): boolean {
    return this.#isOpen && this.#window.settled
  }

  /**
   * Sends a message. Ask canSend first.
   *
   * @param data Its bytes; valid UTF-8 unless messages are sent as binary ones.
   */
  send (data: Buffer): void {
    this.#window.sent(data)
    this.#socket.send(data, { binary: this.#binary }, this.#events.onProgress)
  }

  /** Stops reading, so that the server gets to feel that its messages cannot be passed on. */
  pause (): void {
    this.#socket.pause()
  }

  /** Goes on reading. */
  resume (): void {
    this.#socket.resume()
  }

  /**
   * Waits until the server has taken everything that was sent: a pong comes after all that was sent before its ping.
   *
   * @returns false when the connection ended first.
   */
  async confirm (): Promise<boolean> {
    if (!this.#isOpen) return false
    const mark = randomUUID()
    return await new Promise(resolve => {
      const settle = (taken: boolean): void => {
        clearTimeout(silence)
        this.#socket.off('pong', onPong).off('ping', onSign).off('message', onSign)
        resolve(taken)
      }
      const silence = setTimeout(() => {
        if (this.#socket.isPaused) silence.refresh()
        else settle(true)
      }, CONFIRM_TIMEOUT)
      const onSign = (): void => { silence.refresh() }
      const onPong = (data: Buffer): void => { if (data.toString() === mark) settle(true) }
      this.#socket.on('pong', onPong).on('ping', onSign).on('message', onSign).ping(mark)
      this.ended.then(() => { settle(false) })
    })
  }

  /**
   * Ends it with a closing handshake, code 1000.
   *
   * @param patience How long the server has for its part, in milliseconds.
   */
  close (patience: number): void {
    this.#socket.close(1000)
    this.#terminateAfter(patience)
  }

  get #isOpen (): boolean {
    return this.#socket.readyState === WebSocket.OPEN
  }

  #listen (resolve: (end: End) => void): void {
    this.#socket
      .on('upgrade', ({ socket }) => { socket.setKeepAlive(true, KEEP_ALIVE_DELAY) })
      .on('unexpected-response', (_request, response) => { this.#refused(response) })
      .on('error', (error) => { this.#cause ??= describeError(error) })
      .on('open', () => {
        this.#opened = true
        clearTimeout(this.#deadline)
        this.#events.onOpen()
      })
      .on('message', (data: Buffer, isBinary) => {
        if (isBinary === this.#binary) this.#window.received(data)
        this.#events.onMessage(data, isBinary)
        this.#events.onProgress()
      })
      .on('close', (code, reason) => { resolve(this.#end(code, reason.toString())) })
  }

  async #refused (response: Parameters<typeof describeStatus>[0]): Promise<void> {
    const status = response.statusCode ?? 0
    this.#cause = describeStatus(response)
    this.#passing = status >= 500 || PASSING_STATUS.includes(status)
    const reason = await readReason(response)
    if (reason !== undefined) this.#cause += `: ${reason}`
    this.#socket.terminate()
  }

  #end (code: number, reason: string): End {
    clearTimeout(this.#deadline)
    this.#window.stop()
    const { missing } = this.#window
    const cause = code === 1006 && this.#cause !== undefined ? this.#cause : describeClose(code, reason)
    return { opened: this.#opened, code, cause, missing, passing: this.#passing && !isFinal(code) }
  }

  #terminateAfter (time: number, cause?: string): void {
    clearTimeout(this.#deadline)
    this.#deadline = setTimeout(() => {
      this.#cause ??= cause
      this.#socket.terminate()
    }, time)
  }
}

function isFinal (code: number): boolean {
  return FINAL_CODES.includes(code) || !mayComeBack(code)
}
