import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { formatPosition } from '../../src/hub/publication.ts'
import type { ChaosNode } from './chaos-node.ts'
import type { Dice } from './dice.ts'
import type { ConnectionRecord, Recorder, Sent, Sequence } from './recorder.ts'

const LOST = 3010
// More than any channel of a round has.
const ALL = 100_000
const HANDSHAKE_TIMEOUT_MS = 4000
const LIFE_MS = [100, 3000] as const
const AWAY_MS = 1200
const CALM_AWAY_MS = 100

interface Positioned { readonly offset: number, readonly epoch: string, readonly data: unknown }

/** What was sent, out of what came: a plain WebSocket sends text, code sends JSON. */
function idIn (data: unknown): string {
  return (typeof data === 'string' ? JSON.parse(data) as { id: string } : data as { id: string }).id
}

/**
 * A client as docs/channels.md wants it: it remembers its position and comes back with it, to any node, and begins anew
 * when it is told of a loss. It is cut, and stays away for a while, again and again.
 */
export class Subscriber {
  readonly name: string
  readonly channel: string
  readonly #start: Sequence['start']
  readonly #compressed: boolean
  readonly #nodes: readonly ChaosNode[]
  readonly #recorder: Recorder
  readonly #dice: Dice
  #sequence: Sequence
  #connections = 0
  #ws: WebSocket | undefined
  #calm = false
  #stopped = false

  /** @param nodes it comes to any of these */
  constructor (name: string, channel: string, start: Sequence['start'], nodes: readonly ChaosNode[], recorder: Recorder, dice: Dice) {
    this.name = name
    this.channel = channel
    this.#start = start
    this.#compressed = dice.percent(30)
    this.#nodes = nodes
    this.#recorder = recorder
    this.#dice = dice
    this.#sequence = this.#begin()
  }

  /** Comes and goes, until it is stopped. */
  async run (): Promise<void> {
    while (!this.#stopped) {
      await this.#live()
      await pause(this.#dice.below(this.#calm ? CALM_AWAY_MS : AWAY_MS))
    }
  }

  /** Is not cut any more from now on. */
  calm (): void {
    this.#calm = true
  }

  stop (): void {
    this.#stopped = true
    this.#ws?.terminate()
  }

  get connected (): boolean {
    return this.#ws?.readyState === WebSocket.OPEN
  }

  /** Whether it has heard a publication, or cannot have: it has come later, and did not ask for what was before. */
  hasHeard ({ id, sentAt }: Sent): boolean {
    const { received, start, connections } = this.#sequence
    const [first] = connections
    return received.some((one) => one.id === id) || (start === 'live' && first?.openedAt !== undefined && first.openedAt > sentAt)
  }

  /** Where it is, in a sentence. */
  get state (): string {
    const { received, connections } = this.#sequence
    const last = received.at(-1)
    return `${this.name} in ${this.channel}: ${last ? `at ${formatPosition(last)}` : 'nowhere yet'}, ${JSON.stringify(connections.at(-1))}`
  }

  async #live (): Promise<void> {
    const last = this.#sequence.received.at(-1)
    if (!last && this.#sequence.connections.length > 0) this.#sequence = this.#begin()
    const query = last ? `since=${formatPosition(last)}` : this.#start === 'history' ? `history=${ALL}` : ''
    const node = this.#dice.pick(this.#nodes)
    const connection: ConnectionRecord = { number: ++this.#connections, node: node.number, query }
    this.#sequence.connections.push(connection)
    const life = this.#dice.between(...LIFE_MS)
    const ws = this.#ws = new WebSocket(`${node.wsUrl}?channel=${this.channel}&positions=true&${query}`, {
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS, perMessageDeflate: this.#compressed
    })
    let cut: NodeJS.Timeout | undefined
    ws.on('error', () => {})
    ws.on('open', () => {
      connection.openedAt = this.#recorder.now
      cut = setTimeout(() => this.#cut(ws), life)
    })
    ws.on('message', (bytes: Buffer) => this.#take(bytes, connection.number))
    const code = await new Promise<number>((resolve) => ws.on('close', resolve))
    clearTimeout(cut)
    this.#ended(connection, code)
  }

  #cut (ws: WebSocket): void {
    if (this.#calm) return
    this.#recorder.cuts++
    ws.terminate()
  }

  #take (bytes: Buffer, connection: number): void {
    const { epoch, offset, data } = JSON.parse(String(bytes)) as Positioned
    this.#sequence.received.push({ epoch, offset, id: idIn(data), at: this.#recorder.now, connection })
  }

  #ended (connection: ConnectionRecord, code: number): void {
    connection.closedAt = this.#recorder.now
    connection.code = code
    if (connection.openedAt === undefined) this.#recorder.refusals++
    if (code !== LOST) return
    this.#sequence.lostAt = connection.closedAt
    this.#sequence = this.#begin()
  }

  #begin (): Sequence {
    const sequence: Sequence = { subscriber: this.name, channel: this.channel, start: this.#start, received: [], connections: [] }
    this.#recorder.sequences.push(sequence)
    return sequence
  }
}
