import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { Arrivals } from '../src/arrivals.ts'
import { originGuard } from '../src/auth/origin.ts'
import { hidesItsPage, tokenOfRequest } from '../src/auth/token-of-request.ts'
import { TokenVerifier } from '../src/auth/token-verifier.ts'
import { isOpen, type PluginSettings } from '../src/config.ts'
import { fanfareError } from '../src/errors.ts'
import type { Admission } from '../src/hub/access-api.ts'
import type { Grant, Identity, Peer } from '../src/hub/connection.ts'
import { speaksForAll } from '../src/worker.ts'

const MIN_SECRET_BYTES = 32

/** A hook that goes on when it is done. */
export type Step<Request extends FastifyRequest = FastifyRequest> = (request: Request, reply: FastifyReply, done: (error?: Error) => void) => void

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether clients may bring a token after they have connected. */
    identifiesLater?: boolean
  }
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
     * @param wishOf what a request asks for: one channel, several or none, and whether it wants what was published before
     */
    admit: <Request extends FastifyRequest>(wishOf: (request: Request) => { channel?: string | string[] | undefined, history: boolean }) => Step<Request>
    /** What verifies tokens that come later than the request. */
    tokens: TokenVerifier
    /** The hook before its handler: between the last check and `open` no other connection may come in. */
    prepare: Step
    /**
     * A hook for routes that want to know who asks: sets `request.peer`, whose `user` is the one of the token. Answers 401
     * if a token is brought that may not be believed. For `preValidation`.
     *
     * @example app.get('/orders', { preValidation: app.identify }, async (request) => ordersOf(request.peer?.user))
     */
    identify: Step
  }
}

/** Who somebody is, or a guest. */
type KnownIdentity = Identity & Pick<Peer, 'guest'>

/** Who somebody is; a promise where that takes time, or a token is not believed. */
type Identified = Peer | Promise<Peer>

/** A request that is to become a connection. */
interface Arrival {
  readonly request: FastifyRequest
  /** What is known without a token. */
  readonly unknown: Peer
  readonly reply: FastifyReply
  readonly done: (error?: Error) => void
}

