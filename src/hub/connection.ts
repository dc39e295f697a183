import { randomUUID } from 'node:crypto'
import type { Channel, Subscription } from './channel.ts'
import type { Encoding } from './encoding.ts'
import type { ConnectionDeadline } from './lifetimes.ts'
import type { Throttle } from './limits.ts'
import type { Transport } from './transport.ts'

/** What a token says of a channel that it names. */
export interface Grant {
  /** What others in the channel may see of the user. */
  readonly info?: unknown
  /** What its client is told when it comes to the channel. */
  readonly data?: unknown
  /** When the right ends, by the wall clock in milliseconds. */
  readonly expiresAt?: number | undefined
  /** Given to one subscription, by a token of its own or by the server, with which it ends. */
  readonly single?: boolean
  /** Given by the server, which is not what rules mean by `token`. */
  readonly byServer?: boolean
  /** What hooks have said of this subscription, and what is left when it ends. */
  readonly hooked?: { readonly answer: GrantAnswer, readonly before: Grant | undefined }
}

/** What hooks say of a subscription. */
export type GrantAnswer = Pick<Grant, 'info' | 'data' | 'expiresAt'>

/** Who somebody is, as a token or a hook says. */
export interface Identity {
  /** Id of the user; empty for somebody who may come without one. */
  readonly user?: string | undefined
  /** What others may see of the user. */
  readonly info?: unknown
  /** What only the server sees. */
  readonly meta?: unknown
  /** Channels that may be heard because the token names them. */
  readonly grants?: ReadonlyMap<string, Grant> | undefined
  /** When the connection ends, by the wall clock in milliseconds. */
  readonly expiresAt?: number | undefined
}

/** Who is at the other end. */
export interface Peer extends Identity {
  /** Whether it may come without having said who it is. */
  readonly guest?: boolean | undefined
  /** Address that limits count by: the client's, not that of a trusted proxy. */
  readonly address: string
  /** How it is connected; `http`: it only asks something. */
  readonly transport?: 'websocket' | 'sse' | 'http_stream' | 'http'
  /** Id that the connection will have; hooks know it before there is a connection. */
  readonly id?: string
  /** Id that only its client knows, where that sends by requests of their own. */
  readonly session?: string | undefined
  /** What it speaks, as callbacks call it; `plain` by default. */
  readonly protocol?: string
}

// `randomUUID` leaves a rope of 15 pieces, 500 bytes; reading one character makes it one string of 56 bytes.
export function newId (): string {
  const id = randomUUID()
  id.charCodeAt(0)
  return id
}

/** Handles something that a connection sent; returns a promise, which never rejects, while that takes time. */
export type Act = () => Promise<void> | undefined

/** One live client, whatever its transport. Only its ConnectionManager changes it. */
export class Connection {
  readonly id: string
  /** Changes when it says who it is after it was taken in, with a refresh, and with tokens for single channels. */
  peer: Peer
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
  /** Number of the slot of the heartbeat that it sits in. */
  heartbeatSlot: number | undefined
  /** When it ends, and what is asked before. */
  deadlines: readonly ConnectionDeadline[] | undefined
  /** What the channels have for it in the flush that is under way. */
  due: Buffer[] | undefined
  /** What waits for it, once it has fallen behind. */
  backlog: Buffer[] | undefined
  throttle: Throttle | undefined
  /** Channels that it will be in as soon as it has had their history, each with what tells this coming from another one. */
  joining: Map<string, object> | undefined
  /** What the last channel that it came to brings it of its history. */
  replay: Promise<void> | undefined
  /** The channel that it asks for, while hooks look at that. */
  asking: string | undefined
  /** Channels that the server has put it into, if it would not come back to them by itself. */
  placed: Set<string> | undefined
  /** False until it has said who it is, where it does that after it was taken in. */
  known = true
  /** Closed for what it did, or because its rights have ended: what it sent before and still waits is not published. */
  dismissed = false
  /** What it has sent that waits for its turn, while something that takes time is handled. */
  turn: Act[] | undefined
  /** Bytes that it has sent since it was last held back. */
  intake = 0
  /** Not read from until it has taken what waits for it. */
  heldForBacklog = false
  /** Whether it is read from although it is held, and nothing has come since. */
  peeking = false
  /** Channels that it was in when it left, where something that it had sent still waits: it may be published there. */
  wasIn: readonly string[] | undefined
  #holds = 0

  constructor (transport: Transport, encoding: Encoding, peer: Peer) {
    this.id = peer.id ?? newId()
    this.transport = transport
    this.encoding = encoding
    this.peer = peer
  }

  /** Whether it is in a channel, about to be (what it begins with is still being read), or was when it left. */
  isIn (name: string): boolean {
    if (this.joining?.has(name) || this.wasIn?.includes(name)) return true
    for (const channel of this.subscriptions.keys()) if (channel.name === name) return true
    return false
  }

  /** Names of the channels that it is in, or about to be. */
  get channels (): string[] {
    const names = Array.from(this.subscriptions.keys(), ({ name }) => name)
    return this.joining ? names.concat(Array.from(this.joining.keys())) : names
  }

  /** Forgets what a token, or a hook, gave for one subscription, which has ended. */
  dropGrant (name: string): void {
    const grant = this.peer.grants?.get(name)
    if (!grant?.single) return
    const grants = new Map(this.peer.grants)
    const token = withoutHooks(grant)
    if (token && !token.single) grants.set(name, token)
    else grants.delete(name)
    this.peer = { ...this.peer, grants }
  }

  /** Stops reading from the peer until every hold is released. */
  hold (): void {
    if (this.#holds++ === 0) this.transport.pause()
  }

  release (): void {
    if (--this.#holds > 0) return
    this.peeking = false
    this.transport.resume()
  }

  /** Reads once although it is held, to see whether the peer lives; `heard` is to be called when something comes. */
  peek (): void {
    this.peeking = true
    this.transport.resume()
  }

  heard (): void {
    if (!this.peeking) return
    this.peeking = false
    this.transport.pause()
  }
}

/** Who a connection is with what was given to one of its subscriptions. */
export function peerWith (peer: Peer, channel: string, grant: Grant | undefined): Peer {
  return grant === undefined || peer.grants?.get(channel) === grant ? peer : { ...peer, grants: new Map([...peer.grants ?? [], [channel, grant]]) }
}

/** What there is of a grant beside what hooks have said. */
export function withoutHooks (grant: Grant | undefined): Grant | undefined {
  return grant?.hooked ? grant.hooked.before : grant
}

/**
 * A grant with what hooks say of the subscription: that takes the place of what is known, field by field. Where nothing is known, it
 * gives no right that rules call `token`.
 */
export function hookedGrant ({ info, data, expiresAt }: GrantAnswer, grant: Grant | undefined): Grant | undefined {
  if (info === undefined && data === undefined && expiresAt === undefined) return grant
  const said = grant?.hooked?.answer ?? {}
  const before = withoutHooks(grant)
  const answer = { info: info ?? said.info, data: data ?? said.data, expiresAt: expiresAt ?? said.expiresAt }
  return {
    info: answer.info ?? before?.info,
    data: answer.data ?? before?.data,
    expiresAt: answer.expiresAt ?? before?.expiresAt,
    single: true,
    byServer: before ? before.byServer ?? false : true,
    hooked: { answer, before }
  }
}
