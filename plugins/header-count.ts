import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { fanfareError } from '../src/errors.ts'
import { mostHeaders } from '../src/transports/upgrades.ts'

/** Refuses requests of which Node has dropped headers: it might be the one that refuses. */
async function headerCount (app: FastifyInstance): Promise<void> {
  const most = mostHeaders(app.server)
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    // What `injectWS` passes for a request has none.
    const { rawHeaders = [] } = raw as { rawHeaders?: string[] }
    done(rawHeaders.length > 2 * most ? fanfareError('FANFARE_TOO_MANY_HEADERS', most) : undefined)
  })
}

export default fp(headerCount, { name: 'header-count' })
