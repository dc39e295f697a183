import { Type } from 'typebox'
import { closeCodes } from '../close-codes.ts'
import { ApiError } from './errors.ts'
import { MAX_ENTRIES, method, optional } from './method.ts'

const MAX_PATTERN_LENGTH = 255
const MAX_WILDCARDS = 3
// What a close frame has room for (RFC 6455 section 5.5).
const MAX_REASON_BYTES = 123

const channelSchema = Type.Object({ channel: Type.String() })

/** `presence`: who is in a channel. */
export const presence = method(channelSchema, async ({ connections }, { channel }) => {
  const members = await connections.presence(channel)
  return { presence: Object.fromEntries(members.map(({ client, user }) => [client, { user, client }])) }
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
  if (pattern) mustBeCheap(pattern)
  const counts = await connections.channels(pattern || undefined)
  return { channels: Object.fromEntries(Array.from(counts, ([name, count]) => [name, { num_clients: count }])) }
})

/** `info`: the nodes. */
export const info = method(Type.Object({}), async ({ connections }) => ({ nodes: connections.nodes() }))

/** `disconnect`: closes a user's connections, or one of them. */
export const disconnect = method(Type.Object({
  user: optional(Type.String()),
  client: optional(Type.String()),
  session: optional(Type.String()),
  whitelist: optional(Type.Array(Type.String(), { maxItems: MAX_ENTRIES })),
  disconnect: optional(Type.Object({ code: optional(Type.Integer()), reason: optional(Type.String()) }))
}), async ({ connections }, { user, client, session, whitelist, disconnect }) => {
  if (!user && !client && !session) throw new ApiError(107, 'Say whom to disconnect: a user, a client or a session')
  const close = {
    code: disconnect?.code || closeCodes.disconnected.code,
    reason: disconnect?.reason || (disconnect?.code ? '' : closeCodes.disconnected.reason)
  }
  mustBeClosable(close)
  await connections.disconnect({ user: user || undefined, id: client || session || undefined, except: whitelist ?? undefined }, close)
  return {}
})

// A glob becomes a regular expression: groups that repeat take exponential time, and each wildcard multiplies it. With
// three it took 12 ms for the worst name of 255 bytes.
function mustBeCheap (pattern: string): void {
  if (/[()+]/.test(pattern) || (pattern.match(/\*+|\{/g)?.length ?? 0) > MAX_WILDCARDS) {
    throw new ApiError(107, `/pattern may hold ${MAX_WILDCARDS} of * and {, and none of ( ) +`)
  }
}

function mustBeClosable ({ code, reason }: { code: number, reason: string }): void {
  if (code !== 1000 && (code < 3000 || code > 4999)) throw new ApiError(107, `/disconnect/code must be 1000, or from 3000 to 4999; got ${code}`)
  if (Buffer.byteLength(reason) > MAX_REASON_BYTES) throw new ApiError(107, `/disconnect/reason may have ${MAX_REASON_BYTES} bytes; got ${Buffer.byteLength(reason)}`)
}
