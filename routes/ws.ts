import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { PluginSettings } from '../src/config.ts'
import { plain } from '../src/protocols/plain.ts'
import { transportOf, WebSocketEncodings } from '../src/transports/websocket.ts'

const querystring = Type.Object({
  channel: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
  echo: Type.Boolean({ default: true })
})

/** `/ws`: what a client sends, all clients of the channel get. */
const ws: FastifyPluginAsyncTypebox<PluginSettings> = async (app, { compressionThreshold }) => {
  const { connections } = app
  const encodings = new WebSocketEncodings(plain, compressionThreshold)

  app.get('/ws', {
    websocket: true,
    schema: { querystring },
    // With a callback: between this check and `open` no other connection may come in.
    preHandler: (request, _reply, done) => done(connections.refusalOf({ address: request.ip }, channelsOf(request.query)))
  }, (socket, request) => {
    const { echo } = request.query
    const channels = channelsOf(request.query)
    const [channel] = channels
    const encoding = encodings.for(socket, request.headers['sec-websocket-extensions'])
    const connection = connections.open(transportOf(socket, request.raw), encoding, { address: request.ip }, channels, echo)
    socket.on('message', (data: Buffer, binary) => connections.receive(connection, channel, plain.decode({ data, binary })))
    socket.on('pong', () => connections.alive(connection))
    socket.on('close', (code) => connections.closed(connection, code))
  })
}

// Several channels may be heard; what is sent goes to the first.
function channelsOf ({ channel = 'broadcast' }: { channel?: string | string[] }): [string, ...string[]] {
  return (Array.isArray(channel) ? channel : [channel]) as [string, ...string[]]
}

export default ws
