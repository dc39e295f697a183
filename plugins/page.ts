import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import type { PluginSettings } from '../src/config.ts'

// The page needs nothing but its own files and its own host.
const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

/** Serves the test page. */
async function page (app: FastifyInstance, settings: PluginSettings): Promise<void> {
  if (!settings.page) return
  const shared = { wildcard: false, setHeaders: (reply: FastifyReply) => { reply.headers(SECURITY_HEADERS) } } as const
  // `wildcard: false` makes a route of each file: a route for `/*` would take every unknown path.
  await app.register(fastifyStatic, { ...shared, root: join(import.meta.dirname, '..', 'public') })
  const chart = dirname(fileURLToPath(import.meta.resolve('uplot')))
  await app.register(fastifyStatic, { ...shared, root: chart, prefix: '/vendor/uplot/', decorateReply: false })
}

export default fp(page, { name: 'page', dependencies: ['upgrade-guard'] })
