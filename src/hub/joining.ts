import type { Broker, HistoryQuery } from '../brokers/broker.ts'
import { closeCodes, type Close } from '../close-codes.ts'
import type { Channel } from './channel.ts'
import type { Connection } from './connection.ts'
import { prepareAll, type Encoding } from './encoding.ts'
import { pieceOf, type Piece } from './piece.ts'
import type { Position, Publication } from './publication.ts'

// A history is sent in pieces, each when the one before has left: a client that reads slowly holds one of them.
const PIECE = 100

/** Why somebody is closed who cannot be told what it has missed. */
export const historyUnreadable: Close = { ...closeCodes.tryAgainLater, reason: 'history could not be read' }

/** Where a connection begins to hear a channel. */
export interface Start {
  /** With what came after this position. */
  readonly since?: Position | undefined
  /** With the last so many publications. */
  readonly last?: number | undefined
}

/** Where a channel stands for somebody who is told that before joining. */
export interface Beginning {
  readonly position: Position
  /** What came after the position that was asked for, or the first piece of it: the rest comes once it has joined. */
  readonly publications: readonly Publication[]
  /** Whether all is there that came after it. */
  readonly recovered: boolean
}

/** Somebody on the way into a channel, from which nothing is missed meanwhile. To be ended with `join` or `cancel`. */
export interface Coming {
  readonly beginning: Beginning
  /** Bytes of what its beginning brings. */
  readonly bytes: number
  /** Whether it still comes: it may have left, or been taken out. */
  readonly wanted: boolean
  /** Leaves the publications of its beginning for later: they come once it has joined. */
  postpone (): void
  /** Lets it hear what comes after its beginning. */
  join (): void
  cancel (): void
}

/** What joining needs of the channels. */
export interface JoiningParts {
  readonly broker: Broker
  readonly maxBufferedBytes: number
  open (name: string): Channel
  closeIfIdle (channel: Channel): void
  join (connection: Connection, name: string, echo: boolean): void
  /** Writes what other channels have for it first: what it is told next may say where it is in those. */
  writeDue (connection: Connection): void
  /** Says whether all is there that came after the position where somebody was. */
  tell (connection: Connection, name: string, recovered: boolean, position: Position): void
  close (connection: Connection, close: Close): void
}

/** The way of a connection into a channel, which is kept open meanwhile. */
interface Way {
  readonly channel: Channel
  readonly wanted: boolean
  end (): void
}

/** How connections come to channels with what is in their history, while publishing goes on. */
export class Joining {
  readonly #parts: JoiningParts

  constructor (parts: JoiningParts) {
    this.#parts = parts
  }

