import { join, resolve } from 'node:path'
import AjvCompiler from '@fastify/ajv-compiler'
import autoload from '@fastify/autoload'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { pluginSettingsFrom, settingsOfProcess, type PluginOptions } from './config.ts'

export type { PluginOptions, PluginSettings } from './config.ts'
export type { ChannelRule } from './channel-rules.ts'
export type { Identity } from './hub/connection.ts'
export type { Position, Publication, PublicationData } from './hub/publication.ts'
export { closeCodes } from './close-codes.ts'
export { errorTable } from './errors.ts'
export type { Caller, Hook, HookContexts, HookName, Rpc } from './hub/hooks.ts'
export { RequestLog } from './request-log.ts'
export type { ConnectionManager } from '../plugins/connections.ts'
// With what they declare of requests, routes and the app: `app.identify`, `websocket: true`, `app.injectWS`.
export type { WebsocketHandler } from '@fastify/websocket'
export type { Step } from '../plugins/authentication.ts'

/** Options of the plugin: any of the settings in the README, in camelCase, and `channels`. */
export type FanfareOptions = Partial<PluginOptions>

const OWNERS = {
  host: 'app.listen({ host })',
  port: 'app.listen({ port })',
  logLevel: 'Fastify({ logger: { level } })',
  workers: 'whoever starts the process',
  trustProxy: 'Fastify({ trustProxy })'
}

/**
 * Fanfare as one Fastify plugin: the connection manager as `app.connections`, `/ws`, the test page, health checks.
 *
 * @throws {SettingError} if an option has a value that it does not take
 * @example
 * const app = Fastify()
 * await app.register(fanfare, { maxMessageBytes: 4096 })
 * app.post('/orders/:id', async (request) => {
 *   await app.connections.publish('orders', request.body)
 * })
 * await app.listen({ port: 8000 })
 */
async function fanfare (app: FastifyInstance, options: FanfareOptions): Promise<void> {
  const settings = pluginSettingsFrom(options)
  for (const name of settingsOfProcess(options)) app.log.warn(`${name} has no effect as an option of the plugin: it belongs to ${OWNERS[name]}`)
  const root = join(import.meta.dirname, '..')
  await app.register(autoload, { dir: join(root, 'plugins'), options: settings })
  await app.register(async (context) => {
    // That of the host may be of another kind, or convert and fill in nothing.
    context.setValidatorCompiler(AjvCompiler()({}, { customOptions: {} }))
    await context.register(autoload, { dir: join(root, 'routes'), options: settings })
  })
  if (settings.routesDir) await app.register(autoload, { dir: resolve(settings.routesDir), forceESM: true })
}

export default fp(fanfare, { name: 'fanfare', fastify: '5.x' })
