import { Type, type Static } from 'typebox'
import type { History } from '../brokers/broker.ts'
import type { ConnectionManager } from '../hub/connection-manager.ts'
import { channelNameRefusal, type Position } from '../hub/publication.ts'
import { optional } from '../json-schema.ts'
import { ReplyError } from '../reply-errors.ts'
import type { ReplyBudget } from './reply-budget.ts'

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
 * @param budget that the publications take from
 * @throws {ReplyError} 108, 107, 112, 106
 * @throws {FanfareError} what the connection manager throws
 */
export async function readHistory (connections: ConnectionManager, budget: ReplyBudget, { channel, limit, since, reverse }: Static<typeof historyParams>): Promise<History> {
  mustKeepHistory(connections, channel)
  const history = await connections.history(channel, {
    limit: limit === -1 ? MAX_PUBLICATIONS : Math.min(limit ?? 0, MAX_PUBLICATIONS),
    since: since ? await positionOf(connections, channel, since, reverse === true) : undefined,
    reverse: reverse === true,
    maxBytes: budget.left
  })
  if (!history.continuous) throw new ReplyError(112)
  // Not even read: many who ask for much at the same time would take more than this node has.
  if (history.cut) budget.refuse()
  budget.take(history.publications.reduce((sum, { data }) => sum + data.length, 0))
  return history
}

/** Throws 108 where a channel keeps no history. */
export function mustKeepHistory (connections: ConnectionManager, channel: string): void {
  const refusal = channelNameRefusal(channel)
  if (refusal) throw refusal
  if (!connections.keepsHistory(channel)) throw new ReplyError(108, `Channel ${channel} keeps no history`)
}

// Without an epoch the present one is meant.
async function positionOf (connections: ConnectionManager, channel: string, { offset, epoch }: Static<typeof sinceSchema>, reverse: boolean): Promise<Position> {
  if (reverse && !offset) throw new ReplyError(107, '/since/offset must be 1 or more with reverse')
  return { offset: offset ?? 0, epoch: epoch || (await connections.history(channel, { limit: 0 })).position.epoch }
}
