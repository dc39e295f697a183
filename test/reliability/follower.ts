import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { formatPosition } from '../../src/hub/publication.ts'
import type { Heard, Recorder, Sequence } from './recorder.ts'

const NOT_RECOVERED = 3010
const RETRY_MS = 20

/** A subscriber that comes back where it was, on whatever node, and has a recorder know all that it hears. */
export class Follower {
  readonly sequence: Sequence
  /** Codes with which its connections were closed, other than by itself. */
  readonly closes: number[] = []
  /** Pings that it has answered. */
  pings = 0
  /** How often a node did not take it, and it tried the next. */
  refused = 0
  readonly #channel: string
  #ws: WebSocket | undefined
  #closed: Promise<unknown> = Promise.resolve()
  #heard = 0
  #enough: { readonly count: number, readonly resolve: () => void } | undefined
  #ended = false

  constructor (t: Test, recorder: Recorder, channel: string, name: string) {
    this.sequence = recorder.subscriber(name)
    this.#channel = channel
    t.teardown(() => this.end())
  }

  /** Connects, from its position on, to the first of these nodes that takes it. */
  async connect (wsUrls: readonly string[]): Promise<void> {
    for (let turn = 0; !await this.#open(wsUrls[turn % wsUrls.length] as string); turn++) {
      if (this.#ended) return
      this.refused++
      await setTimeout(RETRY_MS)
    }
  }

  /** Begins to connect, and gives up at once. */
  connectAndCut (wsUrl: string): void {
    this.#begin(wsUrl)
    this.cut(false)
  }

  /** Connects, and from then on whenever it was cut, to the first of these nodes that takes it, until `end`. */
  async follow (wsUrls: readonly string[]): Promise<void> {
    await this.connect(wsUrls)
    this.#closed.then(() => { if (!this.#ended) this.follow(wsUrls) }, () => {})
  }

  /** Resolves when this connection has brought so many publications, or is closed. */
  async hears (count: number): Promise<void> {
    if (this.#heard >= count) return
    await Promise.race([this.#closed, new Promise<void>((resolve) => { this.#enough = { count, resolve } })])
  }

  /** Destroys the socket, with a reset or without; what lies unread in it is lost. */
  cut (reset: boolean): void {
    const ws = this.#ws
    this.#ws = undefined
    if (reset) (ws as unknown as { _socket: Socket | null } | undefined)?._socket?.resetAndDestroy()
    ws?.terminate()
  }

  end (): void {
    this.#ended = true
    this.cut(false)
  }

  async #open (wsUrl: string): Promise<boolean> {
    const ws = this.#begin(wsUrl)
    await Promise.race([once(ws, 'open').catch(() => {}), this.#closed])
    return ws.readyState === WebSocket.OPEN
  }

  #begin (wsUrl: string): WebSocket {
    const url = `${wsUrl}?channel=${this.#channel}&positions=true&since=${formatPosition(this.sequence.position)}`
    const ws = this.#ws = new WebSocket(url, { perMessageDeflate: false })
    let opened = false
    this.#heard = 0
    this.#enough = undefined
    this.#closed = new Promise<void>((resolve) => {
      ws.on('close', (code) => {
        if (opened && ws === this.#ws) this.#lose(code)
        resolve()
      })
    })
    ws.on('error', () => {})
    ws.on('ping', () => { this.pings++ })
    ws.on('message', (data: Buffer) => { if (ws === this.#ws) this.#take(data) })
    ws.on('open', () => {
      opened = true
      this.sequence.opened()
    })
    return ws
  }

  #take (data: Buffer): void {
    this.sequence.take(JSON.parse(data.toString()) as Heard)
    if (++this.#heard === this.#enough?.count) this.#enough.resolve()
  }

  #lose (code: number): void {
    this.closes.push(code)
    if (code === NOT_RECOVERED) this.sequence.toldNotRecovered()
  }
}
