import type { IncomingHttpHeaders } from 'node:http'
import type { Writable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError } from '../src/errors.ts'
import { newId, type Peer } from '../src/hub/connection.ts'
import type { Codec } from '../src/protocols/centrifuge/codec.ts'
import { json } from '../src/protocols/centrifuge/json.ts'
import { protobuf } from '../src/protocols/centrifuge/protobuf.ts'
import { Session, sessionParts, type SessionParts } from '../src/protocols/centrifuge/session.ts'
import { Sessions } from '../src/protocols/centrifuge/sessions.ts'
import type { Message } from '../src/protocols/protocol.ts'
import { HttpStreamTransport, type StreamWords } from '../src/transports/http-stream.ts'
import { MessageEncoding } from '../src/transports/message-encoding.ts'
import { EVENT_STREAM } from '../src/transports/sse-encoding.ts'

const LINE_END = Buffer.from('\n')
const DATA = Buffer.from('data: ')
const EVENT_END = Buffer.from('\n\n')
// A page of another origin asks once in this time whether it may, and not before each command.
const PREFLIGHT_S = 600
const PROTOBUF_TYPE = 'application/octet-stream'

const querystring = Type.Object({ cf_connect: Type.Optional(Type.String()) })

/** How one kind of stream is spoken on. */
interface Speech {
  readonly type: string
  readonly opening: string
  readonly encoding: MessageEncoding
  readonly words: StreamWords
  readonly parts: SessionParts
}

/**
 * `/connection/http_stream`, `/connection/sse` and `/emulation`: the Centrifuge client protocol for those whom something on the way keeps from
 * WebSockets. A stream brings what the server says; what the client says comes in requests of their own, to any node.
 */
const centrifugeHttp: FastifyPluginAsyncTypebox<PluginSettings> = async (app, settings) => {
  const { connections } = app
  const { maxMessageBytes, maxBufferedBytes } = settings
  const shared = sessionParts(app, settings)
  const sessions = new Sessions(connections.cluster, maxBufferedBytes / 4)

  const speech = (codec: Codec, type: string, opening: string, bytesOf: (message: Message) => Buffer): Speech => ({
    type,
    opening,
    encoding: new MessageEncoding(codec.protocol, bytesOf),
    words: { ping: bytesOf(codec.ping), answersPings: true, closing: (code, reason) => bytesOf(codec.disconnect({ code, reason })) },
    parts: { ...shared, codec, bytesOf }
  })
  const lines = speech(json, 'application/json; charset=utf-8', '', ({ data }) => Buffer.concat([data, LINE_END]))
  const events = speech(json, EVENT_STREAM, '\r\n', ({ data }) => Buffer.concat([DATA, data, EVENT_END]))
  const delimited = speech(protobuf, PROTOBUF_TYPE, '', ({ data }) => data)

  // Commands are one JSON document in each line, or Protobuf, whatever a client calls them.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  const connecting = {
    onRequest: app.crossOrigin,
    bodyLimit: maxMessageBytes,
    preValidation: app.identify,
    preHandler: (request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void) => done(connections.refusalOf(request.peer as Peer, []))
  }

  app.post('/connection/http_stream', { ...connecting, config: { connects: 'http_stream' } }, (request, reply) => begin(request, reply, isProtobuf(request) ? delimited : lines, request.body))

  app.post('/connection/sse', { ...connecting, config: { connects: 'sse' } }, (request, reply) => begin(request, reply, events, request.body))

  app.get('/connection/sse', { ...connecting, exposeHeadRoute: false, schema: { querystring }, config: { connects: 'sse' } }, (request, reply) => {
    const commands = Buffer.from(request.query.cf_connect ?? '')
    mustFit(commands)
    begin(request, reply, events, commands)
  })

  // In JSON the commands are a string, which is up to twice as long.
  app.post('/emulation', { onRequest: app.crossOrigin, bodyLimit: 2 * maxMessageBytes + 1024 }, async (request, reply) => {
    const codec = isProtobuf(request) ? protobuf : json
    const emulated = codec.readEmulated(request.body as Buffer)
    if (typeof emulated === 'string') throw fanfareError('FANFARE_BAD_EMULATION', emulated)
    mustFit(emulated.data)
    const taken = await sessions.pass(emulated, codec === protobuf)
    if (taken === undefined) throw fanfareError('FANFARE_NO_NODE')
    if (!taken) throw fanfareError('FANFARE_HELD_BACK')
    return reply.code(204).send()
  })

  app.route({
    method: ['GET', 'PUT', 'PATCH', 'DELETE'],
    url: '/emulation',
    exposeHeadRoute: false,
    handler: (_request, reply) => {
      reply.header('allow', 'POST, OPTIONS')
      throw fanfareError('FANFARE_METHOD_NOT_ALLOWED', 'POST')
    }
  })

  for (const path of ['/connection/http_stream', '/connection/sse', '/emulation']) {
    app.options(path, { onRequest: app.crossOrigin }, (request, reply) => {
      reply.headers({
        'access-control-allow-headers': request.headers['access-control-request-headers'] ?? '',
        'access-control-allow-methods': 'GET, POST',
        'access-control-max-age': PREFLIGHT_S
      }).code(204).send()
    })
  }

  function begin (request: FastifyRequest, reply: FastifyReply, speech: Speech, commands: unknown): void {
    const { type, opening, parts: { codec } } = speech
    // The request has none any more once its stream has begun.
    const { headers } = request
    const stream = app.beginStream(request, reply, type, opening)
    if (!stream) return
    const session = sessionOn(stream, speech, { ...request.peer as Peer, protocol: codec.name }, headers)
    session.receive({ data: Buffer.isBuffer(commands) ? commands : Buffer.alloc(0), binary: codec === protobuf })
  }

  // By itself, so that what it leaves behind holds nothing of the request.
  function sessionOn (stream: Writable, { encoding, words, parts }: Speech, peer: Peer, headers: IncomingHttpHeaders): Session {
    const transport = new HttpStreamTransport(stream, words)
    const { address, transport: kind, protocol } = peer
    const id = newId()
    const connection = connections.accept(transport, encoding, { address, transport: kind, protocol })
    const session = new Session(connection, { ...peer, session: id }, headers, parts, { session: id, node: connections.cluster.id })
    sessions.add(id, session, transport)
    stream.once('close', () => sessions.remove(id))
    app.follow(stream, connection)
    return session
  }

  function mustFit ({ length }: Buffer): void {
    if (length > maxMessageBytes) throw fanfareError('FANFARE_TOO_LARGE', maxMessageBytes, length)
  }
}

function isProtobuf ({ headers }: FastifyRequest): boolean {
  return headers['content-type']?.split(';')[0] === PROTOBUF_TYPE
}

export default centrifugeHttp
