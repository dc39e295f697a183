import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { fanfareError } from '../src/errors.ts'

// Beyond these Node drops headers without a word, unless `maxHeadersCount` is set: it might be the one that refuses.
const NODE_TAKES = 1000

/** Refuses requests of which Node has dropped headers. */
async function headerCount (app: FastifyInstance): Promise<void> {
  const most = app.server.maxHeadersCount || NODE_TAKES
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    // What `injectWS` passes for a request has none.
    const { rawHeaders = [] } = raw as { rawHeaders?: string[] }
    done(rawHeaders.length > 2 * most ? fanfareError('FANFARE_TOO_MANY_HEADERS', most) : undefined)
  })
}

export default fp(headerCount, { name: 'header-count' })
