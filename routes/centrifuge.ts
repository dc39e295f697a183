import { createRequire } from 'node:module'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { PROTOBUF_SUBPROTOCOL } from '../src/auth/token-of-request.ts'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError } from '../src/errors.ts'
import type { Peer } from '../src/hub/connection.ts'
import { centrifugeJson, PING } from '../src/protocols/centrifuge/json.ts'
import { Session } from '../src/protocols/centrifuge/session.ts'
import { transportOf, WebSocketEncodings } from '../src/transports/websocket.ts'
import { frameMessage } from '../src/transports/websocket-frames.ts'

const { version } = createRequire(import.meta.url)('fanfare/package.json') as { version: string }

const messageOf = (text: string): Buffer => frameMessage({ data: Buffer.from(text), binary: false })
// Static, as every connection gets the same.
const ping = messageOf(PING)

const querystring = Type.Object({
  format: Type.Optional(Type.String()),
  cf_protocol: Type.Optional(Type.String()),
  cf_ws_frame_ping_pong: Type.Boolean({ default: false })
})

/** `/connection/websocket`: the Centrifuge client protocol, which client libraries of many languages speak. */
const centrifuge: FastifyPluginAsyncTypebox<PluginSettings> = async (app, { compressionThreshold, pingInterval }) => {
  const { connections, tokens, log } = app
  const encodings = new WebSocketEncodings(centrifugeJson, compressionThreshold)
  const parts = { connections, tokens, log, version: `fanfare ${version}`, pingInterval, messageOf }
  const partsWithFramePings = { ...parts, pingInterval: 0 }

  app.get('/connection/websocket', {
    websocket: true,
    schema: { querystring },
    preValidation: app.identify,
    preHandler: (request, _reply, done) => {
      const { format, cf_protocol: protocol } = request.query
      const wantsProtobuf = format === 'protobuf' || protocol === 'protobuf' || request.headers['sec-websocket-protocol']?.includes(PROTOBUF_SUBPROTOCOL)
      done(wantsProtobuf ? fanfareError('FANFARE_NO_PROTOBUF') : connections.refusalOf(request.peer as Peer, []))
    }
  }, (socket, request) => {
    const { headers } = request
    const byFrames = request.query.cf_ws_frame_ping_pong
    const peer = { ...request.peer as Peer, protocol: 'json' }
    const encoding = encodings.for(socket, headers['sec-websocket-extensions'])
    const { address, transport, protocol } = peer
    const connection = connections.accept(transportOf(socket, request.raw, byFrames ? undefined : ping), encoding, { address, transport, protocol })
    const session = new Session(connection, peer, headers, byFrames ? partsWithFramePings : parts)
    socket.on('message', (data: Buffer, binary) => session.receive(data, binary))
    if (byFrames) socket.on('pong', () => connections.alive(connection))
    socket.on('close', (code) => connections.closed(connection, code))
  })
}

export default centrifuge
