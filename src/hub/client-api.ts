import { closeCodes } from '../close-codes.ts'
import { fanfareError, type FanfareError } from '../errors.ts'
import type { Wish } from './access-api.ts'
import type { Renewal } from './cluster-api.ts'
import { cancelAll, ComingApi } from './coming-api.ts'
import { hookedGrant, peerWith, type Connection, type Grant, type Peer } from './connection.ts'
import type { Heartbeat } from './heartbeat.ts'
import type { Inbox } from './inbox.ts'
import type { Beginning } from './joining.ts'
import type { Log } from './manager-settings.ts'
import { channelNameRefusal, type Position, type Publication } from './publication.ts'

/** A client has so long to say who it is, and to go when it was refused; with the steps of `Expiry` that is 10 s. */
export const IDENTIFY_S = 9

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
export abstract class ClientApi extends ComingApi {
  protected abstract readonly log: Log
  protected abstract readonly inbox: Inbox
  protected abstract readonly heartbeat: Heartbeat

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
   * @param tell gets where they begin, and what hooks want the client to be told; what it writes comes before all else
   * @throws {FanfareError} FANFARE_TOKEN_MISSING, FANFARE_FORBIDDEN, FANFARE_TOO_MANY_CHANNELS, FANFARE_UNAVAILABLE, and what
   * hooks throw
   */
  async identify (connection: Connection, peer: Peer, wish: Wish, since: ReadonlyMap<string, Position>, tell: (beginnings: Beginnings, data: unknown) => void): Promise<void> {
    // It has said who it is; hooks have a limit of their own.
    this.lifetimes.remove(connection)
    try {
      await this.#identify(connection, { ...peer, id: connection.id }, wish, since, tell)
    } catch (error) {
      this.lifetimes.limit(connection, IDENTIFY_S, closeCodes.stale)
      throw error
    }
  }

  async #identify (connection: Connection, asked: Peer, wish: Wish, since: ReadonlyMap<string, Position>, tell: (beginnings: Beginnings, data: unknown) => void): Promise<void> {
    const admission = this.asksBeforeConnecting ? await this.askBeforeConnecting(asked, wish) : this.admitted(asked, wish)
    if (admission instanceof Error) throw admission
    const { channels, data } = admission
    if (channels.length > this.maxChannels) throw fanfareError('FANFARE_TOO_MANY_CHANNELS', this.maxChannels)
    const comings = await this.comeAll(connection, admission, since)
    if (!connection.open) {
      cancelAll(comings.values())
      return
    }
    connection.peer = admission.peer
    connection.known = true
    this.inbox.identified(connection)
    const wanted = Array.from(comings).filter(([, coming]) => coming?.wanted !== false)
    tell(new Map(wanted.map(([channel, coming]) => [channel, coming?.beginning])), data)
    for (const [channel, coming] of comings) {
      if (coming?.wanted === false) coming.cancel()
      else this.hearPlaced(connection, channel, coming)
    }
    this.lifetimes.reset(connection)
    // A hook may have ended it.
    if (!connection.open) return
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
    const refusal = channelNameRefusal(channel) ?? this.roomRefusal(connection, channel)
    if (refusal) throw refusal
    const { peer: known } = connection
    const peer = grant ? peerWith(known, channel, { ...grant, single: true }) : known
    const told = await this.#askToHear(connection, peer, channel, data)
    // The server may have put it there meanwhile.
    const late = this.roomRefusal(connection, channel)
    if (late) throw late
    const coming = await this.begin(connection, peer, channel, since)
    const { peer: before } = connection
    try {
      this.table.catchUp(connection)
      // It has left, was taken out of the channel, or is too slow for what it has been told.
      if (!connection.open || coming?.wanted === false) throw ended(channel)
      if (told !== known.grants?.get(channel)) connection.peer = peerWith(before, channel, told)
      tell(coming?.beginning)
    } catch (error) {
      connection.peer = before
      coming?.cancel()
      throw error
    }
    this.hear(connection, channel, coming)
    // What its token, or a hook, gave for the channel ends as well.
    if (connection.peer.grants) this.lifetimes.reset(connection)
  }

  /** Takes note that a connection has a new right to hear a channel, if it still hears it. */
  renewGrant (connection: Connection, channel: string, grant: Grant): void {
    if (!connection.isIn(channel)) return
    const { peer } = connection
    const token = { ...grant, single: true }
    // What hooks have said of the subscription holds as long as that lasts.
    const { answer } = peer.grants?.get(channel)?.hooked ?? {}
    connection.peer = peerWith(peer, channel, answer ? hookedGrant(answer, token) : token)
    this.lifetimes.reset(connection)
  }

  override renew (connection: Connection, renewal: Renewal): void {
    this.lifetimes.renew(connection, renewal)
  }

  /** Whether hooks let connections go on that would end, so that clients need not bring new tokens. */
  get renewsByItself (): boolean {
    return this.hooks.has('onRefresh')
  }

  /** To be called when it is known who a connection is, and what it hears. */
  protected opened ({ id, peer: { address, user } }: Connection, channels: readonly string[]): void {
    this.log.info({ connection: id, address, user, channels, connections: this.here().connections.size }, 'connection opened')
  }

  // What its token for the channel, or a hook, says of it; what its connection token says stays as it is.
  async #askToHear (connection: Connection, peer: Peer, channel: string, data: unknown): Promise<Grant | undefined> {
    connection.asking = channel
    try {
      const grant = await this.mayHear(peer, channel, data)
      await this.table.prepare([channel])
      if (connection.asking !== channel) throw ended(channel)
      return grant
    } finally {
      connection.asking = undefined
    }
  }
}

function ended (channel: string): FanfareError {
  return fanfareError('FANFARE_FORBIDDEN', 'hear', channel, 'that was ended')
}
