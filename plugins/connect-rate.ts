import rateLimit from '@fastify/rate-limit'
import underPressure from '@fastify/under-pressure'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { PluginSettings } from '../src/config.ts'
import { fanfareError, SettingError } from '../src/errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a request to the route becomes, where it becomes a connection, as an upgrade does. */
    connects?: 'sse' | 'http_stream'
  }
}

/** Refuses attempts to connect before any work is done for them: too many from one address, or while the node is overloaded. */
async function connectRate (app: FastifyInstance, { connectRate, maxEventLoopDelay }: PluginSettings): Promise<void> {
  const connects = ({ headers, routeOptions }: { headers: { upgrade?: string }, routeOptions: { config?: { connects?: string } } }): boolean =>
    headers.upgrade !== undefined || routeOptions.config?.connects !== undefined

  if (connectRate > 0) {
    await app.register(rateLimit, { global: false, max: connectRate, timeWindow: '1 minute' })
    // With its own numbers: where the host has registered the plugin too, its numbers are the ones of the host.
    const count = app.createRateLimit({ max: connectRate, timeWindow: '1 minute' })
    app.addHook('onRequest', async (request, reply) => {
      // Who has gone already has no address, nor has who comes through a Unix socket.
      if (!connects(request) || request.ip === undefined) return
      const counted = await count(request)
      if (counted.isAllowed || !counted.isExceeded) return
      reply.header('retry-after', counted.ttlInSeconds)
      throw fanfareError('FANFARE_TOO_MANY_ATTEMPTS', `${counted.ttlInSeconds} s`)
    })
  }

  if (maxEventLoopDelay > 0) {
    if (app.hasDecorator('isUnderPressure')) throw new SettingError('maxEventLoopDelay', 'cannot be set where @fastify/under-pressure is registered already: give that the limit')
    // What is there goes on: only what is new is refused.
    await app.register(underPressure, { maxEventLoopDelay, pressureHandler: () => {} })
    app.addHook('onRequest', async (request) => {
      if (connects(request) && app.isUnderPressure()) throw fanfareError('FANFARE_OVERLOADED')
    })
  }
}

// After the plugin that cuts the sockets of refused upgrades, which are not those of the HTTP server any more.
export default fp(connectRate, { name: 'connect-rate', dependencies: ['websocket'] })
