import { isUtf8 } from 'node:buffer'
import type { Member } from '../brokers/broker.ts'
import { WrittenJson, type Position, type Publication, type PublicationData } from '../hub/publication.ts'
import { depthRefusal } from '../json-depth.ts'

/** The JSON of what was published as text or JSON: text that can be read as JSON is JSON, and a string otherwise. Without line breaks, which stand between messages. */
export function valueText ({ kind, data }: Publication): string {
  const text = data.toString()
  return kind === 'json' || isJson(text) ? text.replace(/[\r\n]+/g, '') : JSON.stringify(text)
}

/** The fields of a publication beside its data, each after a comma. */
export function restText (publication: Publication): string {
  const { position, tags } = publication
  const info = publisherOf(publication)
  return `${info ? `,"info":${JSON.stringify(clientInfo(info))}` : ''}${position ? `,"offset":${position.offset}` : ''}${tags ? `,"tags":${JSON.stringify(tags)}` : ''}`
}

/** Who published something, if that was a client. */
export function publisherOf ({ from, by }: Publication): Member | undefined {
  return by ?? (from === undefined ? undefined : { client: from, user: '' })
}

/** What others may see of a client, in the names of the protocol. */
export function clientInfo ({ user, client, info, channelInfo }: Member): object {
  return { user, client, conn_info: info, chan_info: channelInfo }
}

/** The text of bytes that can be read as JSON, which is UTF-8; nothing if they are something else. */
export function jsonIn (bytes: Uint8Array): string | undefined {
  if (!isUtf8(bytes)) return
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  if (isJson(text)) return text
}

/** What is published where bytes are given: those that are JSON are JSON, as in Protobuf. */
export function bytesOrJson (bytes: Buffer): PublicationData {
  return jsonIn(bytes) === undefined ? bytes : new WrittenJson(bytes)
}

/** A value that is given as JSON, or as JSON in base64; what is in base64 and no JSON stays as it is. */
export function valueIn (value: unknown, base64: string | null | undefined): unknown {
  if (value !== undefined || base64 === undefined || base64 === null) return value
  const text = jsonIn(Buffer.from(base64, 'base64'))
  return text === undefined ? base64 : JSON.parse(text)
}

/** Where somebody begins to hear a channel, in the names of the protocol. */
export function positionFields (position: Position | undefined, recoverable: boolean): object {
  return position ? { ...recoverable && { recoverable }, positioned: true, ...position } : {}
}

/** Whether a text can be read as JSON, and is not nested too deep for that. */
function isJson (text: string): boolean {
  if (depthRefusal(text) !== undefined) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
