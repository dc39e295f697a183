import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError } from '../src/errors.ts'
import type { Admission } from '../src/hub/access-api.ts'
import type { ConnectionManager } from '../src/hub/connection-manager.ts'
import type { Position } from '../src/hub/publication.ts'
import { HttpStreamTransport } from '../src/transports/http-stream.ts'
import { EVENT_STREAM, NOWHERE, opening, parsePositions, POSITION_BYTES, SseEncoding, SseEncodingForSeveral, sseWords } from '../src/transports/sse-encoding.ts'

// nginx takes 8 KiB for one header, and Node 16 KiB for all of them and the URL, which holds the names too.
const MAX_ID_BYTES = 7500
// Clients that were cut together do not come back together.
const RETRY_MS = 2000
const RETRY_SPREAD_MS = 2000

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
const sse: FastifyPluginAsyncTypebox<PluginSettings> = async (app, { maxChannels }) => {
  const { connections } = app
  const encodings = { fresh: new SseEncoding(false), resuming: new SseEncoding(true) }
  app.decorateRequest('sseBeginning', null)

  app.get('/sse', {
    exposeHeadRoute: false,
    schema: { querystring },
    onRequest: app.crossOrigin,
    config: { connects: 'sse' },
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
    const retryMs = Math.round(RETRY_MS + Math.random() * RETRY_SPREAD_MS)
    const stream = app.beginStream(request, reply, EVENT_STREAM, opening(channels, retryMs, positions))
    if (!stream) return
    const shared = resumed.size > 0 ? encodings.resuming : encodings.fresh
    const encoding = channels.length === 1 ? shared : new SseEncodingForSeveral(positions, resumed)
    // Without a history nobody can go on from a position: who is new hears what comes from now on.
    const begun = new Map(Array.from(positions).filter(([channel]) => resumed.has(channel) || connections.keepsHistory(channel)))
    const connection = connections.open(new HttpStreamTransport(stream, sseWords), encoding, admission, { positions: begun, last: request.query.history })
    app.follow(stream, connection)
  })
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
