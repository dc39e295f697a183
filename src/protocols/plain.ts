import type { Publication } from '../hub/publication.ts'
import type { Message, Protocol } from './protocol.ts'

/** The protocol of any WebSocket client: a message is a publication, text stays text, binary stays binary. */
export const plain: Protocol = {
  name: 'plain',
  encode: (_channel, { kind, data }) => ({ data, binary: kind === 'binary' })
}

/** What a client of it publishes with a message. */
export function decodePlain ({ data, binary }: Message): Publication {
  return { kind: binary ? 'binary' : 'text', data }
}

/** The same for clients that want to know where they are: JSON such as `{"offset":7,"epoch":"Zx81kQpL","data":"hello"}`. */
export const positionedPlain: Protocol = {
  name: 'plain with positions',
  encode: (_channel, publication) => ({ data: Buffer.from(positioned(publication)), binary: false })
}

/** A publication as JSON: text is a string, binary a string of base64 beside `"base64":true`. */
function positioned ({ kind, data, position }: Publication): string {
  const value = kind === 'json' ? data.toString() : JSON.stringify(data.toString(kind === 'binary' ? 'base64' : 'utf8'))
  const place = position ? `"offset":${position.offset},"epoch":${JSON.stringify(position.epoch)},` : ''
  return `{${place}${kind === 'binary' ? '"base64":true,' : ''}"data":${value}}`
}
