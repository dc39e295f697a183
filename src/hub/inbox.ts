import { closeCodes, type Close } from '../close-codes.ts'
import type { FanfareError } from '../errors.ts'
import { closeFor, reasonOf, type Asked } from './access-api.ts'
import type { PublishExtras } from './channel-api.ts'
import type { Connection } from './connection.ts'
import { Bucket, holdBackSender, Throttle, UserBuckets } from './limits.ts'
import type { Publication } from './publication.ts'

/** How much may be sent. */
export interface InboxSettings {
  /** What may wait for one connection, in bytes. */
  readonly maxBufferedBytes: number
  /** Messages per second and connection; 0: off. */
  readonly messageRate: number
  /** Messages per second of all connections that a user has on this node; 0: off. */
  readonly userMessageRate: number
}

/** What the inbox needs of those who own it. */
export interface InboxParts {
  /** Why a connection may not publish to a channel, if so. */
  refusalOf (connection: Connection, channel: string): Error | undefined
  /** What is to be published after hooks have seen it; nothing if there are no hooks. */
  ask (connection: Connection, channel: string, publication: Publication): Promise<Asked> | undefined
  order (channel: string, publication: Publication, extras?: PublishExtras): Promise<unknown>
  close (connection: Connection, close: Close): void
  readonly log: { debug (facts: object, sentence: string): void, info (facts: object, sentence: string): void }
}

/** What connections send, on its way to the broker: in order, at the rate that they may have, if they may. */
export class Inbox {
  readonly #settings: InboxSettings
  readonly #parts: InboxParts
  readonly #users: UserBuckets

  constructor (settings: InboxSettings, parts: InboxParts) {
    this.#settings = settings
    this.#parts = parts
    this.#users = new UserBuckets(settings.userMessageRate)
  }

  opened (connection: Connection): void {
    const { messageRate, userMessageRate } = this.#settings
    const { user } = connection.peer
    const buckets = messageRate > 0 ? [new Bucket(messageRate)] : []
    if (userMessageRate > 0 && user) buckets.push(this.#users.add(user))
    if (buckets.length > 0) connection.throttle = new Throttle(buckets)
  }

  closed ({ peer: { user } }: Connection): void {
    if (user) this.#users.remove(user)
  }

  /** Takes a message for a channel. */
  receive (connection: Connection, channel: string, publication: Publication): void {
    this.#parts.log.debug({ connection: connection.id, channel, bytes: publication.data.length }, 'message')
    holdBackSender(connection, publication.data.length, this.#settings.maxBufferedBytes)
    if (connection.throttle) connection.throttle.run(connection, () => this.#publish(connection, channel, publication))
    else this.#publish(connection, channel, publication)
  }

  #publish (connection: Connection, channel: string, publication: Publication): void {
    if (connection.dismissed) return
    const refusal = this.#parts.refusalOf(connection, channel)
    if (refusal) {
      this.#refuse(connection, channel, refusal, closeFor(refusal))
      return
    }
    const asked = connection.turn ? undefined : this.#parts.ask(connection, channel, publication)
    if (!asked && !connection.turn) this.#order(connection, channel, publication)
    else this.#inTurn(connection, channel, publication, asked)
  }

  // While hooks look at a message nothing more is read from its connection, and what was read already waits its turn.
  #inTurn (connection: Connection, channel: string, publication: Publication, asked: Promise<Asked> | undefined): void {
    const before = connection.turn
    connection.hold()
    const turn = this.#afterHooks(before, connection, channel, publication, asked).finally(() => {
      if (connection.turn === turn) connection.turn = undefined
      connection.release()
    })
    connection.turn = turn
  }

  async #afterHooks (before: Promise<void> | undefined, connection: Connection, channel: string, publication: Publication, asked: Promise<Asked> | undefined): Promise<void> {
    await before
    if (connection.dismissed) return
    try {
      const seen = await (asked ?? this.#parts.ask(connection, channel, publication))
      this.#order(connection, channel, seen?.publication ?? publication, seen?.extras)
    } catch (error) {
      this.#refuse(connection, channel, error as Error, closeFor(error as Error))
    }
  }

  #order (connection: Connection, channel: string, { kind, data }: Publication, extras?: PublishExtras): void {
    this.#parts.order(channel, { kind, data, from: connection.id }, extras).catch((error: FanfareError) => {
      const close = error.code === 'FANFARE_REFUSED_DATA' ? { ...closeCodes.badRequest, reason: reasonOf(error.message) } : closeCodes.tryAgainLater
      this.#refuse(connection, channel, error, close)
    })
  }

  #refuse (connection: Connection, channel: string, error: Error, close: Close): void {
    // What waits behind it is not published: the client is told that this one was the last.
    connection.dismissed = true
    this.#parts.log.info({ connection: connection.id, channel, error: error.message }, 'message could not be published')
    this.#parts.close(connection, close)
  }
}
