import { randomUUID } from 'node:crypto'
import type { Channel, Subscription } from './channel.ts'
import type { Encoding } from './encoding.ts'
import type { Throttle } from './limits.ts'
import type { Transport } from './transport.ts'

/** Who is at the other end. */
export interface Peer {
  /** Address that limits count by: the client's, not that of a trusted proxy. */
  readonly address: string
  /** Id of the user, where one is known. */
  readonly user?: string | undefined
}

// `randomUUID` leaves a rope of 15 pieces, 500 bytes; reading one character makes it one string of 56 bytes.
function newId (): string {
  const id = randomUUID()
  id.charCodeAt(0)
  return id
}

/** One live client, whatever its transport. Only its ConnectionManager changes it. */
export class Connection {
  readonly id = newId()
  readonly peer: Peer
  readonly encoding: Encoding
  readonly transport: Transport
  readonly subscriptions = new Map<Channel, Subscription>()
  /** On the monotonic clock, in milliseconds. */
  readonly openedAt = performance.now()

  /** False from the moment that closing begins: it hears and says nothing more. */
  open = true
  /** Pinged, and not a sign of life since. */
  awaitingPong = false
  /** Step of the heartbeat at which it was last pinged. */
  pingedAt = 0
  /** Where the heartbeat keeps it. */
  heartbeatSlot: Set<Connection> | undefined
  /** What the channels have for it in the flush that is under way. */
  due: Buffer[] | undefined
  /** What waits for it, once it has fallen behind. */
  backlog: Buffer[] | undefined
  throttle: Throttle | undefined
  /** Bytes that it has sent since it was last held back. */
  intake = 0
  /** Not read from until it has taken what waits for it. */
  heldForBacklog = false
  #holds = 0

  constructor (transport: Transport, encoding: Encoding, peer: Peer) {
    this.transport = transport
    this.encoding = encoding
    this.peer = peer
  }

  /** Stops reading from the peer until every hold is released. */
  hold (): void {
    if (this.#holds++ === 0) this.transport.pause()
  }

  release (): void {
    if (--this.#holds === 0) this.transport.resume()
  }
}