/** Who somebody is, as a token says. */
async function authentication (app: FastifyInstance, settings: PluginSettings): Promise<void> {
  const { tokenCookie, allowAnonymous, tokenHmacSecret, tokenHmacPreviousSecret, callbackEvents } = settings
  const open = isOpen(settings)
  // Routes that open no connection ask for no Origin; without this, pages of others could use a user's cookie there.
  const originRefusal = originGuard(settings.allowedOrigins)
  const verifier = new TokenVerifier(settings, (reason) => app.log.warn({ reason }, 'the keys of TOKEN_JWKS_URL could not be fetched'))
  const asksBackEnd = callbackEvents.includes('connect')
  for (const [name, secret] of Object.entries({ TOKEN_HMAC_SECRET: tokenHmacSecret, TOKEN_HMAC_PREVIOUS_SECRET: tokenHmacPreviousSecret })) {
    if (secret && Buffer.byteLength(secret) < MIN_SECRET_BYTES) app.log.warn(`${name} has fewer than ${MIN_SECRET_BYTES} bytes: it can be guessed from a token`)
  }
  if (speaksForAll()) {
    app.addHook('onListen', async () => {
      if (open) app.log.warn(`Open mode: everyone who can reach ${app.listeningOrigin} may read and write every channel`)
      else app.log.info(whoMayCome(settings))
    })
  }
  app.decorate('tokens', verifier)
  app.decorateRequest('peer', null)
  app.decorateRequest('admission', null)

  // All are verified before the first of them goes on.
  const arrivals = new Arrivals<Arrival>((arrivals) => {
    const peers = arrivals.map(({ request, unknown }) => peerOf(request, unknown))
    for (const [index, { request, reply, done }] of arrivals.entries()) goOn(request, peers[index] as Identified, reply, done)
  })

  app.decorate('identify', (request, reply, done) => {
    const unknown = { address: request.ip, transport: transportOf(request) }
    if (unknown.transport === 'http') goOn(request, peerOf(request, unknown), reply, done)
    else arrivals.add({ request, unknown, reply, done })
  })

  // Without a promise where nothing is waited for: one for each request would cost more than the rest.
  function goOn (request: FastifyRequest, identified: Identified, reply: FastifyReply, done: (error?: Error) => void): void {
    if (identified instanceof Promise) {
      identified.then((peer) => goOn(request, peer, reply, done), (error: Error) => done(shown(error, reply)))
    } else {
      request.peer = identified
      done()
    }
  }

  app.decorate('admit', (wishOf) => (request, reply, done) => {
    // Without spreading: on the way of every connect that is a tenth of our part of it.
    const { channel = [], history } = wishOf(request)
    const named = typeof channel === 'string' ? [channel] : channel
    const wish = { channels: named.length > 1 ? Array.from(new Set(named)) : named, history, headers: request.headers }
    app.connections.admit(request.peer as Peer, wish, (refusal, admission) => {
      request.admission = admission ?? null
      done(shown(refusal, reply))
    })
  })

  app.decorate('prepare', (request, _reply, done) => app.connections.prepare(request.admission as Admission, done))

  function peerOf (request: FastifyRequest, unknown: Peer): Identified {
    if (open) return unknown
    try {
      // What a client brings where there are no keys is for the callback.
      const token = verifier.hasKeys ? tokenOfRequest(request, request.headers.cookie === undefined || originRefusal(request) ? undefined : tokenCookie) : undefined
      if (token === undefined && mustSayItsPage(request) && hidesItsPage(request, tokenCookie)) return refused(fanfareError('FANFARE_COOKIE_WITHOUT_ORIGIN'))
      const { subscriptionToken } = request.query as { subscriptionToken?: string | string[] }
      const identity = token === undefined ? withoutToken(unknown) : verifier.connection(token)
      if (subscriptionToken !== undefined) return withGrants(identity, unknown, [subscriptionToken].flat())
      return identity instanceof Promise ? identity.then((identity) => known(unknown, identity)) : known(unknown, identity)
    } catch (error) {
      return refused(error)
    }
  }

  // Browsers say it when they open a WebSocket. Who brings a token later need not.
  function mustSayItsPage ({ ws, routeOptions }: FastifyRequest): boolean {
    return ws && verifier.hasKeys && !routeOptions.config?.identifiesLater
  }

  // Who connects without one may yet be somebody to the callback, which may refuse as well.
  function withoutToken ({ transport }: Peer): KnownIdentity {
    return allowAnonymous && (transport === 'http' || !asksBackEnd) ? { user: '', guest: true } : {}
  }

  async function withGrants (identity: KnownIdentity | Promise<KnownIdentity>, unknown: Peer, tokens: readonly string[]): Promise<Peer> {
    const { user, grants, ...rest } = await identity
    const granted = new Map<string, Grant>(grants)
    for (const token of tokens) {
      const { channel, grant, ...meant } = await verifier.subscription(token)
      if (meant.user !== (user ?? '')) throw fanfareError('FANFARE_TOKEN_INVALID', 'it is for another user (sub) than the connection')
      if (meant.client !== undefined) throw fanfareError('FANFARE_TOKEN_INVALID', 'it is for one connection (client), which this is not')
      granted.set(channel, grant)
    }
    return known(unknown, { ...rest, user, grants: granted })
  }
}

function whoMayCome ({ allowAnonymous, callbackEvents }: PluginSettings): string {
  if (callbackEvents.includes('connect')) return 'Clients without a token need the leave of CALLBACK_URL'
  return `Clients need a token${allowAnonymous ? ', or may do what rules allow to everyone' : ''}`
}

async function refused (error: unknown): Promise<never> {
  throw error
}

// Without spreading: objects that come of it are slow wherever they are read.
function known ({ address, transport }: Peer, { user, info, meta, grants, expiresAt, guest }: KnownIdentity): Peer {
  return { address, transport, user, info, meta, grants, expiresAt, guest }
}

function transportOf (request: FastifyRequest): Peer['transport'] {
  if (request.ws) return 'websocket'
  return request.routeOptions.config?.connects ?? 'http'
}

// Says with which scheme to come back (RFC 9110 section 11.6.1).
function shown (error: Error & { statusCode?: number } | undefined, reply: FastifyReply): Error | undefined {
  if (error?.statusCode === 401) reply.header('www-authenticate', 'Bearer')
  return error
}

export default fp(authentication, { name: 'authentication', dependencies: ['connections'] })
