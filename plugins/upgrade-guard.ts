import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError, type FanfareError } from '../src/errors.ts'
import { originGuard } from '../src/auth/origin.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route takes WebSockets: besides other requests, or `only` them. */
    takesWebSocket?: true | 'only'
  }
}

/**
 * What every upgrade must pass before it is answered with 101: it opens a WebSocket where there is one, and it does not
 * come from a page of somebody else.
 */
async function upgradeGuard (app: FastifyInstance, { allowedOrigins }: PluginSettings): Promise<void> {
  const originRefusal = originGuard(allowedOrigins)
  if (allowedOrigins.includes('*')) app.log.warn('ALLOWED_ORIGINS holds *: pages of any site may connect')

  app.addHook('onRoute', (route) => {
    if (route.websocket || route.wsHandler) route.config = { ...route.config, takesWebSocket: route.websocket ? 'only' : true }
  })

  // With a callback: a promise for each request would cost more than the checks.
  app.addHook('onRequest', (request, _reply, done) => {
    // Before it is asked who that is, and whether they may connect.
    if (!request.ws && request.routeOptions.config?.takesWebSocket === 'only') done(fanfareError('FANFARE_ONLY_WEBSOCKET', request.url.split('?')[0]))
    else done(request.ws ? refusalOf(request) : undefined)
  })

  // Who is refused is cut: a proxy that took the connection for its next request would lose that.
  app.addHook('onSend', ({ ws }, reply, payload, done) => {
    if (ws) reply.header('connection', 'close')
    done(null, payload)
  })

  function refusalOf (request: FastifyRequest): FanfareError | undefined {
    // @fastify/websocket would answer 101 on any GET route, and then close.
    if (!request.routeOptions.config?.takesWebSocket) return fanfareError('FANFARE_NO_WEBSOCKET_HERE', request.url.split('?')[0])
    if (request.raw.httpVersion !== '1.1') return fanfareError('FANFARE_BAD_UPGRADE', `HTTP/${request.raw.httpVersion}`)
    return originRefusal(request)
  }
}

export default fp(upgradeGuard, { name: 'upgrade-guard', dependencies: ['websocket'] })
