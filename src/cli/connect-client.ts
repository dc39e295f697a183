import { isUtf8 } from 'node:buffer'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from './connect-connection.ts'
import type { ConnectionOptions, End } from './connect-connection.ts'
import { readLines } from './line-source.ts'
import type { Output } from './output.ts'

/** Between two tries waits a random time up to this, doubled with each further try, in milliseconds. */
const FIRST_RETRY_DELAY = 500
const MAX_RETRY_DELAY = 20_000
/** A connection that lasted this long starts the delays anew, in milliseconds. */
const STABLE_AFTER = 5000
/** How long a server has to answer a close when someone waits for the prompt, and otherwise, in milliseconds. */
const IMPATIENT = 1000
const PATIENT = 5000

/** Close codes that are no failure. */
const NORMAL_CODES = [1000, 1001, 1005]

/** What the client is to do. */
export interface ClientOptions extends ConnectionOptions {
  /** End after so many received messages; never by default. */
  count?: number | undefined
  /** End once the input has ended and all of it has come back. */
  closeOnEof: boolean
  /** Connect again when the connection is lost. */
  reconnect: boolean
}

/** Sends the lines of an input over a connection, and writes what is received to an output. */
export class Client {
  readonly #options: ClientOptions
  readonly #input: Readable
  readonly #output: Output
  readonly #stopped = new AbortController()
  #connection: Connection | undefined
  #exitCode = 0
  #received = 0
  #everOpened = false
  #sentAll = false
  #unsure = 0
  #warned = false
  #discarding = false
  #wake = (): void => {}

  /**
   * @param options What to do.
   * @param input Where the lines come from.
   * @param output Where the messages go.
   */
  constructor (options: ClientOptions, input: Readable, output: Output) {
    this.#options = options
    this.#input = input
    this.#output = output
  }

  /**
   * Connects, and goes on until there is nothing more to do.
   *
   * @returns The exit code for the process. What went wrong has been written.
   */
  async run (): Promise<number> {
    this.#output.listen({
      onDrain: () => { this.#connection?.resume() },
      onGone: (error) => {
        if (error === undefined) this.stop()
        else this.#fail(`Cannot write to standard output: ${error.message}`)
      }
    })
    this.#sendLines()
    try {
      await this.#stayConnected()
    } finally {
      this.stop()
      this.#input.destroy()
    }
    return this.#exitCode
  }

  /** Ends: what is received from now on is not written any more. */
  stop (): void {
    this.#discarding = true
    // A paused connection would never get to the server's part of the closing handshake.
    this.#connection?.resume()
    this.#finish(IMPATIENT)
  }

  get #isStopped (): boolean {
    return this.#stopped.signal.aborted
  }

  #finish (patience: number): void {
    if (this.#isStopped) return
    this.#stopped.abort()
    this.#connection?.close(patience)
    this.#wake()
  }

  #fail (sentence: string): void {
    if (this.#isStopped) return
    this.#output.problem(sentence)
    this.#exitCode = 1
    this.stop()
  }

  async #stayConnected (): Promise<void> {
    for (let tries = 0; ; tries++) {
      const began = Date.now()
      const end = await this.#connect()
      if (this.#isStopped) return
      this.#unsure += end.missing
      if (!this.#options.reconnect || !this.#everOpened || !end.passing) return this.#report(end)
      this.#output.status(this.#tell(end))
      if (end.opened && Date.now() - began > STABLE_AFTER) tries = 0
      await this.#waitToRetry(tries)
      if (this.#isStopped) return
    }
  }

  async #connect (): Promise<End> {
    this.#connection = new Connection(this.#options, {
      onOpen: () => {
        this.#everOpened = true
        this.#output.status('WebSocket connected')
        if (this.#output.blocked) this.#connection?.pause()
        this.#wake()
      },
      onMessage: (data, isBinary) => { this.#receive(data, isBinary) },
      onProgress: () => { this.#wake() },
      onEchoLost: () => { this.#output.status('The server no longer sends back what is sent: going on without waiting for it') }
    })
    return await this.#connection.ended
  }

  async #waitToRetry (tries: number): Promise<void> {
    // Full jitter: clients that were lost together must not come back together.
    const delay = Math.random() * Math.min(MAX_RETRY_DELAY, FIRST_RETRY_DELAY * 2 ** tries)
    this.#output.status(`Reconnecting in ${delay < 1000 ? `${delay.toFixed(0)} ms` : `${(delay / 1000).toFixed(1)} s`}`)
    await sleep(delay, undefined, { signal: this.#stopped.signal }).catch(() => {})
  }

  #report (end: End): void {
    const cutShort = this.#options.closeOnEof && (!this.#sentAll || this.#unsure > 0)
    if (end.opened && NORMAL_CODES.includes(end.code) && !cutShort) {
      this.#output.status(this.#tell(end))
    } else {
      this.#output.problem(this.#tell(end))
      this.#exitCode = 1
    }
  }

  #tell ({ opened, cause, missing }: End): string {
    const { shown } = this.#options.address
    if (!opened) return `Cannot connect to ${shown}: ${cause}`
    const lost = missing === 0 ? '' : `; lines sent that had not come back: ${missing}`
    return `Disconnected: ${cause} (${shown})${lost}`
  }

  #receive (data: Buffer, isBinary: boolean): void {
    if (this.#discarding) return
    if (!this.#output.message(data, isBinary)) this.#connection?.pause()
    if (++this.#received === this.#options.count) this.stop()
  }

  async #sendLines (): Promise<void> {
    try {
      for await (const line of readLines(this.#input)) {
        const data = this.#asMessage(line)
        await this.#until(() => this.#connection?.canSend(data.length) === true)
        if (this.#isStopped) return
        this.#connection?.send(data)
      }
      this.#sentAll = true
      if (this.#options.closeOnEof) await this.#sendOff()
    } catch (error) {
      this.#fail(`Cannot read standard input: ${(error as Error).message}`)
    }
  }

  async #sendOff (): Promise<void> {
    do {
      await this.#until(() => this.#connection?.settled === true)
    } while (!this.#isStopped && await this.#connection?.confirm() !== true)
    if (this.#unsure > 0) this.#exitCode = 1
    this.#finish(PATIENT)
  }

  async #until (condition: () => boolean): Promise<void> {
    while (!this.#isStopped && !condition()) {
      await new Promise<void>(resolve => { this.#wake = resolve })
    }
  }

  #asMessage (line: Buffer): Buffer {
    if (this.#options.binary || isUtf8(line)) return line
    if (!this.#warned) this.#output.status('A line is not valid UTF-8: its other bytes are replaced (--binary sends any)')
    this.#warned = true
    return Buffer.from(line.toString())
  }
}
