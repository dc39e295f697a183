import { once } from 'node:events'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import type { Recorder } from './recorder.ts'

const PAUSE_MS = 20

/** A client that sends numbered messages, about 50 per second, until it is closed; nobody tells it where they stand. */
export class Sender {
  readonly #ws: WebSocket
  readonly #recorder: Recorder
  readonly #name: string
  #stopped = false
  /** How many it has sent. */
  sent = 0
  /** With which it was closed by the server. */
  code: number | undefined

  constructor (t: Test, wsUrl: string, recorder: Recorder, name: string) {
    this.#ws = new WebSocket(`${wsUrl}?channel=x&echo=false`, { perMessageDeflate: false })
    this.#recorder = recorder
    this.#name = name
    t.teardown(() => this.#ws.terminate())
    this.#ws.on('error', () => {})
    this.#ws.on('close', (code) => { this.code = code })
  }

  /** Connects one, which begins at once. */
  static async connect (t: Test, wsUrl: string, recorder: Recorder, name: string): Promise<Sender> {
    const sender = new Sender(t, wsUrl, recorder, name)
    await once(sender.#ws, 'open')
    sender.#send()
    return sender
  }

  stop (): void {
    this.#stopped = true
  }

  /** How many of them were published, and how many are missing before the last of those. */
  get published (): { count: number, holes: number } {
    const known = Array.from({ length: this.sent }, (_none, number) => this.#recorder.offsetOf(this.#id(number)) !== undefined)
    const count = known.filter(Boolean).length
    return { count, holes: known.lastIndexOf(true) + 1 - count }
  }

  #id (number: number): string {
    return `${this.#name}-${number}`
  }

  // Each when the one before has gone into the socket.
  #send (): void {
    if (this.#stopped || this.#ws.readyState !== WebSocket.OPEN) return
    const id = this.#id(this.sent++)
    this.#recorder.send(id)
    this.#ws.send(id, () => setTimeout(() => this.#send(), PAUSE_MS))
  }
}
