import type { Position } from '../../src/hub/publication.ts'

/**
 * How a publication is sent: from code, once, or again with a key until it is accepted, or to two nodes at once and then
 * again; or by a plain WebSocket, which does not hear how it went.
 */
export type Way = 'once' | 'retry' | 'twice' | 'socket'

/** What became of one try. `refused`: nobody was there to publish it. */
export interface Answer {
  readonly at: number
  readonly outcome: 'ok' | 'refused' | 'unknown'
  readonly position?: Position
}

/** One publication. */
export interface Sent {
  readonly id: string
  readonly channel: string
  readonly way: Way
  readonly sentAt: number
  readonly answers: Answer[]
  /** The plain WebSocket that it was sent on. */
  readonly socket?: string
}

/** One delivery. */
export interface Received extends Position {
  readonly id: string
  readonly at: number
  /** Number of the connection. */
  readonly connection: number
}

/** One connection of a subscriber. */
export interface ConnectionRecord {
  readonly number: number
  readonly node: number
  /** What it asked for. */
  readonly query: string
  openedAt?: number
  closedAt?: number
  code?: number
}

/** What a subscriber heard, over all its connections, from one beginning until it was told of a loss. */
export interface Sequence {
  readonly subscriber: string
  readonly channel: string
  readonly start: 'live' | 'history'
  readonly received: Received[]
  readonly connections: ConnectionRecord[]
  /** When it was told of the loss that ended it. */
  lostAt?: number
}

/** Something that was done to a node, to its link or to Redis. */
export interface FaultRecord {
  readonly target: string
  readonly kind: string
  readonly at: number
  until?: number
}

/** A channel of the test. */
export interface ChannelFacts {
  readonly name: string
  readonly historySize: number
}

/** All that happened in a round. Times are in milliseconds since its begin. */
export class Recorder {
  readonly channels: readonly ChannelFacts[]
  readonly sent = new Map<string, Sent>()
  readonly sequences: Sequence[] = []
  readonly faults: FaultRecord[] = []
  /** When Redis had lost data. */
  readonly losses: number[] = []
  /** What broke a promise in itself: a node that ended by itself, a client that was not served in the end. */
  readonly failures: string[] = []
  /** How often a subscriber was cut. */
  cuts = 0
  /** How often a subscriber came and was not let in. */
  refusals = 0
  /** How long it took until everybody had everything, once all was whole again. */
  settledAfter = NaN
  readonly #startedAt = performance.now()

  constructor (channels: readonly ChannelFacts[]) {
    this.channels = channels
  }

  get now (): number {
    return performance.now() - this.#startedAt
  }

  /** Notes a fault for as long as it lasts. */
  async during (target: string, kind: string, work: () => Promise<void>): Promise<void> {
    const fault: FaultRecord = { target, kind, at: this.now }
    this.faults.push(fault)
    await work()
    fault.until = this.now
  }

  /** Notes that Redis has lost data just now. */
  lost (): void {
    this.losses.push(this.now)
  }
}
