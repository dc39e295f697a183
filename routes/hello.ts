import type { FastifyInstance } from 'fastify'

export default async function hello (app: FastifyInstance): Promise<void> {
  app.get('/hello', async () => 'Hello, world!')
}
