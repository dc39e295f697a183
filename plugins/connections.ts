import { hostname } from 'node:os'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { version } from '../src/about.ts'
import { MemoryBroker } from '../src/brokers/memory.ts'
import { RedisBroker } from '../src/brokers/redis.ts'
import { channelRulesOf } from '../src/channel-rules.ts'
import { isOpen, type PluginOptions } from '../src/config.ts'
import { ConnectionManager } from '../src/hub/connection-manager.ts'
import { openPermissions, securePermissions } from '../src/hub/permissions.ts'
import { connectionsByFileLimit } from '../src/open-files.ts'

export type { ConnectionManager } from '../src/hub/connection-manager.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Who is connected, and the way to publish to them. */
    connections: ConnectionManager
  }
}

/** Decorates the app with the connection manager and its broker. */
async function connections (app: FastifyInstance, settings: PluginOptions): Promise<void> {
  const maxConnections = settings.maxConnections || connectionsByFileLimit()
  const broker = settings.redisUrl ? new RedisBroker(settings, app.log) : new MemoryBroker(settings.maxHistoryBytes)
  const name = { name: `${hostname()}_${process.pid}`, version }
  const openToAll = isOpen(settings)
  const rules = channelRulesOf(settings, openToAll ? openPermissions : securePermissions, settings.channels)
  const manager = new ConnectionManager(broker, rules, { ...settings, maxConnections, openToAll }, app.log, name)
  app.decorate('connections', manager)
  app.addHook('onClose', () => manager.stop())
  await manager.start()
  app.log.info(broker.shared
    ? `The broker is ${broker.name}: messages reach the clients of all nodes that share it`
    : `The broker is ${broker.name}: messages reach the clients of this process`)
}

export default fp(connections, { name: 'connections' })
