import type { Position, Publication } from '../../hub/publication.ts'
import type { Stream } from '../history.ts'
import type { Heard } from '../feed.ts'

// A publication in Redis: one byte of kind, four bytes with the length of a JSON document of the rest, that, the data.
const KINDS = ['text', 'binary', 'json'] as const
const NUMBERED = 'N'.charCodeAt(0)
const PREFIX_BYTES = 5

/** Makes a publication into what Redis keeps of it. */
export function encodePublication ({ kind, data, from, by, tags }: Publication): Buffer {
  const rest = from !== undefined || tags !== undefined ? Buffer.from(JSON.stringify({ from, by, tags })) : Buffer.alloc(0)
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix[0] = KINDS.indexOf(kind)
  prefix.writeUInt32BE(rest.length, 1)
  return Buffer.concat([prefix, rest, data])
}

function decodePublication (bytes: Buffer, position: Position | undefined): Publication {
  const end = PREFIX_BYTES + bytes.readUInt32BE(1)
  const { from, by, tags }: Pick<Publication, 'from' | 'by' | 'tags'> = end > PREFIX_BYTES ? JSON.parse(bytes.toString('utf8', PREFIX_BYTES, end)) : {}
  return { kind: KINDS[bytes[0] as number] as Publication['kind'], data: bytes.subarray(end), from, by, tags: tags && textsOf(tags), position }
}

// Versions of before took any. Encodings can do nothing with others, and the publication counts without them.
function textsOf (tags: NonNullable<Publication['tags']>): Publication['tags'] {
  const texts = Object.entries(tags).filter(([, value]) => typeof value === 'string')
  return texts.length > 0 ? Object.fromEntries(texts) : undefined
}

/** Reads a position as the scripts write it. */
export function positionOf (text: string): Position {
  const at = text.lastIndexOf(':')
  return { epoch: text.slice(0, at), offset: Number(text.slice(at + 1)) }
}

/** Reads what publish.lua has published. */
export function decodeHeard (message: Buffer): Heard {
  const end = message.indexOf('\n')
  const { epoch, offset: first } = positionOf(message.toString('latin1', 0, end))
  const publications: Publication[] = []
  let offset = first
  for (let at = end + 1; at < message.length;) {
    const start = at + 5
    const position = message[at] === NUMBERED ? { epoch, offset: offset++ } : undefined
    at = start + message.readUInt32BE(at + 1)
    publications.push(decodePublication(message.subarray(start, at), position))
  }
  return { epoch, publications }
}

/** What history.lua returns. */
export type HistoryReply = [epoch: Buffer, offset: number, earlier: Buffer, size: number, entries: [id: Buffer, fields: Buffer[]][], cut: number]

/** Reads what history.lua returns; the publications are in order of their offsets afterwards, also if they were asked for in reverse. */
export function decodeHistory ([epochBytes, offset, earlier, size, entries, cut]: HistoryReply, reverse: boolean): Stream {
  const epoch = epochBytes.toString()
  const publications: Publication[] = []
  for (const [id, fields] of reverse ? entries.reverse() : entries) {
    const count = fields.length / 2
    const first = Number.parseInt(id.toString()) - count + 1
    for (let index = 0; index < count; index++) {
      // The channel keeps no more, though the oldest entry may.
      if (first + index > offset - size) publications.push(decodePublication(fields[2 * index + 1] as Buffer, { epoch, offset: first + index }))
    }
  }
  return { position: { epoch, offset }, publications, earlier: earlier.length > 0 ? earlier.toString().split(',').map(positionOf) : [], cut: cut === 1 }
}
