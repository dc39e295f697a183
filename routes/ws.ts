import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError } from '../src/errors.ts'
import type { Admission } from '../src/hub/access-api.ts'
import { parsePosition } from '../src/hub/publication.ts'
import { decodePlain, plain, positionedPlain } from '../src/protocols/plain.ts'
import { transportOf, WebSocketEncodings } from '../src/transports/websocket.ts'

const querystring = Type.Object({
  channel: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
  echo: Type.Boolean({ default: true }),
  history: Type.Optional(Type.Integer({ minimum: 0 })),
  since: Type.Optional(Type.String({ pattern: '^[\\w-]+:\\d{1,15}$' })),
  positions: Type.Boolean({ default: false })
})

type Query = Static<typeof querystring>

/** `/ws`: what a client sends, all clients of the channel get. */
const ws: FastifyPluginAsyncTypebox<PluginSettings> = async (app, { compressionThreshold }) => {
  const { connections } = app
  const encodings = new WebSocketEncodings(plain, compressionThreshold)
  const positionedEncodings = new WebSocketEncodings(positionedPlain, compressionThreshold)

  app.get('/ws', {
    websocket: true,
    schema: { querystring },
    preValidation: app.identify,
    preHandler: [
      app.admit(({ query: { channel, history, since } }: FastifyRequest<{ Querystring: Query }>) => ({ channel, history: Boolean(history) || since !== undefined })),
      ({ query: { since }, admission }: FastifyRequest<{ Querystring: Query }>, _reply, done) => done(since !== undefined && (admission?.channels.length ?? 0) > 1 ? fanfareError('FANFARE_SINCE_SEVERAL') : undefined),
      app.prepare
    ]
  }, (socket, request) => {
    const { echo, history, since, positions } = request.query
    const admission = request.admission as Admission
    // What is sent goes to the first.
    const [channel] = admission.channels as [string]
    const encoding = (positions ? positionedEncodings : encodings).for(socket, request.headers['sec-websocket-extensions'])
    const hearing = { echo, last: history, since: since ? parsePosition(since) : undefined }
    const connection = connections.open(transportOf(socket, request.raw), encoding, admission, hearing)
    socket.on('message', (data: Buffer, binary) => connections.receive(connection, channel, decodePlain({ data, binary })))
    socket.on('pong', () => connections.alive(connection))
    socket.on('close', (code) => connections.closed(connection, code))
  })
}

export default ws
