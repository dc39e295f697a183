import Fastify from 'fastify'
import fanfare, { RequestLog } from 'fanfare'

// Fastify logs URLs, which may hold a token; RequestLog does not.
const app = Fastify({ logger: true, logController: new RequestLog() })
await app.register(fanfare, { pingInterval: 10, page: false })

app.get('/', async () => ({ connected: app.connections.count }))

app.post('/say', async (request) => {
  await app.connections.publish('broadcast', request.body)
  return { connected: app.connections.count }
})

await app.listen({ port: Number(process.env.PORT ?? 8000) })
