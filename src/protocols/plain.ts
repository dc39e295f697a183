import type { Protocol } from './protocol.ts'

/** The protocol of any WebSocket client: a message is a publication, text stays text, binary stays binary. */
export const plain: Protocol = {
  name: 'plain',
  encode: (_channel, { kind, data }) => ({ data, binary: kind === 'binary' }),
  decode: ({ data, binary }) => ({ kind: binary ? 'binary' : 'text', data })
}
