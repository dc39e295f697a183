import type { Close } from '../close-codes.ts'
import type { Position, Publication } from '../hub/publication.ts'

/** One message as a transport carries it. */
export interface Message {
  readonly data: Buffer
  readonly binary: boolean
}

/** What the bytes mean: from what the hub has for somebody to messages. Knows no transport. */
export interface Protocol {
  readonly name: string
  encode (channel: string, publication: Publication): Message
  /** Tells a subscriber that it hears a channel no more, where there is a word for that. */
  encodeEnd? (channel: string, end: Close): Message
  /** Tells somebody that the server has put it into a channel, where there is a word for that. */
  encodePlaced? (channel: string, position: Position | undefined, recoverable: boolean, data: unknown): Message
}
