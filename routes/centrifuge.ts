import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { PROTOBUF_SUBPROTOCOL, SUBPROTOCOL } from '../src/auth/token-of-request.ts'
import type { PluginSettings } from '../src/config.ts'
import type { Peer } from '../src/hub/connection.ts'
import type { Codec } from '../src/protocols/centrifuge/codec.ts'
import { json } from '../src/protocols/centrifuge/json.ts'
import { protobuf } from '../src/protocols/centrifuge/protobuf.ts'
import { Session, sessionParts } from '../src/protocols/centrifuge/session.ts'
import { transportOf, WebSocketEncodings } from '../src/transports/websocket.ts'
import { frameMessage } from '../src/transports/websocket-frames.ts'

const querystring = Type.Object({
  format: Type.Optional(Type.String()),
  cf_protocol: Type.Optional(Type.String()),
  cf_ws_frame_ping_pong: Type.Boolean({ default: false })
})

type Request = FastifyRequest<{ Querystring: Static<typeof querystring> }>

/** `/connection/websocket`: the Centrifuge client protocol, which client libraries of many languages speak. */
const centrifuge: FastifyPluginAsyncTypebox<PluginSettings> = async (app, settings) => {
  const { connections } = app
  const shared = { ...sessionParts(app, settings), bytesOf: frameMessage }
  const speaking = (codec: Codec) => ({
    codec,
    encodings: new WebSocketEncodings(codec.protocol, settings.compressionThreshold),
    // Static, as every connection gets the same.
    ping: frameMessage(codec.ping),
    parts: { ...shared, codec },
    partsWithFramePings: { ...shared, codec, pingInterval: 0 }
  })
  const [inJson, inProtobuf] = [speaking(json), speaking(protobuf)]

  app.get('/connection/websocket', {
    websocket: true,
    schema: { querystring },
    config: { identifiesLater: true },
    preValidation: app.identify,
    preHandler: (request, _reply, done) => done(connections.refusalOf(request.peer as Peer, []))
  }, (socket, request) => {
    const { headers, peer, query: { cf_ws_frame_ping_pong: byFrames } } = request
    const { codec, encodings, ping, parts, partsWithFramePings } = wantsProtobuf(request, socket.protocol) ? inProtobuf : inJson
    const from = { ...peer as Peer, protocol: codec.name }
    const { address, transport, protocol } = from
    const encoding = encodings.for(socket, headers['sec-websocket-extensions'])
    const connection = connections.accept(transportOf(socket, request.raw, byFrames ? undefined : ping), encoding, { address, transport, protocol })
    const session = new Session(connection, from, headers, byFrames ? partsWithFramePings : parts)
    socket.on('message', (data: Buffer, binary) => session.receive({ data, binary }))
    if (byFrames) socket.on('pong', () => connections.alive(connection))
    socket.on('close', (code) => connections.closed(connection, code))
  })
}

function wantsProtobuf ({ headers, query: { format, cf_protocol: protocol } }: Request, chosen: string): boolean {
  if (format === 'protobuf' || protocol === 'protobuf' || chosen === PROTOBUF_SUBPROTOCOL) return true
  // Beside a token another one is chosen.
  return chosen === SUBPROTOCOL && (headers['sec-websocket-protocol'] ?? '').split(',').some((name) => name.trim() === PROTOBUF_SUBPROTOCOL)
}

export default centrifuge
