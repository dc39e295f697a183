import { mayComeBack } from '../close-codes.ts'
import type { Encoding } from '../hub/encoding.ts'
import { formatPosition, parsePosition, type Position, type Publication } from '../hub/publication.ts'
import type { StreamWords } from './http-stream.ts'

// The event stream format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

const LF = 10
const CR = 13
const NEXT_HOUR_MS = 3_600_000
const EVENT_END = Buffer.from('\n\n')
const NOTHING = Buffer.alloc(0)

/** The content type of an event stream. */
export const EVENT_STREAM = 'text/event-stream; charset=utf-8'

/** A position that no channel has: who begins there is told that publications are lost to it. */
export const NOWHERE: Position = { epoch: '-', offset: 0 }

/** What the name of a channel takes in an id beside itself: `=`, epoch, `:`, offset and `&`. */
export const POSITION_BYTES = 26

/** Writes the positions of several channels as an id: `news=Zx81kQpL:7&sport=Zx81kQpL:12`. */
function formatPositions (positions: ReadonlyMap<string, Position>): string {
  return Array.from(positions, ([channel, position]) => formatPair(channel, position)).join('&')
}

function formatPair (channel: string, position: Position): string {
  return `${encodeURIComponent(channel)}=${formatPosition(position)}`
}

/**
 * Reads what `formatPositions` wrote.
 *
 * @param most positions that it may hold
 * @returns nothing if it is something else
 */
export function parsePositions (id: string, most: number): Map<string, Position> | undefined {
  const pairs = id.split('&', most + 1)
  if (pairs.length > most) return
  const positions = new Map<string, Position>()
  for (const pair of pairs) {
    const [name = '', position = ''] = pair.split('=', 2)
    const parsed = parsePosition(position)
    const channel = decoded(name)
    if (!parsed || !channel) return
    positions.set(channel, parsed)
  }
  return positions
}

function decoded (text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {}
}

/**
 * Writes what a stream begins with: which channels it carries, how long to wait before coming back, and the id to come
 * back with, as an event without data, which EventSource only remembers.
 *
 * @param retryMs in milliseconds
 */
export function opening (channels: readonly string[], retryMs: number, positions: ReadonlyMap<string, Position>): string {
  const id = positions.size > 0 ? `id: ${formatPositions(positions)}\n` : ''
  return `: connected to ${channels.join(', ')}\nretry: ${retryMs}\n${id}\n`
}

/** What is said on the stream beside publications. Nobody answers the comment that keeps it awake. */
export const sseWords: StreamWords = { ping: Buffer.from(':\n\n'), answersPings: false, closing }

// Where coming back cannot help, a page that does not listen to this event comes back after an hour, not at once.
function closing (code: number, reason: string): Buffer {
  const reconnect = mayComeBack(code)
  const retry = reconnect ? '' : `retry: ${NEXT_HOUR_MS}\n`
  return Buffer.from(`${retry}event: close\ndata: ${JSON.stringify({ code, reason, reconnect })}\n\n`)
}

/** Publications as events. All clients that hear one channel share an object of this class, whatever that channel is. */
export class SseEncoding implements Encoding {
  readonly #resuming: boolean

  /** @param resuming whether those who share it come back, and want to know whether anything is lost to them */
  constructor (resuming: boolean) {
    this.#resuming = resuming
  }

  encode (channel: string, publications: readonly Publication[]): Buffer {
    const pieces: Buffer[] = []
    for (const publication of publications) pieces.push(Buffer.from(this.#head(channel, publication)), linesOf(publication), EVENT_END)
    return Buffer.concat(pieces)
  }

  encodeSkipped (channel: string, count: number): Buffer {
    return Buffer.from(`event: skipped\ndata: ${JSON.stringify({ channel, count })}\n\n`)
  }

  /** The position is where the channel stands, before which publications may still come: only who lost them goes on there. */
  encodeRecovery (channel: string, recovered: boolean, position: Position): Buffer {
    const data = `data: ${JSON.stringify({ channel })}\n\n`
    if (!recovered) return Buffer.from(`id: ${this.id(channel, position)}\nevent: unrecovered\n${data}`)
    return this.resumes(channel) ? Buffer.from(`event: recovered\n${data}`) : NOTHING
  }

  protected id (channel: string, position: Position): string {
    return formatPair(channel, position)
  }

  protected resumes (_channel: string): boolean {
    return this.#resuming
  }

  #head (channel: string, { kind, position }: Publication): string {
    const id = position ? `id: ${this.id(channel, position)}\n` : ''
    return `${id}${kind === 'binary' ? 'event: binary\n' : ''}data: `
  }
}

/** The same for one client that hears several channels: its ids hold where it stands in each of them. */
export class SseEncodingForSeveral extends SseEncoding {
  readonly #pairs: Map<string, string>
  readonly #resumed: ReadonlySet<string>

  /**
   * @param positions where the client begins
   * @param resumed channels that it comes back to
   */
  constructor (positions: ReadonlyMap<string, Position>, resumed: ReadonlySet<string>) {
    super(false)
    this.#pairs = new Map(Array.from(positions, ([channel, position]) => [channel, formatPair(channel, position)]))
    this.#resumed = resumed
  }

  // What is encoded for one client alone is encoded in the order in which it is written.
  protected override id (channel: string, position: Position): string {
    this.#pairs.set(channel, formatPair(channel, position))
    return Array.from(this.#pairs.values()).join('&')
  }

  protected override resumes (channel: string): boolean {
    return this.#resumed.has(channel)
  }
}

function linesOf ({ kind, data }: Publication): Buffer {
  if (kind === 'binary') return Buffer.from(data.toString('base64'))
  if (!data.includes(LF) && !data.includes(CR)) return data
  return Buffer.from(data.toString().replace(/\r\n|\n|\r/g, '\ndata: '))
}
