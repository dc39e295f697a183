import { fanfareError } from '../errors.ts'
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
    connection.awaitingPong = false
    this.inbox.receive(connection, channel, publication)
  }

  /**
   * Handles what a connection sent in another way, see `Inbox`.
   *
   * @param act returns a promise, which never rejects, while it takes time
   */
  handle (connection: Connection, bytes: number, act: () => Promise<void> | undefined): void {
    if (connection.open) this.inbox.handle(connection, bytes, act)
  }

  /** Takes note of a sign of life. */
  alive (connection: Connection): void {
    connection.awaitingPong = false
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
    tell(new Map(Array.from(comings, ([channel, coming]) => [channel, coming?.beginning])))
    for (const [channel, coming] of comings) this.#hearPlaced(connection, channel, coming)
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
    await this.authorize(peer, 'subscribe', channel, data)
    const coming = await this.#come(connection, peer, channel, since)
    try {
      // It has left, or was taken out of the channel meanwhile.
      if (!connection.open || coming?.wanted === false) throw fanfareError('FANFARE_FORBIDDEN', 'hear', channel, 'that was ended')
      if (grant) connection.peer = peerWith(connection, channel, grant)
      this.table.catchUp(connection)
      tell(coming?.beginning)
    } catch (error) {
      coming?.cancel()
      throw error
    }
    this.#hear(connection, channel, coming)
    if (grant) this.lifetimes.reset(connection)
  }

  /** Takes note that a connection has a new right to hear a channel that it hears. */
  renewGrant (connection: Connection, channel: string, grant: Grant): void {
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

  protected override place (connection: Connection, channel: string): void {
    if (!connection.encoding.encodePlaced) this.subscribe(connection, channel)
    else if (connection.known && !connection.isIn(channel)) this.#placeAndTell(connection, channel).catch(() => this.close(connection, historyUnreadable))
  }

  /** To be called when it is known who a connection is, and what it hears. */
  protected opened ({ id, peer: { address, user } }: Connection, channels: readonly string[]): void {
    this.log.info({ connection: id, address, user, channels, connections: this.here().connections.size }, 'connection opened')
  }

  async #placeAndTell (connection: Connection, channel: string): Promise<void> {
    const coming = await this.#come(connection, connection.peer, channel)
    const bytes = connection.encoding.encodePlaced?.(channel, coming?.beginning.position)
    if (bytes && connection.open && coming?.wanted !== false) {
      this.send(connection, bytes)
      this.#hearPlaced(connection, channel, coming)
    } else coming?.cancel()
  }

  #hearPlaced (connection: Connection, channel: string, coming: Coming | undefined): void {
    connection.placed ??= new Set()
    connection.placed.add(channel)
    this.#hear(connection, channel, coming)
  }

  #hear (connection: Connection, channel: string, coming: Coming | undefined): void {
    if (coming) coming.join()
    else this.table.join(connection, channel, true)
  }

  // Who may not read the history cannot come back to it either.
  async #come (connection: Connection, peer: Peer, channel: string, since?: Position): Promise<Coming | undefined> {
    await this.table.prepare([channel])
    if (this.keepsHistory(channel)) return this.table.joining.begin(connection, channel, since && this.mayRead(peer, channel) ? since : undefined)
  }

  async #comeAll (connection: Connection, { peer, channels }: Admission, since: ReadonlyMap<string, Position>): Promise<Map<string, Coming | undefined>> {
    const results = await Promise.allSettled(channels.map(async (channel) => [channel, await this.#come(connection, peer, channel, since.get(channel))] as const))
    const failure = results.find((result) => result.status === 'rejected')
    const comings = new Map(results.flatMap((result) => result.status === 'fulfilled' ? [result.value] : []))
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

// What tokens of channels gave that it has left is forgotten: it could collect any number.
function peerWith (connection: Connection, channel: string, grant: Grant): Peer {
  const { peer } = connection
  const others = Array.from(peer.grants ?? []).filter(([name, { single }]) => !single || connection.isIn(name))
  return { ...peer, grants: new Map([...others, [channel, { ...grant, single: true }]]) }
}
