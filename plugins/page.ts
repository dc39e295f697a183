import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import helmet from '@fastify/helmet'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { PluginSettings } from '../src/config.ts'

// The page needs nothing but its own files and its own host.
const directives = {
  'default-src': ["'none'"],
  'script-src': ["'self'"],
  'style-src': ["'self'"],
  'img-src': ["'self'"],
  'connect-src': ["'self'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
  'frame-ancestors': ["'none'"]
}

/** Serves the test page. */
async function page (app: FastifyInstance, settings: PluginSettings): Promise<void> {
  if (!settings.page) return
  // By itself, so that the headers are those of the page alone, and the routes of an app keep their own.
  await app.register(async (page) => {
    await page.register(helmet, {
      contentSecurityPolicy: { useDefaults: false, directives },
      xFrameOptions: { action: 'deny' },
      // Whether a host is to be reached over TLS only is for whoever runs it to say, once for all that it serves.
      strictTransportSecurity: false
    })
    // Its own files are beside the page, and not beside a prefix without a slash behind it.
    page.addHook('onRequest', (request, reply, done) => {
      const [path = '', query] = request.url.split('?', 2)
      if (path === page.prefix) reply.redirect(`${path.slice(path.lastIndexOf('/') + 1)}/${query === undefined ? '' : `?${query}`}`)
      else done()
    })
    // `wildcard: false` makes a route of each file: a route for `/*` would take every unknown path.
    await page.register(fastifyStatic, { wildcard: false, root: join(import.meta.dirname, '..', 'public') })
    const chart = dirname(fileURLToPath(import.meta.resolve('uplot')))
    await page.register(fastifyStatic, { wildcard: false, root: chart, prefix: '/vendor/uplot/', decorateReply: false })
  })
}

export default fp(page, { name: 'page', dependencies: ['upgrade-guard'] })
