import type { Publication } from '../hub/publication.ts'

/** One message as a transport carries it. */
export interface Message {
  readonly data: Buffer
  readonly binary: boolean
}

/** What the bytes mean: from publications to messages and back. Knows no transport. */
export interface Protocol {
  readonly name: string
  encode (channel: string, publication: Publication): Message
  decode (message: Message): Publication
}
