import { setTimeout as wait } from 'node:timers/promises'
import { closeCodes, type Close } from '../close-codes.ts'
import { fanfareError, type FanfareError } from '../errors.ts'
import type { Asked } from './access-api.ts'
import type { PublishExtras } from './channel-api.ts'
import type { Act, Connection } from './connection.ts'
import { Bucket, holdBackSender, Throttle, UserBuckets } from './limits.ts'
import { memberOf } from './presence.ts'
import type { Publication } from './publication.ts'
import { closeFor } from './refusal.ts'

// Of those who have left: 20 MB or so. One read from a socket can hold 9,000 messages, and limits count only who is there.
const MOST_LEFT = 50_000
// Messages of one connection.
const MUCH = 1000

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
  /** Who has left while something that it had sent still waited. */
  readonly #departed = new Set<Connection>()
  /** Each ends when nothing waits behind what is handled for a connection. */
  readonly #turns = new Set<Promise<void>>()

  constructor (settings: InboxSettings, parts: InboxParts) {
    this.#settings = settings
    this.#parts = parts
    this.#users = new UserBuckets(settings.userMessageRate)
  }

  opened (connection: Connection): void {
    const { messageRate } = this.#settings
    if (messageRate > 0) connection.throttle = new Throttle([new Bucket(messageRate)])
    this.identified(connection)
  }

  /** Counts a connection for its user, who was not known before. */
  identified (connection: Connection): void {
    const { user } = connection.peer
    if (this.#settings.userMessageRate === 0 || !user) return
    const bucket = this.#users.add(user)
    if (connection.throttle) connection.throttle.add(bucket)
    else connection.throttle = new Throttle([bucket])
  }

  /** What a connection has sent before it left is handled in its turn all the same, unless others have left very much. */
  closed (connection: Connection): void {
    const { peer: { user } } = connection
    if (user) this.#users.remove(user)
    if (leftBy(connection) === 0) return
    connection.wasIn = connection.channels
    this.#departed.add(connection)
    let left = 0
    for (const departed of this.#departed) {
      const count = leftBy(departed)
      left += count
      if (count === 0) this.#departed.delete(departed)
    }
    if (left <= MOST_LEFT) return
    this.#parts.log.info({ connection: connection.id, messages: leftBy(connection) }, 'what a connection had sent beyond its rate is dropped, as it has left')
    this.#drop(connection)
  }

  /** Drops what those who have left had sent, as far as it still waits: those who are meant may publish no more. */
  revoke (isMeant: (connection: Connection) => boolean): void {
    for (const connection of this.#departed) if (isMeant(connection)) this.#drop(connection)
  }

  /** Handles at once what those who have left had sent: the node stops. */
  flush (): void {
    for (const { throttle } of this.#departed) throttle?.flush()
    this.#departed.clear()
  }

  /** Resolves when all is handled that takes time, and what waits behind it; after so many milliseconds in any case. */
  async settled (milliseconds: number): Promise<void> {
    const over = new AbortController()
    await Promise.race([Promise.all(this.#turns), wait(milliseconds, undefined, { signal: over.signal }).catch(() => {})])
    over.abort()
  }

  /**
   * Takes what a connection sent, and has it handled: at the rate that the connection may have, and after what it sent before.
   *
   * @param act handles it. While that takes time it returns a promise, which never rejects: nothing more is read meanwhile
   */
  handle (connection: Connection, bytes: number, act: Act): void {
    holdBackSender(connection, bytes, this.#settings.maxBufferedBytes)
    if (connection.throttle) connection.throttle.run(connection, () => this.#inTurn(connection, act))
    else this.#inTurn(connection, act)
  }

  /** Takes a message for a channel, from a connection that gets no replies: it is closed if the message is refused. */
  receive (connection: Connection, channel: string, publication: Publication): void {
    this.handle(connection, publication.data.length, () => this.publish(connection, channel, publication, (error) => {
      if (error) this.#refuse(connection, channel, error)
    }))
  }

  /**
   * Publishes what a connection sent, if it may.
   *
   * @param then gets why not, if so; called when the publication is ordered and stored, or refused
   * @returns a promise while hooks look at it; what comes after it is published after it from then on
   */
  publish (connection: Connection, channel: string, publication: Publication, then: (error?: Error) => void): Promise<void> | undefined {
    this.#parts.log.debug({ connection: connection.id, channel, bytes: publication.data.length }, 'message')
    const refusal = this.#parts.refusalOf(connection, channel)
    if (refusal) {
      then(refusal)
      return
    }
    const asked = this.#parts.ask(connection, channel, publication)
    if (asked) {
      return asked.then(({ publication, extras }) => {
        if (connection.dismissed) then(fanfareError('FANFARE_FORBIDDEN', 'publish to', channel, 'the connection was ended'))
        else this.#order(connection, channel, publication, then, extras)
      }, then)
    }
    this.#order(connection, channel, publication, then)
  }

  // While something is handled nothing more is read from its connection, and what was read already waits its turn.
  #inTurn (connection: Connection, act: Act): void {
    if (mayNoMore(connection)) return
    if (connection.turn) {
      connection.turn.push(act)
      return
    }
    const done = act()
    if (!done) return
    connection.hold()
    connection.turn = []
    const turns = done.then(() => this.#nextTurn(connection)).finally(() => this.#turns.delete(turns))
    this.#turns.add(turns)
  }

  #nextTurn (connection: Connection): Promise<void> | undefined {
    for (let act; (act = connection.turn?.shift()) && !mayNoMore(connection);) {
      const done = act()
      if (done) return done.then(() => this.#nextTurn(connection))
    }
    connection.turn = undefined
    connection.release()
  }

  #order (connection: Connection, channel: string, { kind, data }: Publication, then: (error?: Error) => void, extras?: PublishExtras): void {
    const { user, info, grants } = connection.peer
    const by = user || info !== undefined || grants?.get(channel)?.info !== undefined ? memberOf(connection, channel) : undefined
    this.#parts.order(channel, { kind, data, from: connection.id, by }, extras).then(() => then(), then)
  }

  #drop (connection: Connection): void {
    connection.dismissed = true
    this.#departed.delete(connection)
    connection.throttle?.clear()
    connection.turn?.splice(0)
  }

  #refuse (connection: Connection, channel: string, error: Error): void {
    // What waits behind it is not published: the client is told that this one was the last.
    connection.dismissed = true
    this.#parts.log.info({ connection: connection.id, channel, error: error.message }, 'message could not be published')
    // Why the broker is away is not for clients to read.
    this.#parts.close(connection, (error as FanfareError).code === 'FANFARE_UNAVAILABLE' ? closeCodes.tryAgainLater : closeFor(error))
  }
}

// Who has left is not closed when its token ends.
function mayNoMore ({ dismissed, open, peer: { expiresAt = Infinity } }: Connection): boolean {
  return dismissed || (!open && expiresAt <= Date.now())
}

/** Whether so much waits for its turn that not even a sign of life is to be read for now: one read may bring 9,000 messages more. */
export function hasMuchWaiting (connection: Connection): boolean {
  return leftBy(connection) > MUCH
}

function leftBy ({ throttle, turn }: Connection): number {
  return (throttle?.waiting ?? 0) + (turn?.length ?? 0)
}
