import type { FastifyInstance } from 'fastify'
import type { PluginSettings } from '../src/config.ts'

/** `/health/live`: the process answers. `/health/ready`: it takes connections and can publish. */
export default async function health (app: FastifyInstance, { maxMessageBytes }: PluginSettings): Promise<void> {
  app.get('/health/live', async () => ({ status: 'live' }))

  app.get('/health/ready', async (_request, reply) => {
    const { connections } = app
    const { stopping, trouble } = connections
    if (stopping || trouble) reply.code(503)
    return {
      status: stopping ? 'stopping' : trouble ? 'unavailable' : 'ready',
      ...trouble && { reason: trouble },
      connections: connections.count,
      channels: connections.channelCount,
      maxMessageBytes
    }
  })
}
