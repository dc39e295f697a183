import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'

/**
 * What is logged of HTTP requests: served ones at debug only (health checks come every second), refused ones at info
 * without a stack, our own faults as errors. Never the URL, which may hold a token.
 */
export class RequestLog extends fastify.LogController {
  override incomingRequest (): void {}
  override routeNotFound (): void {}

  override requestCompleted (error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    if (error) reply.log.error({ err: error }, 'request failed')
    else reply.log.debug({ method: request.method, route: request.routeOptions.url, status: reply.statusCode, ms: reply.elapsedTime }, 'request')
  }

  override defaultErrorLog (error: Error & { code?: string }, request: FastifyRequest, reply: FastifyReply): void {
    if (reply.statusCode >= 500 && !error.code?.startsWith('FANFARE_')) reply.log.error({ err: error }, error.message)
    else reply.log.info({ address: request.ip, code: error.code, status: reply.statusCode }, 'request refused')
  }
}
