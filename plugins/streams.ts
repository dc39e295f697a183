import type { OutgoingHttpHeaders } from 'node:http'
import type { Writable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { originGuard } from '../src/auth/origin.ts'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError } from '../src/errors.ts'
import { IDENTIFY_S } from '../src/hub/client-api.ts'
import type { Connection } from '../src/hub/connection.ts'
import { beginStream, OpenStreams } from '../src/transports/http-stream.ts'

// What is noted for a client that has gone: there is no goodbye (the code that a WebSocket has for that).
const GONE = 1006

const HEADERS = {
  'cache-control': 'no-cache, no-transform',
  // nginx passes on at once what comes.
  'x-accel-buffering': 'no'
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The hook of a route that pages of allowed origins may call, and no others. For `onRequest`. */
    crossOrigin: (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void
    /**
     * Answers a request with a stream that has no end of its own; for routes that say in their config what they connect.
     *
     * @param type its content type
     * @param opening what it begins with
     * @returns nothing where the client has gone already
     */
    beginStream: (request: FastifyRequest, reply: FastifyReply, type: string, opening: string) => Writable | undefined
    /** Sees to it that a connection ends with its stream, and the stream with the node. */
    follow: (stream: Writable, connection: Connection) => void
  }
}

/** What routes need that answer with a stream. */
async function streams (app: FastifyInstance, { allowedOrigins }: PluginSettings): Promise<void> {
  const originRefusal = originGuard(allowedOrigins)
  const open = new OpenStreams<Connection>((connection) => app.connections.closed(connection, GONE))

  // The connections have been closed by now; the last bytes may still be on their way.
  app.addHook('preClose', () => open.end())

  // Before anything is asked of hooks: of hundreds in one packet only one can become a connection.
  app.addHook('onRoute', (route) => {
    if (route.config?.connects) route.onRequest = [mustBeAlone, mustComeSoon, route.onRequest ?? []].flat()
  })

  app.decorate('crossOrigin', (request, reply, done) => {
    const { origin } = request.headers
    const refusal = originRefusal(request)
    if (origin !== undefined && !refusal) reply.headers({ 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true', vary: 'Origin' })
    done(refusal)
  })

  app.decorate('beginStream', (request, reply, type, opening) => {
    reply.headers({ 'content-type': type, ...HEADERS }).hijack()
    if (!request.raw.socket.destroyed) return beginStream(reply.raw, reply.getHeaders() as OutgoingHttpHeaders, opening)
  })

  app.decorate('follow', (stream, connection) => open.add(stream, connection))
}

const mustBeAlone: onRequestHookHandler = ({ method, headers }, { raw }, done) => {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  // It would be the socket of another answer.
  if (!raw.socket) done(fanfareError('FANFARE_PIPELINED'))
  // Nobody would read it, nor then see that the client goes.
  else if (method === 'GET' && hasBody) done(fanfareError('FANFARE_BODY'))
  else done()
}

// Who connects says who it is in the body: it has as long for that as on a WebSocket.
const mustComeSoon: onRequestHookHandler = ({ method, raw }, reply, done) => {
  if (method === 'POST') {
    const timer = setTimeout(() => {
      // It was refused before its body came.
      if (reply.sent) raw.socket.destroy()
      else reply.headers(raw.httpVersionMajor === 1 ? { connection: 'close' } : {}).send(fanfareError('FANFARE_SLOW_BODY', IDENTIFY_S))
    }, IDENTIFY_S * 1000).unref()
    // The listeners would keep the request for as long as the stream lasts that it asks for.
    const ended = (): void => {
      clearTimeout(timer)
      raw.off('end', ended).off('close', ended)
    }
    raw.on('end', ended).on('close', ended)
  }
  done()
}

// After the plugin that drains the connections.
export default fp(streams, { name: 'streams', dependencies: ['connections', 'websocket'] })
