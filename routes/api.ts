import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Api } from '../src/api/api.ts'
import { commandsIn, paramsIn } from '../src/api/body.ts'
import { ReplyError } from '../src/reply-errors.ts'
import { keyChecker } from '../src/api/key.ts'
import type { PluginSettings } from '../src/config.ts'

// Room for many publications in one batch, and for the largest one in base64.
const MIN_BODY_LIMIT = 10_485_760

type ApiRequest = FastifyRequest<{ Params: { method: string }, Body: string | undefined }>

/** `/api`: the server API, as Centrifugo has it. See docs/api.md. */
export default async function serverApi (app: FastifyInstance, { apiKey, maxMessageBytes }: PluginSettings): Promise<void> {
  const api = new Api({ connections: app.connections, maxMessageBytes, log: app.log })
  const hasKey = keyChecker(apiKey)
  const bodyLimit = Math.max(MIN_BODY_LIMIT, 2 * maxMessageBytes)

  // Before the body is read.
  app.addHook('onRequest', async (request, reply) => {
    if (!hasKey(request.headers)) return refuse(request, reply.header('www-authenticate', 'apikey'), 401)
  })

  // Not every client of this API names a content type, and curl names that of a form.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string', bodyLimit }, (_request, text, done) => done(null, text))

  app.setErrorHandler<FastifyError | ReplyError>((error, request, reply) => {
    if (error instanceof ReplyError) return answerError(error, request, reply)
    if (error.statusCode === undefined || error.statusCode >= 500) throw error
    return refuse(request, reply.type('text/plain; charset=utf-8'), error.statusCode, error)
  })

  app.post('/api/:method', async (request: ApiRequest, reply) => {
    reply.type('application/json')
    return api.call(request.params.method, paramsIn(request.body))
  })

  app.post('/api', async (request: ApiRequest, reply) => {
    reply.type('application/json')
    const replies = await api.callAll(commandsIn(request.body))
    return replies.join('\n')
  })
}

function answerError (error: ReplyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.type('application/json')
  return request.headers['x-centrifugo-error-mode'] === 'transport' ? reply.code(error.status).send(error.toJSON()) : reply.code(200).send({ error })
}

function refuse (request: FastifyRequest, reply: FastifyReply, status: number, error?: FastifyError): FastifyReply {
  request.log.info({ address: request.ip, code: error?.code, status }, 'request refused')
  return reply.code(status).send(error?.message)
}
