import type { Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { limitUnanswered } from '../src/transports/pipelining.ts'

/** Lets no client have more requests under way on one connection than it may. */
async function pipelining (app: FastifyInstance): Promise<void> {
  limitUnanswered(app.server as Server)
}

export default fp(pipelining, { name: 'pipelining' })
