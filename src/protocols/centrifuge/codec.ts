import type { Member } from '../../brokers/broker.ts'
import type { Close } from '../../close-codes.ts'
import type { Publication } from '../../hub/publication.ts'
import type { Message, Protocol } from '../protocol.ts'
import type { Command, CommandName } from './commands.ts'

/** What a command is answered with, in the names of the protocol. What is left out is not sent. */
export interface Result {
  readonly client?: string
  readonly version?: string
  readonly ping?: number
  readonly pong?: boolean
  readonly session?: string
  readonly node?: string
  readonly expires?: boolean
  readonly ttl?: number
  readonly subs?: Readonly<Record<string, Result>> | undefined
  readonly recoverable?: boolean
  readonly positioned?: boolean
  readonly was_recovering?: boolean
  readonly recovered?: boolean
  readonly epoch?: string
  readonly offset?: number
  readonly publications?: readonly Publication[]
  readonly presence?: readonly Member[]
  readonly num_clients?: number
  readonly num_users?: number
  /** Any JSON value. */
  readonly data?: unknown
}

/** What a command is answered with if it is refused. */
export interface Refusal { readonly code: number, readonly message: string, readonly temporary?: boolean }

/** What a client sends in a request of its own, as its stream only brings it something. */
export interface Emulated {
  /** Node that has the session. */
  readonly node: string
  readonly session: string
  /** Commands. */
  readonly data: Buffer
}

/** How the Centrifuge protocol is written: from commands to what they say, and from what is to be said to messages. */
export interface Codec<Piece extends { readonly length: number } = { readonly length: number }> {
  /** What clients are told unasked. */
  readonly protocol: Protocol
  /** As callbacks call it. */
  readonly name: 'json' | 'protobuf'
  /** Asks a client for a sign of life. */
  readonly ping: Message

  /** Takes a message apart into commands that are not read yet; none, if it holds none. */
  split (message: Message): readonly Piece[]
  /** Whether a piece is the answer to a ping. */
  isPong (piece: Piece): boolean
  /** Reads a command, or says what is wrong with it in a few words. */
  read (piece: Piece): Command | string

  reply (id: number, name: CommandName, result: Result): Message
  refuse (id: number, refusal: Refusal): Message
  /** Says that the connection ends, and why, where the transport has no word for that. */
  disconnect (close: Close): Message

  /** Reads what a client sends for a session in a request of its own, or says what is wrong with it in a few words. */
  readEmulated (body: Buffer): Emulated | string
}