  /**
   * Brings a connection on the way into a channel, for protocols that tell it first where the channel stands.
   *
   * @param since what came after it is wanted; without an epoch the present one is meant
   * @param share of what may be brought, if others begin at the same time
   * @throws what reading the history throws
   */
  async begin (connection: Connection, name: string, since?: Position, share = 1): Promise<Coming> {
    const { broker } = this.#parts
    const way = this.#setOut(connection, name)
    const { channel } = way
    const meanwhile: Publication[] = []
    const { losses } = channel
    channel.collectors.add(meanwhile)
    const cancel = (): void => {
      channel.collectors.delete(meanwhile)
      way.end()
    }
    try {
      const epoch = since && (since.epoch || (await broker.history(name, { limit: 0 })).position.epoch)
      // Not with a limit of 0: where the channel stands then may not have been delivered yet.
      const query: HistoryQuery = { ...since && epoch ? { since: { offset: since.offset, epoch } } : { last: 0 }, limit: PIECE, maxBytes: this.pieceBytes * share }
      let piece = pieceOf(query, await broker.history(name, query), meanwhile.splice(0), channel.losses > losses)
      const recovered = since !== undefined && piece.continuous
      return {
        get beginning () { return { position: piece.end, publications: recovered ? piece.publications : [], recovered } },
        get bytes () { return recovered ? sizeOf(piece.publications) : 0 },
        get wanted () { return way.wanted },
        postpone: () => { if (query.since) piece = { ...piece, publications: [], end: query.since, complete: false } },
        cancel,
        join: () => {
          channel.collectors.delete(meanwhile)
          const rest = pieceOf({ since: piece.end, limit: 0 }, { publications: [], position: piece.end, continuous: true }, meanwhile, channel.losses > losses)
          const complete = piece.complete && rest.complete
          if (!way.wanted || (complete && this.#write(connection, channel, true, rest))) way.end()
          else this.#follow(way, connection, true, { since: complete ? rest.end : piece.end })
        }
      }
    } catch (error) {
      cancel()
      throw error
    }
  }

  /** The same as `join`, beginning with what is in the history. Nothing is missing between the two, and nothing comes twice. */
  async joinFrom (connection: Connection, name: string, echo: boolean, start: Start): Promise<void> {
    await this.#follow(this.#setOut(connection, name), connection, echo, start)
  }

  // One channel after the other: each would find room for its piece otherwise, and together they would be too much.
  async #follow (way: Way, connection: Connection, echo: boolean, start: Start): Promise<void> {
    const before = connection.replay
    const replay = (async () => {
      await before
      try {
        await this.#replay(connection, way, echo, start)
      } catch {
        this.#parts.close(connection, historyUnreadable)
      } finally {
        way.end()
      }
    })()
    connection.replay = replay
    await replay
    if (connection.replay === replay) connection.replay = undefined
  }

  #setOut (connection: Connection, name: string): Way {
    const channel = this.#parts.open(name)
    const ticket = {}
    const joining = connection.joining ??= new Map<string, object>()
    channel.joining++
    joining.set(name, ticket)
    return {
      channel,
      get wanted () { return connection.open && joining.get(name) === ticket && !connection.subscriptions.has(channel) },
      end: () => {
        channel.joining--
        if (joining.get(name) === ticket) joining.delete(name)
        this.#parts.closeIfIdle(channel)
      }
    }
  }

  // Piece by piece, until a piece reaches what the channel delivers from now on, or nobody wants it any more.
  async #replay (connection: Connection, way: Way, echo: boolean, { since, last = 0 }: Start): Promise<void> {
    const { channel } = way
    const { transport, encoding } = connection
    let position = since
    for (let first = true; ; first = false) {
      if (transport.bufferedBytes > this.#parts.maxBufferedBytes / 2) await new Promise<void>((resolve) => transport.onceDrained(resolve))
      const piece = await this.#read(channel, encoding, { ...position ? { since: position } : { last }, limit: PIECE, maxBytes: this.pieceBytes })
      if (!way.wanted) return
      if ((first && since) || !piece.continuous) this.#parts.tell(connection, channel.name, piece.continuous, piece.position)
      if (!way.wanted) return
      if (this.#write(connection, channel, echo, piece)) return
      position = piece.end
    }
  }

  // Lets it in with the last piece, if that is not so large that what comes next would find too much waiting.
  #write (connection: Connection, channel: Channel, echo: boolean, { publications, complete }: Piece): boolean {
    this.#parts.writeDue(connection)
    const heard = echo ? publications : publications.filter(({ from }) => from !== connection.id)
    const bytes = heard.length > 0 ? connection.encoding.encode(channel.name, heard) : undefined
    const isIn = complete && (bytes?.length ?? 0) <= this.#parts.maxBufferedBytes / 2
    if (isIn) this.#parts.join(connection, channel.name, echo)
    if (bytes) connection.transport.write(bytes)
    return isIn
  }

  async #read (channel: Channel, encoding: Encoding, query: HistoryQuery): Promise<Piece> {
    const meanwhile: Publication[] = []
    const { losses } = channel
    channel.collectors.add(meanwhile)
    try {
      const history = await this.#parts.broker.history(channel.name, query)
      // What is published in the meantime is collected, too.
      await prepareAll([encoding], channel.name, history.publications)
      return pieceOf(query, history, meanwhile, channel.losses > losses)
    } finally {
      channel.collectors.delete(meanwhile)
    }
  }

  /** What one piece may have, in bytes: two of them may wait in a connection beside what is published. */
  get pieceBytes (): number {
    return this.#parts.maxBufferedBytes / 4
  }
}

function sizeOf (publications: readonly Publication[]): number {
  return publications.reduce((sum, { data }) => sum + data.length, 0)
}
