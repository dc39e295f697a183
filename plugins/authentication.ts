import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { tokenOfRequest } from '../src/auth/token-of-request.ts'
import { TokenVerifier } from '../src/auth/token-verifier.ts'
import { isOpen, type PluginSettings } from '../src/config.ts'
import type { Admission, Wish } from '../src/hub/access-api.ts'
import type { Grant, Peer } from '../src/hub/connection.ts'

const MIN_SECRET_BYTES = 32

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; set by `app.identify`. */
    peer: Peer | null
    /** Who may connect, and to what; set by the hook that `app.admit` makes. */
    admission: Admission | null
  }
  interface FastifyInstance {
    /**
     * Makes the hook of a route whose requests become connections: lets the connection manager say whether this one may.
     * After `app.identify`.
     *
     * @param wishOf what a request asks for
     */
    admit: <Request extends FastifyRequest>(wishOf: (request: Request) => Omit<Wish, 'headers'>) => (request: Request, reply: FastifyReply, done: (error?: Error) => void) => void
    /** The hook before its handler: between the last check and `open` no other connection may come in. */
    prepare: (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void
    /**
     * A hook for routes that want to know who asks: sets `request.peer`, whose `user` is the one of the token. Answers 401
     * if a token is brought that may not be believed. For `preValidation`.
     *
     * @example app.get('/orders', { preValidation: app.identify }, async (request) => ordersOf(request.peer.user))
     */
    identify: (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void
  }
}

/** Who somebody is, as a token says. */
async function authentication (app: FastifyInstance, settings: PluginSettings): Promise<void> {
  const { tokenCookie, allowAnonymous, tokenHmacSecret } = settings
  const open = isOpen(settings)
  const verifier = new TokenVerifier(settings)
  if (tokenHmacSecret && Buffer.byteLength(tokenHmacSecret) < MIN_SECRET_BYTES) app.log.warn(`TOKEN_HMAC_SECRET has fewer than ${MIN_SECRET_BYTES} bytes: it can be guessed from a token`)
  app.decorateRequest('peer', null)
  app.decorateRequest('admission', null)

  // With a callback: where there is nothing to verify, a promise for each request would cost more than the rest.
  app.decorate('identify', (request, reply, done) => {
    const { ip: address } = request
    if (open) {
      request.peer = { address }
      done()
      return
    }
    peerOf(request, address).then((peer) => {
      request.peer = peer
      done()
    }, (error: Error) => done(shown(error, reply)))
  })

  app.decorate('admit', (wishOf) => (request, reply, done) => {
    const { channels, ...rest } = wishOf(request)
    const wish = { ...rest, channels: Array.from(new Set(channels)), headers: request.headers }
    app.connections.admit(request.peer as Peer, wish, (refusal, admission) => {
      request.admission = admission ?? null
      done(shown(refusal, reply))
    })
  })

  app.decorate('prepare', (request, _reply, done) => app.connections.prepare(request.admission as Admission, done))

  async function peerOf (request: FastifyRequest, address: string): Promise<Peer> {
    const token = tokenOfRequest(request, tokenCookie)
    const identity = token === undefined ? (allowAnonymous ? { user: '' } : {}) : await verifier.connection(token)
    const grants = new Map<string, Grant>(identity.grants)
    for (const subscriptionToken of subscriptionTokensIn(request.query)) {
      const { channel, grant } = await verifier.subscription(subscriptionToken, identity.user ?? '')
      grants.set(channel, grant)
    }
    return { address, ...identity, ...grants.size > 0 && { grants } }
  }
}

// Says with which scheme to come back (RFC 9110 section 11.6.1).
function shown (error: Error & { statusCode?: number } | undefined, reply: FastifyReply): Error | undefined {
  if (error?.statusCode === 401) reply.header('www-authenticate', 'Bearer')
  return error
}

function subscriptionTokensIn (query: unknown): string[] {
  const { subscriptionToken = [] } = query as { subscriptionToken?: string | string[] }
  return [subscriptionToken].flat()
}

export default fp(authentication, { name: 'authentication', dependencies: ['connections'] })
