import { LRUCache } from 'lru-cache'
import pLimit from 'p-limit'
import type { Position } from '../../hub/publication.ts'
import type { History, HistoryQuery } from '../broker.ts'
import { newEpoch } from '../epoch.ts'
import { historyOf } from '../history.ts'
import { decodeHistory, positionOf, type HistoryReply } from './codec.ts'
import type { Keys } from './keys.ts'
import type { RedisLink } from './link.ts'
import type { Outgoing } from './outbox.ts'

// How long the position of an idle channel is remembered at least: as long as its history.
const POSITION_TTL_SECONDS = 86_400
const IDEMPOTENCY_TTL_SECONDS = 300
const READS_AT_ONCE = 64
// Timers go off up to a millisecond early: what was refused by then must be too late for Redis as well.
const EARLY_MS = 2
// Channels of which it is remembered up to where this node has published.
const ACKNOWLEDGED = 10_000

/** What calls need of those who own them. */
interface CallsParts {
  readonly link: Pick<RedisLink, 'run' | 'serverTimeIn'>
  readonly keys: Keys
  /** Whether publications travel by sharded Pub/Sub. */
  readonly isSharded: () => boolean
}

/** The calls of scripts that order, store and read the publications of a channel. */
export class Calls {
  readonly #parts: CallsParts
  readonly #reads = pLimit(READS_AT_ONCE)
  readonly #acknowledged = new LRUCache<string, Position>({ max: ACKNOWLEDGED })

  constructor (parts: CallsParts) {
    this.#parts = parts
  }

  /** Publishes what is for one channel, all of it in one step; resolves with the position of each. */
  async publish (channel: string, batch: readonly Outgoing[], timeoutMs: number): Promise<Position[]> {
    const { link, keys: names } = this.#parts
    const { historySize, historyTtl } = (batch[0] as Outgoing).options
    const keys = [names.meta(channel), names.stream(channel)]
    const kept = historyTtl > 0 ? historySize : 0
    const values: (string | number | Buffer)[] = [
      newEpoch(), link.serverTimeIn(timeoutMs - EARLY_MS), this.#command, names.pubSub(channel), kept, Math.ceil(historyTtl), Math.ceil(Math.max(POSITION_TTL_SECONDS, historyTtl)), IDEMPOTENCY_TTL_SECONDS
    ]
    for (const { bytes, options: { idempotencyKey, skipHistory } } of batch) {
      if (idempotencyKey !== undefined) keys.push(names.idempotency(channel, idempotencyKey))
      values.push(idempotencyKey === undefined ? 0 : keys.length, skipHistory ? 1 : 0, bytes)
    }
    const positions = (await link.run('publish', keys, values, timeoutMs) as Buffer[]).map((position) => positionOf(position.toString()))
    this.#acknowledge(channel, positions.at(-1) as Position)
    return positions
  }

  /**
   * Reads a part of a channel's history.
   *
   * @param isKnown whether Redis itself has told this node of `since`, and not a client
   */
  async read (channel: string, query: HistoryQuery, isKnown = false): Promise<History> {
    const { link, keys: names } = this.#parts
    const { since, last = '', limit, reverse = false, maxBytes = Number.MAX_SAFE_INTEGER } = query
    const from = since ? Math.min(since.offset, Number.MAX_SAFE_INTEGER) : ''
    const values = [newEpoch(), POSITION_TTL_SECONDS, from, limit === Infinity ? -1 : limit, reverse ? 'reverse' : '', last, maxBytes, isKnown && since ? since.epoch : '', this.#command, names.pubSub(channel)]
    const reply = await this.#reads(() => link.run('history', [names.meta(channel), names.stream(channel)], values)) as HistoryReply
    return historyOf(decodeHistory(reply, reverse), query)
  }

  get #command (): string {
    return this.#parts.isSharded() ? 'SPUBLISH' : 'PUBLISH'
  }

  // Of what Redis has acknowledged and lost nobody else may know.
  #acknowledge (channel: string, position: Position): void {
    const before = this.#acknowledged.get(channel)
    this.#acknowledged.set(channel, position)
    if (before && before.epoch !== position.epoch) this.read(channel, { since: before, limit: 0 }, true).catch(() => {})
  }
}
