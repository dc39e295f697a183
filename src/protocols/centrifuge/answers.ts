import { readHistory } from '../../centrifugo/history.ts'
import { ReplyBudget } from '../../centrifugo/reply-budget.ts'
import { jsonIn } from '../../centrifugo/values.ts'
import { closeCodes } from '../../close-codes.ts'
import { fanfareError, type FanfareError } from '../../errors.ts'
import { statsOf } from '../../hub/channel-api.ts'
import type { Grant } from '../../hub/connection.ts'
import { callerOn } from '../../hub/hooks.ts'
import { WrittenJson, type Publication } from '../../hub/publication.ts'
import { ReplyError } from '../../reply-errors.ts'
import type { CommandName, Params } from './commands.ts'
import { Disconnect } from './disconnect.ts'
import { expiryOf, subscriptionResult } from './results.ts'
import type { Session } from './session.ts'

// The client prefers an error to a subscription that has lost something.
const REFUSE_UNRECOVERED = 2
// What a member takes in a reply: its id, twice.
const LEAST_MEMBER_BYTES = 60

/** Answers a command. It may throw at once or later: an error that is the reply, or a Disconnect. */
export type Answer<Given> = (session: Session, id: number, params: Given) => Promise<void> | undefined

/** What is done for each command. */
export const answers: { readonly [Name in Exclude<CommandName, 'connect'>]: Answer<Params<Name>> } = {
  async subscribe (session, id, { channel, token, recover, offset, epoch, data, flag, type, tf }) {
    const { connection, parts: { connections } } = session
    if (type) throw new ReplyError(108, 'Map and shared-poll subscriptions are not available')
    if (tf !== undefined && tf !== null) throw new ReplyError(107, 'Filters by tags are not available')
    const grant = token ? await grantIn(session, channel, token) : undefined
    const since = recover ? { offset: offset ?? 0, epoch: epoch ?? '' } : undefined
    await connections.subscribeAs(connection, channel, { grant, since, data }, (beginning) => {
      if (since && beginning?.recovered !== true && (flag ?? 0) & REFUSE_UNRECOVERED) throw new ReplyError(112)
      session.reply(id, 'subscribe', subscriptionResult(connections, connection, channel, beginning, since))
    })
  },

  unsubscribe (session, id, { channel }) {
    session.parts.connections.unsubscribe(session.connection, channel)
    session.reply(id, 'unsubscribe', {})
    return undefined
  },

  publish (session, id, { channel, data }) {
    if (data === undefined) throw new ReplyError(107, 'A publication has data')
    return session.publish(id, channel, publicationIn(data))
  },

  async presence (session, id, { channel }) {
    mustBeAllowed(session, 'presence', channel)
    const members = await session.parts.connections.recentPresence(channel)
    // It would be made, which takes long, only to be found too large.
    new ReplyBudget(session.maxReplyBytes).take(members.length * LEAST_MEMBER_BYTES)
    session.reply(id, 'presence', { presence: members })
  },

  async presence_stats (session, id, { channel }) {
    mustBeAllowed(session, 'presence', channel)
    const { clients, users } = statsOf(await session.parts.connections.recentPresence(channel))
    session.reply(id, 'presence_stats', { num_clients: clients, num_users: users })
  },

  async history (session, id, params) {
    mustBeAllowed(session, 'history', params.channel)
    const { publications, position: { epoch, offset } } = await readHistory(session.parts.connections, new ReplyBudget(session.maxReplyBytes), params)
    session.reply(id, 'history', { publications, epoch, offset })
  },

  async rpc (session, id, { method, data }) {
    const { connection, parts: { connections } } = session
    if (!connections.answersCalls) throw new ReplyError(108, 'There are no functions here')
    session.reply(id, 'rpc', { data: await connections.call(method ?? '', data, callerOn(connection)) })
  },

  async refresh (session, id, { token }) {
    const { connection, parts: { connections, tokens, version } } = session
    if (!tokens.hasKeys) throw new ReplyError(108, 'There are no tokens here')
    if (connections.renewsByItself) throw new Disconnect(closeCodes.badRequest, 'the server refreshes')
    const { user, info, expiresAt } = await verified(async () => tokens.connection(token ?? ''), closeCodes.expired)
    if (user !== connection.peer.user) throw new Disconnect(closeCodes.invalidToken, 'it is for another user (sub)')
    connections.renew(connection, { expiresAt, info })
    session.reply(id, 'refresh', { client: connection.id, version, ...expiryOf(expiresAt) })
  },

  async sub_refresh (session, id, { channel, token }) {
    const { connection, parts: { connections } } = session
    const mustBeIn = (): void => { if (!connection.isIn(channel)) throw fanfareError('FANFARE_FORBIDDEN', 'go on in', channel, 'it is not subscribed to') }
    mustBeIn()
    const grant = await verified(() => grantIn(session, channel, token ?? ''), closeCodes.subscriptionExpired)
    mustBeIn()
    if (grant) connections.renewGrant(connection, channel, grant)
    session.reply(id, 'sub_refresh', expiryOf(grant?.expiresAt))
  },

  send () {
    throw new Disconnect(closeCodes.notAvailable, 'nobody takes messages without a channel')
  },

  ping () {
    throw new ReplyError(108)
  }
}

// Bytes that are JSON are JSON, for clients that have no bytes.
function publicationIn (data: unknown): Publication {
  if (!(data instanceof Uint8Array)) return { kind: 'json', data: new WrittenJson(data).bytes }
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return { kind: jsonIn(bytes) === undefined ? 'binary' : 'json', data: bytes }
}

function mustBeAllowed ({ connection, parts: { connections } }: Session, action: 'presence' | 'history', channel: string): void {
  const refusal = connections.refusalOn(connection, action, channel)
  if (refusal) throw refusal
}

// Nothing where there are no keys: everyone may come then.
async function grantIn ({ connection: { id, peer }, parts: { tokens } }: Session, channel: string, token: string): Promise<Grant | undefined> {
  if (!tokens.hasKeys) return
  const meant = await tokens.subscription(token)
  const other = meant.channel !== channel ? 'channel' : meant.user !== (peer.user ?? '') ? 'user (sub)' : meant.client !== undefined && meant.client !== id ? 'connection (client)' : undefined
  if (other) throw new Disconnect(closeCodes.invalidToken, `it is for another ${other}`)
  return meant.grant
}

async function verified<Found> (verify: () => Promise<Found>, expired: typeof closeCodes.expired | typeof closeCodes.subscriptionExpired): Promise<Found> {
  try {
    return await verify()
  } catch (error) {
    const { code, message } = error as FanfareError
    if (code === 'FANFARE_TOKEN_EXPIRED') throw new Disconnect(expired)
    if (code === 'FANFARE_TOKEN_INVALID') throw new Disconnect(closeCodes.invalidToken, message)
    throw error
  }
}
