import { Type, type Static } from 'typebox'
import { dataFields, endOf, grantOf, infoFields, infoIn, seconds } from '../auth/claims.ts'
import { clientInfo } from '../centrifugo/values.ts'
import { closeCodes } from '../close-codes.ts'
import type { ConnectionFilter } from '../hub/cluster-api.ts'
import { globRefusal } from '../hub/glob.ts'
import { optional } from '../json-schema.ts'
import { ReplyError } from '../reply-errors.ts'
import { MAX_ENTRIES, method } from './method.ts'

const MAX_PATTERN_LENGTH = 255
// What a close frame has room for (RFC 6455 section 5.5).
const MAX_REASON_BYTES = 123

const channelSchema = Type.Object({ channel: Type.String() })

/** `presence`: who is in a channel. */
export const presence = method(channelSchema, async ({ connections }, { channel }) => {
  const members = await connections.presence(channel)
  return { presence: Object.fromEntries(members.map((member) => [member.client, clientInfo(member)])) }
})

/** `presence_stats`: how many that are. */
export const presenceStats = method(channelSchema, async ({ connections }, { channel }) => {
  const { clients, users } = await connections.presenceStats(channel)
  return { num_clients: clients, num_users: users }
})

/** `channels`: those that somebody is in. */
export const channels = method(Type.Object({
  pattern: optional(Type.String({ maxLength: MAX_PATTERN_LENGTH }))
}), async ({ connections }, { pattern }) => {
  const refusal = pattern ? globRefusal(pattern) : undefined
  if (refusal) throw new ReplyError(107, `/pattern ${refusal}`)
  const counts = await connections.channels(pattern || undefined)
  return { channels: Object.fromEntries(Array.from(counts, ([name, count]) => [name, { num_clients: count }])) }
})

/** `info`: the nodes. */
export const info = method(Type.Object({}), async ({ connections }) => ({ nodes: connections.nodes() }))

const whom = {
  user: optional(Type.String()),
  client: optional(Type.String()),
  session: optional(Type.String())
}
type Whom = Static<Type.TObject<typeof whom>>

/** `disconnect`: closes a user's connections, or one of them. */
export const disconnect = method(Type.Object({
  ...whom,
  whitelist: optional(Type.Array(Type.String(), { maxItems: MAX_ENTRIES })),
  disconnect: optional(Type.Object({ code: optional(Type.Integer()), reason: optional(Type.String()) }))
}), async ({ connections }, { whitelist, disconnect, ...whom }) => {
  const close = {
    code: disconnect?.code || closeCodes.disconnected.code,
    reason: disconnect?.reason || (disconnect?.code ? '' : closeCodes.disconnected.reason)
  }
  mustBeClosable(close)
  await connections.disconnect({ ...filterOf(whom), except: whitelist ?? undefined }, close)
  return {}
})

/** `refresh`: lets a user's connections, or one of them, go on until another time, or ends them as expired. */
export const refresh = method(Type.Object({
  ...whom,
  expired: optional(Type.Boolean()),
  expire_at: optional(seconds),
  info: Type.Optional(Type.Unknown())
}), async ({ connections }, { expired, user, client, session, ...renewal }) => {
  const filter = filterOf({ user, client, session })
  if (expired) await connections.disconnect(filter, closeCodes.expired)
  else await connections.refresh(filter, { expiresAt: endOf(renewal), info: infoIn(renewal) })
  return {}
})

/** `subscribe`: lets a user's connections, or one of them, hear a channel. */
export const subscribe = method(Type.Object({
  ...whom,
  channel: Type.String(),
  ...infoFields,
  ...dataFields,
  expire_at: optional(seconds)
}), async ({ connections }, { channel, user, client, session, ...given }) => {
  const grant = grantOf(given)
  const isGiven = Object.values(grant).some((value) => value !== undefined)
  await connections.addTo(channel, filterOf({ user, client, session }), isGiven ? grant : undefined)
  return {}
})

/** `unsubscribe`: lets them hear it no more. */
export const unsubscribe = method(Type.Object({ ...whom, channel: Type.String() }), async ({ connections }, { channel, ...whom }) => {
  await connections.removeFrom(channel, filterOf(whom))
  return {}
})

/** `rpc`: calls a function of the app, see `app.connections.rpc`. */
export const rpc = method(Type.Object({ method: Type.String(), params: Type.Optional(Type.Unknown()) }), async ({ connections }, { method, params }) => {
  return { data: await connections.call(method, params) ?? null }
})

function filterOf ({ user, client, session }: Whom): ConnectionFilter {
  if (!user && !client && !session) throw new ReplyError(107, 'Say whose connections are meant: a user, a client or a session')
  return { user: user || undefined, id: client || undefined, session: session || undefined }
}

function mustBeClosable ({ code, reason }: { code: number, reason: string }): void {
  if (code !== 1000 && (code < 3000 || code > 4999)) throw new ReplyError(107, `/disconnect/code must be 1000, or from 3000 to 4999; got ${code}`)
  if (Buffer.byteLength(reason) > MAX_REASON_BYTES) throw new ReplyError(107, `/disconnect/reason may have ${MAX_REASON_BYTES} bytes; got ${Buffer.byteLength(reason)}`)
}
