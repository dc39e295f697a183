import { setImmediate as nextTurn } from 'node:timers/promises'
import { fanfareError } from '../../errors.ts'
import type { Position, Publication } from '../../hub/publication.ts'
import type { PublishOptions } from '../broker.ts'
import { encodePublication } from './codec.ts'

// A publication is refused, or has its place, within this time.
const PUBLISH_TIMEOUT_MS = 900
// What one script call takes at most, so that Redis is not held up for others.
const MOST_AT_ONCE = 500
const MOST_BYTES_AT_ONCE = 262_144
// A call waits so long at most, as long as every turn of the loop brings more for it.
const LONGEST_GATHER_MS = 0.5
// What may wait in this node for Redis, and for its answers. Above it publications are refused at once.
const MAX_BYTES = 67_108_864
// What a publication takes beside its own bytes.
const BESIDE_BYTES = 500

/** A publication on its way to Redis. */
export interface Outgoing {
  readonly bytes: Buffer
  readonly options: PublishOptions
  /** On the monotonic clock, in milliseconds. */
  readonly deadline: number
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
}

/** Sends what was taken for a channel; resolves with the position of each. */
export type SendBatch = (channel: string, batch: readonly Outgoing[], timeoutMs: number) => Promise<Position[]>

/** What waits for one channel. */
interface Line {
  readonly channel: string
  readonly waiting: Outgoing[]
  /** Until when each call that is not answered yet has time. */
  readonly underWay: number[]
  gathering: boolean
}

/**
 * What this node has for the channels in Redis: calls with all that has come up in the meantime. The order of a channel is
 * that of the calls to `publish`; under load a call carries many publications.
 */
export class Outbox {
  readonly #send: SendBatch
  readonly #mostUnderWay: number
  readonly #lines = new Map<string, Line>()
  readonly #onIdle: (() => void)[] = []
  /** Of what waits, or is under way. */
  #bytes = 0

  /** @param mostUnderWay calls for one channel at a time: 1 where a later one could overtake */
  constructor (send: SendBatch, mostUnderWay: number) {
    this.#send = send
    this.#mostUnderWay = mostUnderWay
  }

  /** @throws FANFARE_UNAVAILABLE when Redis does not answer in time, or too much waits for it */
  publish (channel: string, publication: Publication, options: PublishOptions): Promise<Position> {
    if (this.#bytes > MAX_BYTES) return Promise.reject(fanfareError('FANFARE_UNAVAILABLE', 'too much waits to be published'))
    return new Promise((resolve, reject) => {
      const outgoing = { bytes: encodePublication(publication), options, deadline: performance.now() + PUBLISH_TIMEOUT_MS, resolve, reject }
      this.#bytes += sizeOf(outgoing)
      let line = this.#lines.get(channel)
      if (!line) this.#lines.set(channel, line = { channel, waiting: [], underWay: [], gathering: false })
      line.waiting.push(outgoing)
      this.#advance(line)
    })
  }

  /** Resolves when all is published, or refused. */
  async idle (): Promise<void> {
    if (this.#lines.size > 0) await new Promise<void>((resolve) => { this.#onIdle.push(resolve) })
  }

  async #advance (line: Line): Promise<void> {
    if (line.gathering || line.underWay.length >= this.#mostUnderWay) return
    line.gathering = true
    await gather(line.waiting)
    line.gathering = false
    while (line.waiting.length > 0 && line.underWay.length < this.#mostUnderWay) this.#call(line)
    this.#forgetIfIdle(line)
  }

  async #call (line: Line): Promise<void> {
    const { channel, waiting } = line
    const batch = waiting.splice(0, sizeOfBatch(waiting))
    const { deadline } = batch[0] as Outgoing
    // If one before it comes too late, it is too late as well: nothing is published that was sent after something refused.
    const until = Math.min(deadline, ...line.underWay)
    line.underWay.push(until)
    let ended: readonly Outgoing[] = batch
    try {
      const positions = await this.#send(channel, batch, until - performance.now())
      batch.forEach(({ resolve }, index) => resolve(positions[index] as Position))
    } catch (error) {
      // Those behind would only wait for the same, until their time is over too.
      const refusal = fanfareError('FANFARE_UNAVAILABLE', (error as Error).message)
      ended = batch.concat(waiting.splice(0))
      for (const { reject } of ended) reject(refusal)
    }
    for (const outgoing of ended) this.#bytes -= sizeOf(outgoing)
    line.underWay.splice(line.underWay.indexOf(until), 1)
    if (waiting.length > 0) this.#advance(line)
    else this.#forgetIfIdle(line)
  }

  #forgetIfIdle ({ channel, waiting, underWay, gathering }: Line): void {
    if (waiting.length > 0 || underWay.length > 0 || gathering) return
    this.#lines.delete(channel)
    if (this.#lines.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve()
  }
}

// What comes in together goes out together: two calls could reach each receiver with two writes instead of one.
async function gather (waiting: readonly Outgoing[]): Promise<void> {
  const until = performance.now() + LONGEST_GATHER_MS
  let count
  do {
    count = waiting.length
    await nextTurn()
  } while (waiting.length > count && waiting.length < MOST_AT_ONCE && performance.now() < until)
}

function sizeOf ({ bytes }: Outgoing): number {
  return bytes.length + BESIDE_BYTES
}

function sizeOfBatch (waiting: readonly Outgoing[]): number {
  let bytes = 0
  for (const [index, { bytes: { length } }] of waiting.entries()) {
    bytes += length
    if (index === MOST_AT_ONCE - 1 || bytes >= MOST_BYTES_AT_ONCE) return index + 1
  }
  return waiting.length
}
