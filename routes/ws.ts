import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { PluginSettings } from '../src/config.ts'
import { parsePosition } from '../src/hub/publication.ts'
import { plain, positionedPlain } from '../src/protocols/plain.ts'
import { transportOf, WebSocketEncodings } from '../src/transports/websocket.ts'

const querystring = Type.Object({
  channel: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
  echo: Type.Boolean({ default: true }),
  history: Type.Optional(Type.Integer({ minimum: 0 })),
  since: Type.Optional(Type.String({ pattern: '^[\\w-]+:\\d{1,15}$' })),
  positions: Type.Boolean({ default: false })
})

/** `/ws`: what a client sends, all clients of the channel get. */
const ws: FastifyPluginAsyncTypebox<PluginSettings> = async (app, { compressionThreshold }) => {
  const { connections } = app
  const encodings = new WebSocketEncodings(plain, compressionThreshold)
  const positionedEncodings = new WebSocketEncodings(positionedPlain, compressionThreshold)

  app.get('/ws', {
    websocket: true,
    schema: { querystring },
    // With a callback: between the last check and `open` no other connection may come in.
    preHandler: (request, _reply, done) => connections.admit({ address: request.ip }, channelsOf(request.query), done)
  }, (socket, request) => {
    const { echo, history, since, positions } = request.query
    const channels = channelsOf(request.query)
    const [channel] = channels
    const encoding = (positions ? positionedEncodings : encodings).for(socket, request.headers['sec-websocket-extensions'])
    const hearing = { echo, last: history, since: since ? parsePosition(since) : undefined }
    const connection = connections.open(transportOf(socket, request.raw), encoding, { address: request.ip }, channels, hearing)
    socket.on('message', (data: Buffer, binary) => connections.receive(connection, channel, plain.decode({ data, binary })))
    socket.on('pong', () => connections.alive(connection))
    socket.on('close', (code) => connections.closed(connection, code))
  })
}

// Several channels may be heard; what is sent goes to the first.
function channelsOf ({ channel = 'broadcast' }: { channel?: string | string[] }): [string, ...string[]] {
  return (Array.isArray(channel) ? [...new Set(channel)] : [channel]) as [string, ...string[]]
}

export default ws
