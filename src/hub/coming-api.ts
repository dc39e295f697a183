import { closeCodes } from '../close-codes.ts'
import { fanfareError } from '../errors.ts'
import type { Admission } from './access-api.ts'
import type { Channels } from './channels.ts'
import { ClusterApi } from './cluster-api.ts'
import { peerWith, type Connection, type Grant, type Peer } from './connection.ts'
import { historyUnreadable, type Coming } from './joining.ts'
import type { Lifetimes } from './lifetimes.ts'
import type { Hearing } from './manager-settings.ts'
import type { Position } from './publication.ts'

/** How connections come to channels and leave them: by what they ask for, by their tokens, and because the server says so. */
export abstract class ComingApi extends ClusterApi {
  protected abstract readonly maxChannels: number
  protected abstract readonly table: Channels
  protected abstract readonly lifetimes: Lifetimes

  /**
   * Lets a connection hear a channel: all that is published from now on, or from where it says on. Nothing changes if it
   * does already.
   */
  subscribe (connection: Connection, channel: string, { echo = true, since, last, positions }: Hearing = {}): void {
    if (connection.isIn(channel)) return
    const from = positions?.get(channel) ?? since
    if (from || last) this.table.joining.joinFrom(connection, channel, echo, { since: from, last })
    else this.table.join(connection, channel, echo)
  }

  /** Ends that; the connection hears first what was published so far. */
  unsubscribe (connection: Connection, channel: string): void {
    this.table.leave(connection, channel)
    if (connection.deadlines) this.lifetimes.reset(connection)
  }

  /** Tells a connection something directly, after all that was published to it so far. */
  send (connection: Connection, bytes: Buffer): void {
    this.table.catchUp(connection)
    if (connection.open) connection.transport.write(bytes)
  }

  /** Answers what a connection has published to a channel: together with what it has not heard of that yet, or at once. */
  answer (connection: Connection, channel: string, bytes: Buffer): void {
    if (connection.open) this.table.answer(connection, channel, bytes)
  }

  /** Whether a channel keeps what is published, so that its publications have positions that are worth knowing. */
  keepsHistory (channel: string): boolean {
    const { historySize, historyTtl } = this.rules.of(channel)
    return historySize > 0 && historyTtl > 0
  }

  protected override remove (connection: Connection, channel: string): void {
    this.table.remove(connection, channel)
    if (connection.deadlines) this.lifetimes.reset(connection)
  }

  protected override async place (connection: Connection, channel: string, grant?: Grant): Promise<void> {
    if (!connection.known || connection.isIn(channel)) return
    if (connection.channels.length >= this.maxChannels) {
      this.close(connection, closeCodes.channelLimit)
      return
    }
    const before = connection.peer.grants?.get(channel)
    // What its own token says of the channel stays.
    if (grant && (!before || before.single)) connection.peer = peerWith(connection.peer, channel, { ...grant, single: true, byServer: true })
    try {
      if (connection.encoding.encodePlaced) await this.#placeAndTell(connection, channel, grant)
      else {
        await this.table.prepare([channel])
        this.subscribe(connection, channel)
      }
      if (grant) this.lifetimes.reset(connection)
    } catch {
      this.close(connection, historyUnreadable)
    }
  }

  async #placeAndTell (connection: Connection, channel: string, grant?: Grant): Promise<void> {
    const coming = await this.#come(connection, connection.peer, channel)
    const bytes = connection.encoding.encodePlaced?.(channel, coming?.beginning.position, this.mayRead(connection.peer, channel), grant?.data)
    if (bytes && connection.open && coming?.wanted !== false) {
      this.send(connection, bytes)
      this.hearPlaced(connection, channel, coming)
    } else coming?.cancel()
  }

  protected hearPlaced (connection: Connection, channel: string, coming: Coming | undefined): void {
    connection.placed ??= new Set()
    connection.placed.add(channel)
    this.hear(connection, channel, coming)
  }

  protected hear (connection: Connection, channel: string, coming: Coming | undefined): void {
    // What it is told may have been too much for it.
    if (!connection.open) coming?.cancel()
    else if (coming) coming.join()
    else this.table.join(connection, channel, true)
  }

  async #come (connection: Connection, peer: Peer, channel: string, since?: Position, share?: number): Promise<Coming | undefined> {
    await this.table.prepare([channel])
    return this.begin(connection, peer, channel, since, share)
  }

  // Who may not read the history cannot come back to it either.
  protected async begin (connection: Connection, peer: Peer, channel: string, since?: Position, share?: number): Promise<Coming | undefined> {
    if (this.keepsHistory(channel)) return this.table.joining.begin(connection, channel, since && this.mayRead(peer, channel) ? since : undefined, share)
  }

  protected async comeAll (connection: Connection, { peer, channels }: Admission, since: ReadonlyMap<string, Position>): Promise<Map<string, Coming | undefined>> {
    const share = 1 / Math.max(1, since.size)
    const results = await Promise.allSettled(channels.map(async (channel) => [channel, await this.#come(connection, peer, channel, since.get(channel), share)] as const))
    const failure = results.find((result) => result.status === 'rejected')
    const comings = new Map(results.flatMap((result) => result.status === 'fulfilled' ? [result.value] : []))
    // Each brings one publication at least. All are told in one message, which must not be more than one channel may bring.
    let bytes = 0
    for (const coming of comings.values()) {
      if (coming && bytes + coming.bytes > this.table.joining.pieceBytes) coming.postpone()
      else bytes += coming?.bytes ?? 0
    }
    if (!failure) return comings
    cancelAll(comings.values())
    throw failure.reason
  }

  protected roomRefusal (connection: Connection, channel: string): Error | undefined {
    if (connection.isIn(channel)) return fanfareError('FANFARE_ALREADY_SUBSCRIBED', channel)
    if (connection.channels.length >= this.maxChannels) return fanfareError('FANFARE_TOO_MANY_CHANNELS', this.maxChannels)
  }
}

/** Ends that somebody comes to channels. */
export function cancelAll (comings: Iterable<Coming | undefined>): void {
  for (const coming of comings) coming?.cancel()
}
