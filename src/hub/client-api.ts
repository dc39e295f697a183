import { closeCodes } from '../close-codes.ts'
import { fanfareError, type FanfareError } from '../errors.ts'
import type { Admission, Wish } from './access-api.ts'
import type { Channels } from './channels.ts'
import { ClusterApi, type Renewal } from './cluster-api.ts'
import type { Connection, Grant, Peer } from './connection.ts'
import type { Heartbeat } from './heartbeat.ts'
import type { Inbox } from './inbox.ts'
import { historyUnreadable, type Beginning, type Coming } from './joining.ts'
import type { Lifetimes } from './lifetimes.ts'
import type { Hearing, Log } from './manager-settings.ts'
import { channelNameRefusal, type Position, type Publication } from './publication.ts'

/** Where channels begin that somebody is put into; one that keeps no history begins nowhere. */
export type Beginnings = ReadonlyMap<string, Beginning | undefined>

/** What a connection brings for a channel that it asks for. */
export interface SubscribeWish {
  /** What a token for the channel gives it. */
  readonly grant?: Grant | undefined
  /** Where it was before, if it comes back. */
  readonly since?: Position | undefined
  /** For hooks. */
  readonly data?: unknown
}

/** What protocols do for the connections that speak them: what clients send, ask for and are told. */
export abstract class ClientApi extends ClusterApi {
  protected abstract readonly log: Log
  protected abstract readonly maxChannels: number
  /** What the channels of one connection may begin with, in bytes. */
  protected abstract readonly maxBeginningBytes: number
  protected abstract readonly table: Channels
  protected abstract readonly inbox: Inbox
  protected abstract readonly heartbeat: Heartbeat
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

  /**
   * Handles what a connection sent that gets no replies: publishes it to the channel, at the rate that the connection may
   * have, or closes the connection.
   */
  receive (connection: Connection, channel: string, publication: Publication): void {
    if (!connection.open) return
    this.alive(connection)
    this.inbox.receive(connection, channel, publication)
  }

  /**
   * Handles what a connection sent in another way, see `Inbox`.
   *
   * @param act returns a promise, which never rejects, while it takes time
   */
  handle (connection: Connection, bytes: number, act: () => Promise<void> | undefined): void {
    if (!connection.open) return
    connection.heard()
    this.inbox.handle(connection, bytes, act)
  }

  /** Takes note of a sign of life. */
  alive (connection: Connection): void {
    connection.awaitingPong = false
    connection.heard()
  }

  /**
   * Publishes what a connection sent, if it may.
   *
   * @param then gets why not, if so; called when the publication is ordered and stored, or refused
   * @returns a promise while hooks look at it
   */
  publishFrom (connection: Connection, channel: string, publication: Publication, then: (error?: Error) => void): Promise<void> | undefined {
    const refusal = channelNameRefusal(channel)
    if (refusal) then(refusal)
    else return this.inbox.publish(connection, channel, publication, then)
  }

  /**
   * Learns who is on a connection that was accepted without knowing that, and puts it into the channels that its token names.
   *
   * @param since where it comes back to those channels
   * @param tell gets where they begin; what it writes comes before all else
   * @throws {FanfareError} FANFARE_TOKEN_MISSING, FANFARE_FORBIDDEN, FANFARE_TOO_MANY_CHANNELS, FANFARE_UNAVAILABLE, and what
   * hooks throw
   */
  async identify (connection: Connection, peer: Peer, wish: Wish, since: ReadonlyMap<string, Position>, tell: (beginnings: Beginnings) => void): Promise<void> {
    const asked = { ...peer, id: connection.id }
    // It has said who it is; hooks have a limit of their own.
    this.lifetimes.remove(connection)
    const admission = this.asksBeforeConnecting ? await this.askBeforeConnecting(asked, wish) : this.admitted(asked, wish)
    if (admission instanceof Error) throw admission
    const { channels } = admission
    if (channels.length > this.maxChannels) throw fanfareError('FANFARE_TOO_MANY_CHANNELS', this.maxChannels)
    const comings = await this.#comeAll(connection, admission, since)
    if (!connection.open) {
      cancelAll(comings.values())
      return
    }
    connection.peer = admission.peer
    connection.known = true
    this.inbox.identified(connection)
    const wanted = Array.from(comings).filter(([, coming]) => coming?.wanted !== false)
    tell(new Map(wanted.map(([channel, coming]) => [channel, coming?.beginning])))
    for (const [channel, coming] of comings) {
      if (coming?.wanted === false) coming.cancel()
      else this.#hearPlaced(connection, channel, coming)
    }
    this.lifetimes.reset(connection)
    this.heartbeat.add(connection)
    this.opened(connection, channels)
  }

  /**
   * Lets a connection hear a channel that it asks for, if it may.
   *
   * @param tell gets where the channel begins, if it keeps a history; what it writes comes before all else of the channel
   * @throws {FanfareError} FANFARE_BAD_CHANNEL, FANFARE_ALREADY_SUBSCRIBED, FANFARE_TOO_MANY_CHANNELS, FANFARE_FORBIDDEN,
   * FANFARE_UNAVAILABLE, and what hooks throw
   */
  async subscribeAs (connection: Connection, channel: string, { grant, since, data }: SubscribeWish, tell: (beginning: Beginning | undefined) => void): Promise<void> {
    const refusal = channelNameRefusal(channel) ?? this.#roomRefusal(connection, channel)
    if (refusal) throw refusal
    const peer = grant ? peerWith(connection, channel, grant) : connection.peer
    await this.#askToHear(connection, peer, channel, data)
    // The server may have put it there meanwhile.
    const late = this.#roomRefusal(connection, channel)
    if (late) throw late
    const coming = await this.#begin(connection, peer, channel, since)
    const { peer: before } = connection
    try {
      this.table.catchUp(connection)
      // It has left, was taken out of the channel, or is too slow for what it has been told.
      if (!connection.open || coming?.wanted === false) throw ended(channel)
      if (grant) connection.peer = peerWith(connection, channel, grant)
      tell(coming?.beginning)
    } catch (error) {
      connection.peer = before
      coming?.cancel()
      throw error
    }
    this.#hear(connection, channel, coming)
    if (grant) this.lifetimes.reset(connection)
  }

