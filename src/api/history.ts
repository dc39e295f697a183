import { Type, type Static } from 'typebox'
import type { History } from '../brokers/broker.ts'
import type { ConnectionManager } from '../hub/connection-manager.ts'
import { channelNameRefusal, type Position, type Publication } from '../hub/publication.ts'
import { restText, valueText } from '../protocols/centrifuge/values.ts'
import { ReplyError } from '../reply-errors.ts'
import { inTurns } from './in-turns.ts'
import { method, optional, type Room } from './method.ts'

const MAX_PUBLICATIONS = 300

const sinceSchema = Type.Object({
  offset: optional(Type.Integer({ minimum: 0 })),
  epoch: optional(Type.String())
})

/** What is asked of a history. */
export const historyParams = Type.Object({
  channel: Type.String(),
  limit: optional(Type.Integer({ minimum: -1 })),
  since: optional(sinceSchema),
  reverse: optional(Type.Boolean())
})

/**
 * Reads a history.
 *
 * @param room that the publications take
 * @throws {ReplyError} 108, 107, 112, 106
 * @throws {FanfareError} what the connection manager throws
 */
export async function readHistory (connections: ConnectionManager, room: Room, { channel, limit, since, reverse }: Static<typeof historyParams>): Promise<History> {
  mustKeepHistory(connections, channel)
  const history = await connections.history(channel, {
    limit: limit === -1 ? MAX_PUBLICATIONS : Math.min(limit ?? 0, MAX_PUBLICATIONS),
    since: since ? await positionOf(connections, channel, since, reverse === true) : undefined,
    reverse: reverse === true
  })
  if (!history.continuous) throw new ReplyError(112)
  room.take(history.publications.reduce((sum, { data }) => sum + data.length, 0))
  return history
}

/** `history`: where a channel stands and, with a limit, what it keeps. */
export const history = method(historyParams, async ({ connections, room }, params) => {
  const { publications, position: { epoch, offset } } = await readHistory(connections, room, params)
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
  if (!connections.keepsHistory(channel)) throw new ReplyError(108, `Channel ${channel} keeps no history`)
}

// Without an epoch the present one is meant.
async function positionOf (connections: ConnectionManager, channel: string, { offset, epoch }: Static<typeof sinceSchema>, reverse: boolean): Promise<Position> {
  if (reverse && !offset) throw new ReplyError(107, '/since/offset must be 1 or more with reverse')
  return { offset: offset ?? 0, epoch: epoch || (await connections.history(channel, { limit: 0 })).position.epoch }
}

function textOf (publication: Publication): string {
  const { kind, data } = publication
  return `{${kind === 'binary' ? `"b64data":"${data.toString('base64')}"` : `"data":${valueText(publication)}`}${restText(publication)}}`
}
