import { Type, type Static } from 'typebox'
import { bytesOrJson } from '../centrifugo/values.ts'
import type { PublishExtras } from '../hub/channel-api.ts'
import { publicationOf, WrittenJson, type PublicationData } from '../hub/publication.ts'
import { optional, record } from '../json-schema.ts'
import { ReplyError, replyErrorOf } from '../reply-errors.ts'
import { inTurns } from './in-turns.ts'
import { MAX_ENTRIES, method, PARALLEL, type Context, type Result } from './method.ts'

const MAX_KEY_LENGTH = 255

const publication = Type.Object({
  data: Type.Optional(Type.Unknown()),
  b64data: optional(Type.String()),
  tags: optional(record(Type.String())),
  skip_history: optional(Type.Boolean()),
  idempotency_key: optional(Type.String({ maxLength: MAX_KEY_LENGTH }))
})
type Params = Static<typeof publication>

/** `publish`: to one channel. */
export const publish = method(Type.Object({ channel: Type.String(), ...publication.properties }), async (context, { channel, ...params }) => {
  return publishTo(context, channel, dataOf(params, context.maxMessageBytes), params)
})

/** `broadcast`: the same to many channels, each of which may fail for itself. */
export const broadcast = method(Type.Object({
  channels: Type.Array(Type.String(), { minItems: 1, maxItems: MAX_ENTRIES }),
  ...publication.properties
}), async (context, { channels, ...params }) => {
  const data = dataOf(params, context.maxMessageBytes)
  const responses = await inTurns(channels, PARALLEL, async (channel) => {
    try {
      return { result: await publishTo(context, channel, data, params) }
    } catch (error) {
      return { error: replyErrorOf(error, context.log) }
    }
  })
  return { responses }
})

async function publishTo ({ connections }: Context, channel: string, data: PublicationData, params: Params): Promise<Result> {
  const extras: PublishExtras = {
    ...params.idempotency_key && { idempotencyKey: params.idempotency_key },
    ...params.skip_history && { skipHistory: true },
    ...params.tags && { tags: params.tags }
  }
  const { offset, epoch } = await connections.publish(channel, data, extras)
  return params.skip_history ? {} : { offset, epoch }
}

function dataOf ({ data, b64data, tags }: Params, maxBytes: number): PublicationData {
  if (data === undefined && !b64data) throw new ReplyError(107, 'A publication has data (any JSON value) or b64data (base64)')
  const publication = b64data ? bytesOrJson(bytesOf(b64data)) : new WrittenJson(data)
  const bytes = publicationOf(publication).data.length + (tags ? Buffer.byteLength(JSON.stringify(tags)) : 0)
  if (bytes > maxBytes) throw new ReplyError(107, `Data and tags of a publication may have ${maxBytes} bytes (MAX_MESSAGE_BYTES); got ${bytes}`)
  return publication
}

function bytesOf (base64: string): Buffer {
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.toString('base64') !== base64) throw new ReplyError(107, '/b64data must be base64 with padding')
  return bytes
}