  /** Takes note that a connection has a new right to hear a channel, if it still hears it. */
  renewGrant (connection: Connection, channel: string, grant: Grant): void {
    if (!connection.isIn(channel)) return
    connection.peer = peerWith(connection, channel, grant)
    this.lifetimes.reset(connection)
  }

  override renew (connection: Connection, renewal: Renewal): void {
    this.lifetimes.renew(connection, renewal)
  }

  /** Whether a channel keeps what is published, so that its publications have positions that are worth knowing. */
  keepsHistory (channel: string): boolean {
    const { historySize, historyTtl } = this.rules.of(channel)
    return historySize > 0 && historyTtl > 0
  }

  /** Whether hooks let connections go on that would end, so that clients need not bring new tokens. */
  get renewsByItself (): boolean {
    return this.hooks.has('onRefresh')
  }

  protected override remove (connection: Connection, channel: string): void {
    this.table.remove(connection, channel)
    if (connection.deadlines) this.lifetimes.reset(connection)
  }

  protected override async place (connection: Connection, channel: string): Promise<void> {
    if (!connection.known || connection.isIn(channel)) return
    if (connection.channels.length >= this.maxChannels) {
      this.close(connection, closeCodes.channelLimit)
      return
    }
    try {
      if (connection.encoding.encodePlaced) await this.#placeAndTell(connection, channel)
      else {
        await this.table.prepare([channel])
        this.subscribe(connection, channel)
      }
    } catch {
      this.close(connection, historyUnreadable)
    }
  }

  /** To be called when it is known who a connection is, and what it hears. */
  protected opened ({ id, peer: { address, user } }: Connection, channels: readonly string[]): void {
    this.log.info({ connection: id, address, user, channels, connections: this.here().connections.size }, 'connection opened')
  }

  async #placeAndTell (connection: Connection, channel: string): Promise<void> {
    const coming = await this.#come(connection, connection.peer, channel)
    const bytes = connection.encoding.encodePlaced?.(channel, coming?.beginning.position, this.mayRead(connection.peer, channel))
    if (bytes && connection.open && coming?.wanted !== false) {
      this.send(connection, bytes)
      this.#hearPlaced(connection, channel, coming)
    } else coming?.cancel()
  }

  async #askToHear (connection: Connection, peer: Peer, channel: string, data: unknown): Promise<void> {
    connection.asking = channel
    try {
      await this.authorize(peer, 'subscribe', channel, data)
      await this.table.prepare([channel])
      if (connection.asking !== channel) throw ended(channel)
    } finally {
      connection.asking = undefined
    }
  }

  #hearPlaced (connection: Connection, channel: string, coming: Coming | undefined): void {
    connection.placed ??= new Set()
    connection.placed.add(channel)
    this.#hear(connection, channel, coming)
  }

  #hear (connection: Connection, channel: string, coming: Coming | undefined): void {
    // What it is told may have been too much for it.
    if (!connection.open) coming?.cancel()
    else if (coming) coming.join()
    else this.table.join(connection, channel, true)
  }

  async #come (connection: Connection, peer: Peer, channel: string, since?: Position, share?: number): Promise<Coming | undefined> {
    await this.table.prepare([channel])
    return this.#begin(connection, peer, channel, since, share)
  }

  // Who may not read the history cannot come back to it either.
  async #begin (connection: Connection, peer: Peer, channel: string, since?: Position, share?: number): Promise<Coming | undefined> {
    if (this.keepsHistory(channel)) return this.table.joining.begin(connection, channel, since && this.mayRead(peer, channel) ? since : undefined, share)
  }

  async #comeAll (connection: Connection, { peer, channels }: Admission, since: ReadonlyMap<string, Position>): Promise<Map<string, Coming | undefined>> {
    const share = 1 / Math.max(1, since.size)
    const results = await Promise.allSettled(channels.map(async (channel) => [channel, await this.#come(connection, peer, channel, since.get(channel), share)] as const))
    const failure = results.find((result) => result.status === 'rejected')
    const comings = new Map(results.flatMap((result) => result.status === 'fulfilled' ? [result.value] : []))
    // Each brings one publication at least. All are told in one message, which must not be more than may wait.
    let bytes = 0
    for (const coming of comings.values()) {
      if (coming && bytes + coming.bytes > this.maxBeginningBytes) coming.postpone()
      else bytes += coming?.bytes ?? 0
    }
    if (!failure) return comings
    cancelAll(comings.values())
    throw failure.reason
  }

  #roomRefusal (connection: Connection, channel: string): Error | undefined {
    if (connection.isIn(channel)) return fanfareError('FANFARE_ALREADY_SUBSCRIBED', channel)
    if (connection.channels.length >= this.maxChannels) return fanfareError('FANFARE_TOO_MANY_CHANNELS', this.maxChannels)
  }
}

function cancelAll (comings: Iterable<Coming | undefined>): void {
  for (const coming of comings) coming?.cancel()
}

function peerWith ({ peer }: Connection, channel: string, grant: Grant): Peer {
  return { ...peer, grants: new Map([...peer.grants ?? [], [channel, { ...grant, single: true }]]) }
}

function ended (channel: string): FanfareError {
  return fanfareError('FANFARE_FORBIDDEN', 'hear', channel, 'that was ended')
}
