import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket } from 'ws'
import type { Position } from '../../src/hub/publication.ts'
import type { ChaosNode } from './chaos-node.ts'
import type { Dice } from './dice.ts'
import type { Answer, Recorder, Sent, Way } from './recorder.ts'

const WAYS = { once: 40, retry: 35, twice: 10, socket: 15 } as const
// What is long is compressed for some, and so takes another way than what is short.
const LONG_PERCENT = 5
const LONG_CHARACTERS = 3000
const MOST_UNDER_WAY = 200
const ANSWER_TIMEOUT_MS = 5000
const RETRY_MS = [20, 400] as const
// When all is whole again, whoever repeats a publication must have come through after this time.
const PATIENCE_MS = 20_000

/** Publishes to one channel in all ways there are, through any node, and notes what became of it. */
export class Publisher {
  readonly #channel: string
  readonly #gapMs: number
  readonly #nodes: readonly ChaosNode[]
  readonly #recorder: Recorder
  readonly #dice: Dice
  readonly #underWay = new Set<Promise<void>>()
  #count = 0
  #socket: WebSocket | undefined
  #sockets = 0
  #giveUpAt = Infinity
  #stopped = false

  /** @param gapMs between two publications, on average */
  constructor (channel: string, gapMs: number, nodes: readonly ChaosNode[], recorder: Recorder, dice: Dice) {
    this.#channel = channel
    this.#gapMs = gapMs
    this.#nodes = nodes
    this.#recorder = recorder
    this.#dice = dice
  }

  /** Publishes until it is stopped. */
  async run (): Promise<void> {
    while (!this.#stopped) {
      if (this.#underWay.size < MOST_UNDER_WAY) this.#begin(this.#dice.weighted(WAYS))
      await pause(this.#dice.below(2 * this.#gapMs + 1))
    }
  }

  /** Begins nothing new; resolves when all that was begun has come to an end. */
  async stop (): Promise<void> {
    this.#stopped = true
    this.#giveUpAt = performance.now() + PATIENCE_MS
    await Promise.all(this.#underWay)
    this.#socket?.terminate()
  }

  /** Publishes one more, again and again until it is accepted. */
  async publishLast (): Promise<Sent> {
    const sent = this.#sent('retry')
    await this.#untilAccepted(sent)
    return sent
  }

  #begin (way: Way): void {
    const work = way === 'socket' ? this.#sendPlain() : this.#publish(way)
    this.#underWay.add(work)
    work.finally(() => this.#underWay.delete(work))
  }

  #sent (way: Way, socket?: string): Sent {
    const sent: Sent = { id: `${this.#channel}/${++this.#count}`, channel: this.#channel, way, sentAt: this.#recorder.now, answers: [], ...socket !== undefined && { socket } }
    this.#recorder.sent.set(sent.id, sent)
    return sent
  }

  async #publish (way: Way): Promise<void> {
    const sent = this.#sent(way)
    if (way === 'once') await this.#try(sent)
    if (way === 'twice') await Promise.all([this.#try(sent), this.#try(sent)])
    if (way !== 'once') await this.#untilAccepted(sent)
  }

  async #untilAccepted (sent: Sent): Promise<void> {
    while (!sent.answers.some(({ outcome }) => outcome === 'ok')) {
      if (performance.now() > this.#giveUpAt) {
        this.#recorder.failures.push(`${sent.id} was not accepted within ${PATIENCE_MS} ms after all was whole again`)
        return
      }
      if (sent.answers.length > 0) await pause(this.#dice.between(...RETRY_MS))
      await this.#try(sent)
    }
  }

  async #try (sent: Sent): Promise<void> {
    const node = this.#dice.pick(this.#nodes)
    const body = { channel: this.#channel, data: this.#dataOf(sent), ...sent.way !== 'once' && { idempotencyKey: sent.id } }
    const answer = await post(`${node.url}/publish`, body)
    sent.answers.push({ ...answer, at: this.#recorder.now })
  }

  #dataOf ({ id }: Sent): object {
    return { id, ...this.#dice.percent(LONG_PERCENT) && { filling: 'x'.repeat(LONG_CHARACTERS) } }
  }

  // A plain WebSocket, made anew when it is lost. Whatever is sent on one is published in that order.
  async #sendPlain (): Promise<void> {
    if (!this.#socket || this.#socket.readyState === WebSocket.CLOSED) {
      this.#sockets++
      this.#socket = new WebSocket(`${this.#dice.pick(this.#nodes).wsUrl}?channel=${this.#channel}&echo=false`)
      this.#socket.on('error', () => {})
    }
    if (this.#socket.readyState !== WebSocket.OPEN) return
    const sent = this.#sent('socket', `${this.#channel} ${this.#sockets}`)
    this.#socket.send(JSON.stringify(this.#dataOf(sent)))
  }
}

async function post (url: string, body: object): Promise<Omit<Answer, 'at'>> {
  try {
    const answer = await fetch(url, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS)
    })
    if (answer.ok) return { outcome: 'ok', position: await answer.json() as Position }
    await answer.text()
    return { outcome: 'unknown' }
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } }
    return { outcome: cause?.code === 'ECONNREFUSED' ? 'refused' : 'unknown' }
  }
}
