import type { Member } from '../../brokers/broker.ts'
import type { Publication } from '../../hub/publication.ts'
import { depthRefusal } from '../../json-depth.ts'
import type { Message, Protocol } from '../protocol.ts'

/** The Centrifuge protocol in JSON: what clients are told unasked. */
export const centrifugeJson: Protocol = {
  name: 'centrifuge in JSON',
  encode: (channel, publication) => push(channel, 'pub', publicationText(publication)),
  encodeEnd: (channel, end) => push(channel, 'unsubscribe', JSON.stringify(end)),
  encodePlaced: (channel, position) => push(channel, 'subscribe', JSON.stringify(position ? { recoverable: true, positioned: true, ...position } : {}))
}

/** What is a ping from the server, and its answer from the client. */
export const PING = '{}'

/** A publication as JSON. JSON has no bytes: they are base64. */
export function publicationText (publication: Publication): string {
  const { kind, data } = publication
  return `{"data":${kind === 'binary' ? JSON.stringify(data.toString('base64')) : valueText(publication)}${restText(publication)}}`
}

/** The JSON of text or JSON that was published: text that can be read as JSON is JSON, and a string otherwise. Without line breaks, which stand between messages. */
export function valueText ({ kind, data }: Publication): string {
  const text = data.toString()
  return kind === 'json' || isJson(text) ? text.replace(/[\r\n]+/g, '') : JSON.stringify(text)
}

/** The fields of a publication beside its data, each after a comma. */
export function restText ({ from, by, position, tags }: Publication): string {
  const info = by ?? (from === undefined ? undefined : { client: from, user: '' })
  return `${info ? `,"info":${JSON.stringify(clientInfo(info))}` : ''}${position ? `,"offset":${position.offset}` : ''}${tags ? `,"tags":${JSON.stringify(tags)}` : ''}`
}

/** What others may see of a client, in the names of the protocol. */
export function clientInfo ({ user, client, info, channelInfo }: Member): object {
  return { user, client, conn_info: info, chan_info: channelInfo }
}

function push (channel: string, kind: string, text: string): Message {
  return { data: Buffer.from(`{"push":{"channel":${JSON.stringify(channel)},"${kind}":${text}}}`), binary: false }
}

function isJson (text: string): boolean {
  if (depthRefusal(text) !== undefined) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
