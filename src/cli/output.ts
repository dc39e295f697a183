import type { Writable } from 'node:stream'

/** How many bytes of a binary message a terminal shows. */
const SHOWN_BYTES = 32

// Control characters could move the cursor or rewrite the screen; the others reorder what is read, or break the line.
const UNSAFE = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

const SHORT_ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/**
 * Makes a text from elsewhere safe for a terminal: control characters become visible escapes such as `\x1b`.
 *
 * @param text Any text.
 */
export function visible (text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0).toString(16)
    return SHORT_ESCAPES[character] ?? (code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`)
  })
}

/**
 * Describes bytes for a terminal: how many they are, and the first 32 of them in hex.
 *
 * @param data The bytes.
 */
function hexDump (data: Buffer): string {
  const size = `<${data.length} ${data.length === 1 ? 'byte' : 'bytes'}>`
  const hex = data.toString('hex', 0, SHOWN_BYTES).match(/../g) ?? []
  return [size, ...hex, ...data.length > SHOWN_BYTES ? ['…'] : []].join(' ')
}

/** A stream that output goes to: process.stdout and process.stderr are some. */
export type OutputStream = Writable & { isTTY?: boolean }

/** What the owner of an Output wants to hear. */
export interface OutputEvents {
  /** Called when messages may be written again, after `message` has returned false. */
  onDrain: () => void
  /** Called once nothing more can be written: without an error when the reader has gone, as `head` does. */
  onGone: (error?: Error) => void
}

/**
 * Where a command-line client writes. On a terminal everything goes to stdout, for people to read; into a pipe or a
 * file, or when raw, stdout gets nothing but messages, and status lines go to stderr.
 */
export class Output {
  readonly #stdout: OutputStream
  readonly #stderr: OutputStream
  readonly #pretty: boolean
  #gone = false

  /**
   * @param stdout Where messages go.
   * @param stderr Where problems go, and status lines unless stdout is a terminal.
   * @param raw Treat a terminal like a pipe; false by default.
   */
  constructor (stdout: OutputStream, stderr: OutputStream, raw = false) {
    this.#stdout = stdout
    this.#stderr = stderr
    this.#pretty = stdout.isTTY === true && !raw
    // A reader of the notes that goes away is no reason to stop.
    stderr.on('error', () => {})
  }

  /** Whether stdout still has to pass on what it was given. */
  get blocked (): boolean {
    return !this.#gone && this.#stdout.writableNeedDrain
  }

  /**
   * Starts telling about the state of stdout.
   *
   * @param events Whom to call.
   */
  listen (events: OutputEvents): void {
    this.#stdout.on('drain', events.onDrain)
    this.#stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#gone) return
      this.#gone = true
      events.onGone(error.code === 'EPIPE' ? undefined : error)
    })
  }

  /**
   * Writes a line about the connection.
   *
   * @param text One line, without newline.
   */
  status (text: string): void {
    const stream = this.#pretty && !this.#gone ? this.#stdout : this.#stderr
    stream.write(`${visible(text)}\n`)
  }

  /**
   * Writes a line about what went wrong, always to stderr.
   *
   * @param text One line, without newline.
   */
  problem (text: string): void {
    this.#stderr.write(`${visible(text)}\n`)
  }

  /**
   * Writes a received message.
   *
   * @param data Its bytes.
   * @param isBinary Whether it came as a binary message.
   * @returns false when no more should be written before onDrain.
   */
  message (data: Buffer, isBinary: boolean): boolean {
    if (this.#gone) return true
    return this.#stdout.write(this.#pretty ? pretty(data, isBinary) : raw(data, isBinary))
  }
}

function pretty (data: Buffer, isBinary: boolean): string {
  return `Received: ${isBinary ? hexDump(data) : visible(data.toString())}\n`
}

function raw (data: Buffer, isBinary: boolean): Buffer {
  if (isBinary) return data
  const line = Buffer.allocUnsafe(data.length + 1)
  data.copy(line)
  line[data.length] = 0x0a
  return line
}
