import { Type, type Static } from 'typebox'
import type { ConnectionManager } from '../hub/connection-manager.ts'
import { channelNameRefusal, type Position, type Publication } from '../hub/publication.ts'
import { ApiError } from './errors.ts'
import { inTurns } from './in-turns.ts'
import { method, optional } from './method.ts'

const MAX_PUBLICATIONS = 300

const sinceSchema = Type.Object({
  offset: optional(Type.Integer({ minimum: 0 })),
  epoch: optional(Type.String())
})

/** `history`: where a channel stands and, with a limit, what it keeps. */
export const history = method(Type.Object({
  channel: Type.String(),
  limit: optional(Type.Integer({ minimum: -1 })),
  since: optional(sinceSchema),
  reverse: optional(Type.Boolean())
}), async ({ connections, room }, { channel, limit, since, reverse }) => {
  mustKeepHistory(connections, channel)
  const { publications, position: { offset, epoch }, continuous } = await connections.history(channel, {
    limit: limit === -1 ? MAX_PUBLICATIONS : Math.min(limit ?? 0, MAX_PUBLICATIONS),
    since: since ? await positionOf(connections, channel, since, reverse === true) : undefined,
    reverse: reverse === true
  })
  if (!continuous) throw new ApiError(112)
  room.take(publications.reduce((sum, { data }) => sum + data.length, 0))
  const texts = await inTurns(publications, 1, textOf)
  return `{"publications":[${texts.join(',')}],"epoch":${JSON.stringify(epoch)},"offset":${offset}}`
})

/** `history_remove`: forgets what a channel keeps, but not where it stands. */
export const historyRemove = method(Type.Object({ channel: Type.String() }), async ({ connections }, { channel }) => {
  mustKeepHistory(connections, channel)
  await connections.removeHistory(channel)
  return {}
})

function mustKeepHistory (connections: ConnectionManager, channel: string): void {
  const refusal = channelNameRefusal(channel)
  if (refusal) throw refusal
  const { historySize, historyTtl } = connections.rules.of(channel)
  if (historySize === 0 || historyTtl === 0) throw new ApiError(108, `Channel ${channel} keeps no history`)
}

// Without an epoch the present one is meant.
async function positionOf (connections: ConnectionManager, channel: string, { offset, epoch }: Static<typeof sinceSchema>, reverse: boolean): Promise<Position> {
  if (reverse && !offset) throw new ApiError(107, '/since/offset must be 1 or more with reverse')
  return { offset: offset ?? 0, epoch: epoch || (await connections.history(channel, { limit: 0 })).position.epoch }
}

function textOf ({ kind, data, position, tags }: Publication): string {
  const value = kind === 'binary' ? `"b64data":"${data.toString('base64')}"` : `"data":${jsonOf(data.toString(), kind === 'json')}`
  return `{${value},"offset":${position?.offset ?? 0}${tags ? `,"tags":${JSON.stringify(tags)}` : ''}}`
}

// Line breaks stand between replies of the old form of the API; within JSON they mean nothing.
function jsonOf (text: string, known: boolean): string {
  return known || isJson(text) ? text.replace(/[\r\n]+/g, '') : JSON.stringify(text)
}

function isJson (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
