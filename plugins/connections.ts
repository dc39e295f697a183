import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { MemoryBroker } from '../src/brokers/memory.ts'
import type { PluginSettings } from '../src/config.ts'
import { ConnectionManager } from '../src/hub/connection-manager.ts'
import { connectionsByFileLimit } from '../src/open-files.ts'

export type { ConnectionManager } from '../src/hub/connection-manager.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Who is connected, and the way to publish to them. */
    connections: ConnectionManager
  }
}

async function connections (app: FastifyInstance, settings: PluginSettings): Promise<void> {
  const maxConnections = settings.maxConnections || connectionsByFileLimit()
  const broker = new MemoryBroker()
  app.decorate('connections', new ConnectionManager(broker, { ...settings, maxConnections }, app.log))
  app.log.info(`The broker is ${broker.name}: messages reach the clients of this process`)
}

export default fp(connections, { name: 'connections' })
