import type { OutgoingHttpHeaders } from 'node:http'
import type { Writable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { originGuard } from '../src/auth/origin.ts'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError } from '../src/errors.ts'
import type { Admission } from '../src/hub/access-api.ts'
import type { Connection } from '../src/hub/connection.ts'
import type { ConnectionManager } from '../src/hub/connection-manager.ts'
import type { Position } from '../src/hub/publication.ts'
import { beginStream, SseTransport } from '../src/transports/sse.ts'
import { NOWHERE, opening, parsePositions, POSITION_BYTES, SseEncoding, SseEncodingForSeveral } from '../src/transports/sse-encoding.ts'

// nginx takes 8 KiB for one header, and Node 16 KiB for all of them and the URL, which holds the names too.
const MAX_ID_BYTES = 7500
// Clients that were cut together do not come back together.
const RETRY_MS = 2000
const RETRY_SPREAD_MS = 2000
// What a stopping node gives those that it has closed, beyond the drain, to take their last bytes. The back end of the
// callbacks gets 1 s after that, and the process ends 1.5 s after the drain.
const LAST_BYTES_MS = 400
// What is noted for a client that has gone: there is no goodbye (the code that a WebSocket has for that).
const GONE = 1006

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  // nginx passes on at once what comes.
  'x-accel-buffering': 'no'
}

const querystring = Type.Object({
  channel: Type.Optional(Type.Union([Type.String(), Type.Array(Type.String())])),
  history: Type.Integer({ minimum: 0, default: 0 }),
  lastEventId: Type.Optional(Type.String())
})

type Query = Static<typeof querystring>

/** Where a client begins to hear its channels. */
interface Beginning {
  /** A channel without a position begins with its history. */
  readonly positions: Map<string, Position>
  /** Channels that the client comes back to. */
  readonly resumed: Set<string>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where the client of an event stream begins. */
    sseBeginning: Beginning | null
  }
}

/** `/sse`: what is published to a channel, as server-sent events. */
const sse: FastifyPluginAsyncTypebox<PluginSettings> = async (app, { allowedOrigins, maxChannels }) => {
  const { connections } = app
  const originRefusal = originGuard(allowedOrigins)
  const encodings = { fresh: new SseEncoding(false), resuming: new SseEncoding(true) }
  const streams = new Set<Writable>()
  app.decorateRequest('sseBeginning', null)

  // The connections have been closed by now; the last events may still be on their way.
  app.addHook('preClose', async () => {
    await Promise.race([Promise.all(Array.from(streams, closed)), wait(LAST_BYTES_MS, undefined, { ref: false })])
    for (const stream of streams) stream.destroy()
  })

  app.get('/sse', {
    exposeHeadRoute: false,
    schema: { querystring },
    onRequest: (request, reply, done) => {
      const { origin } = request.headers
      const refusal = originRefusal(request)
      if (origin !== undefined && !refusal) reply.headers({ 'access-control-allow-origin': origin, vary: 'Origin' })
      done(refusal)
    },
    config: { connects: true },
    preValidation: app.identify,
    preHandler: [
      app.admit(({ query: { channel, history } }: FastifyRequest<{ Querystring: Query }>) => ({ channel, history: history > 0 })),
      async (request) => {
        const { channels, peer } = request.admission as Admission
        const refusal = idRefusal(channels)
        if (refusal) throw refusal
        // Who may not read the history cannot come back to it either: what it may have missed is lost to it.
        const readable = channels.filter((channel) => connections.mayRead(peer, channel))
        request.sseBeginning = await beginningOf(connections, channels, readable, idOf(request), request.query.history, maxChannels)
      },
      app.prepare
    ]
  }, (request, reply) => {
    const admission = request.admission as Admission
    const { channels } = admission
    const { positions, resumed } = request.sseBeginning as Beginning
    // It would be the socket of another answer.
    if (!reply.raw.socket) throw fanfareError('FANFARE_PIPELINED')
    reply.headers(HEADERS).hijack()
    if (request.raw.socket.destroyed) return
    const retryMs = Math.round(RETRY_MS + Math.random() * RETRY_SPREAD_MS)
    const stream = beginStream(reply.raw, reply.getHeaders() as OutgoingHttpHeaders, opening(channels, retryMs, positions))
    const shared = resumed.size > 0 ? encodings.resuming : encodings.fresh
    const encoding = channels.length === 1 ? shared : new SseEncodingForSeveral(positions, resumed)
    const connection = connections.open(new SseTransport(stream), encoding, admission, { positions, last: request.query.history })
    follow(stream, connection)
  })

  // By itself, so that what it leaves behind holds nothing of the request.
  function follow (stream: Writable, connection: Connection): void {
    streams.add(stream)
    // Half a connection is of no use to anybody.
    stream.once('end', () => stream.destroy())
    stream.once('close', () => {
      streams.delete(stream)
      connections.closed(connection, GONE)
    })
  }
}

// `once` of node:events would reject when a stream fails.
async function closed (stream: Writable): Promise<void> {
  await new Promise((resolve) => stream.on('close', resolve))
}

async function beginningOf (connections: ConnectionManager, channels: readonly string[], readable: readonly string[], id: string | undefined, history: number, maxChannels: number): Promise<Beginning> {
  const positions = new Map<string, Position>()
  const resumed = new Set<string>()
  const brought = id ? parsePositions(id, maxChannels) : new Map<string, Position>()
  await Promise.all(channels.map(async (channel) => {
    const asked = brought ? brought.get(channel) : NOWHERE
    const known = asked && !readable.includes(channel) ? NOWHERE : asked
    if (known) resumed.add(channel)
    const position = known ?? await freshPosition(connections, channel, history)
    if (position) positions.set(channel, position)
  }))
  return { positions, resumed }
}

// Nothing if there is a history to begin with.
async function freshPosition (connections: ConnectionManager, channel: string, history: number): Promise<Position | undefined> {
  if (history === 0) return connections.position(channel)
  const { position, publications } = await connections.history(channel, { limit: 1, reverse: true })
  return publications.length === 0 ? position : undefined
}

// An EventSource that comes back by itself has the latest in the header, and in the URL still what it was opened with.
function idOf ({ headers, query }: { headers: FastifyRequest['headers'], query: Query }): string | undefined {
  const header = headers['last-event-id']
  return typeof header === 'string' && header !== '' ? header : query.lastEventId
}

function idRefusal (channels: readonly string[]): Error | undefined {
  let bytes = 0
  for (const channel of channels) bytes += encodeURIComponent(channel).length + POSITION_BYTES
  if (bytes > MAX_ID_BYTES) return fanfareError('FANFARE_LONG_CHANNELS', MAX_ID_BYTES, bytes)
}

export default sse
