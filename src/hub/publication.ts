import type { Member } from '../brokers/broker.ts'
import { fanfareError, type FanfareError } from '../errors.ts'

/** Where a publication stands in its channel. */
export interface Position {
  /** 1, 2, 3 … */
  readonly offset: number
  /** Changes whenever offsets start anew, or publications may have been lost. */
  readonly epoch: string
}

/** A position as text, `EPOCH:OFFSET`. */
export function formatPosition ({ epoch, offset }: Position): string {
  return `${epoch}:${offset}`
}

/** Reads what `formatPosition` wrote; nothing if it is something else. */
export function parsePosition (text: string): Position | undefined {
  const [, epoch, offset] = /^([\w-]+):(\d{1,15})$/.exec(text) ?? []
  if (epoch !== undefined) return { epoch, offset: Number(offset) }
}

/** One message in a channel. */
export interface Publication {
  /** How it was published, and so how the plain protocol sends it: `binary` as binary, the others as text. */
  readonly kind: 'text' | 'binary' | 'json'
  /** The bytes of the text, the data or the JSON document. */
  readonly data: Buffer
  /** Id of the connection that published it; none for publications from code. */
  readonly from?: string | undefined
  /** Who published it, if that is a user. */
  readonly by?: Member | undefined
  /** What the publisher adds for filters and handlers. */
  readonly tags?: Readonly<Record<string, string>> | undefined
  /** Where it stands; given by the broker, unless it was published past the history. */
  readonly position?: Position | undefined
}

/** A JSON document that is written already, so that it is not written again for each channel. */
export class WrittenJson {
  readonly bytes: Buffer

  /**
   * @param value a value, or bytes of what is JSON already and stays as it is written
   * @throws {FanfareError} FANFARE_BAD_DATA for `undefined`, functions, symbols, and what JSON cannot hold
   */
  constructor (value: unknown) {
    this.bytes = Buffer.isBuffer(value) ? value : Buffer.from(jsonOf(value))
  }
}

/** What may be published from code. */
export type PublicationData = string | Uint8Array | object | number | boolean | null

/**
 * Makes a publication of a value: a string is text, a Buffer (or any Uint8Array) binary, everything else JSON.
 *
 * @throws {FanfareError} FANFARE_BAD_DATA for `undefined`, functions, symbols, and what JSON cannot hold
 */
export function publicationOf (data: PublicationData): Publication {
  if (typeof data === 'string') return { kind: 'text', data: Buffer.from(data) }
  // A copy: it goes out after this turn of the event loop, when the caller may use its own for something else.
  if (data instanceof Uint8Array) return { kind: 'binary', data: Buffer.from(data) }
  return { kind: 'json', data: (data instanceof WrittenJson ? data : new WrittenJson(data)).bytes }
}

/** The value that a publication was made of: the string, the Buffer, or what the JSON says. */
export function valueOf ({ kind, data }: Publication): unknown {
  if (kind === 'binary') return data
  return kind === 'text' ? data.toString() : JSON.parse(data.toString())
}

/** Sees that a value, if there is any, can be written as JSON; throws FANFARE_BAD_DATA. */
export function mustBeJson (value: unknown): void {
  if (value !== undefined) jsonOf(value)
}

/** Sees that tags are texts; throws FANFARE_BAD_DATA. */
export function mustBeTags (tags: Readonly<Record<string, unknown>>): void {
  const [name, value] = Object.entries(tags).find(([, value]) => typeof value !== 'string') ?? []
  if (name !== undefined) throw fanfareError('FANFARE_BAD_DATA', `a tag ${JSON.stringify(name)} that is ${value === null ? 'null' : typeof value}, and no string`)
}

function jsonOf (data: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(data)
  } catch (error) {
    throw fanfareError('FANFARE_BAD_DATA', (error as Error).message)
  }
  if (text === undefined) throw fanfareError('FANFARE_BAD_DATA', typeof data)
  return text
}

/**
 * Says why a channel cannot have this name, if so. Control, format and separator characters are refused: they would let a name forge lines in
 * logs, or look like another name.
 *
 * @returns FANFARE_BAD_CHANNEL, or nothing
 */
export function channelNameRefusal (name: string): FanfareError | undefined {
  if (name === '' || Buffer.byteLength(name) > 255 || /[\p{C}\p{Zl}\p{Zp}]/u.test(name)) {
    return fanfareError('FANFARE_BAD_CHANNEL', name === '' ? 'none' : `${Buffer.byteLength(name)} bytes`)
  }
}
