import type { Broker } from '../brokers/broker.ts'
import { fanfareError } from '../errors.ts'
import type { PublishExtras } from './channel-api.ts'
import type { ChannelRules } from './channel-rules.ts'
import { hookedGrant, newId, peerWith, type Connection, type Grant, type Peer } from './connection.ts'
import { HookApi } from './hook-api.ts'
import { callerOf, callerOn, type HookContexts, type Hooks } from './hooks.ts'
import { isRestricted, refusalBy, subscribeRefusal, type Action } from './permissions.ts'
import { channelNameRefusal, mustBeJson, publicationOf, valueOf, type Publication, type PublicationData } from './publication.ts'

/** The channel of who names none. */
export const STANDARD_CHANNEL = 'broadcast'

/** What somebody asks for who connects. */
export interface Wish {
  /** Empty: those that the token names, or else `broadcast`. */
  readonly channels: readonly string[]
  /** Whether `broadcast` is not meant where neither names any: the client asks for channels later. */
  readonly later?: boolean
  /** Whether what was published before is asked for. */
  readonly history?: boolean | undefined
  readonly headers: HookContexts['onConnect']['headers']
  /** What else it says of itself. */
  readonly says?: Pick<HookContexts['onConnect'], 'name' | 'version' | 'data'>
}

/** Who may connect, and to what. */
export interface Admission {
  readonly peer: Peer
  readonly channels: readonly string[]
  /** What it is told when it is connected, where its protocol has a word for that. */
  readonly data?: unknown
}

/** A publication that hooks have seen, and how they want it published. */
export interface Asked { readonly publication: Publication, readonly extras?: PublishExtras | undefined }

/** Who may do what: permissions by channel rule, and the hooks of the app. */
export class AccessApi extends HookApi {
  /** Whether everyone may come: nothing is configured that says who somebody is. */
  protected readonly openToAll: boolean

  constructor (broker: Broker, rules: ChannelRules, hooks: Hooks, openToAll: boolean) {
    super(broker, rules, hooks)
    this.openToAll = openToAll
  }

  /**
   * Sees whether somebody may do something with a channel who asks over HTTP, and not on a connection: those count as
   * subscribers who may hear the channel.
   *
   * @param data what is said along with it, for hooks
   * @throws {FanfareError} FANFARE_TOKEN_MISSING, FANFARE_FORBIDDEN, and what hooks throw
   */
  async authorize (peer: Peer, action: Action, channel: string, data?: unknown): Promise<void> {
    if (action === 'subscribe') {
      await this.mayHear(peer, channel, data)
      return
    }
    if (!this.openToAll && peer.user === undefined) throw fanfareError('FANFARE_TOKEN_MISSING')
    const permission = this.rules.of(channel).allow[action]
    const deaf = this.#subscribeRefusal(peer, channel)
    // What is not to be heard by all is not to be seen by all either, whatever a rule for many channels says.
    if (deaf && !this.openToAll && isRestricted(channel)) throw deaf
    const refusal = refusalBy(permission, action, channel, peer, !deaf)
    if (refusal) throw refusal
    if (permission === 'subscribers') await this.#askBeforeHearing(peer, channel, data)
  }

  /**
   * Sees whether somebody may hear a channel, by rules and hooks; throws as `authorize` does.
   *
   * @returns what hooks, or else a token, say of that
   */
  protected async mayHear (peer: Peer, channel: string, data: unknown): Promise<Grant | undefined> {
    if (!this.openToAll && peer.user === undefined) throw fanfareError('FANFARE_TOKEN_MISSING')
    const refusal = this.#subscribeRefusal(peer, channel)
    if (refusal) throw refusal
    return this.#askBeforeHearing(peer, channel, data)
  }

  async #askBeforeHearing (peer: Peer, channel: string, data?: unknown): Promise<Grant | undefined> {
    let grant = peer.grants?.get(channel)
    await this.hooks.ask('onSubscribe', { caller: callerOf(peer), channel, ...data !== undefined && { data } }, (context, answer) => {
      mustBeJson(answer)
      grant = hookedGrant(answer, grant)
      return context
    })
    return grant
  }

  /** Why a connection may not do something with a channel that it need not be in, by the rules. */
  refusalOn (connection: Connection, action: Exclude<Action, 'subscribe'>, channel: string): Error | undefined {
    const { peer } = connection
    const subscribed = connection.isIn(channel)
    const deaf = subscribed || this.openToAll || !isRestricted(channel) ? undefined : this.#subscribeRefusal(peer, channel)
    return deaf ?? refusalBy(this.rules.of(channel).allow[action], action, channel, peer, subscribed)
  }

  /** Whether somebody who hears a channel may read its history. */
  mayRead (peer: Peer, channel: string): boolean {
    return !this.#historyRefusal(peer, channel)
  }

  /** Whether hooks want to see who connects. */
  protected get asksBeforeConnecting (): boolean {
    return this.hooks.has('onConnect') || this.hooks.has('onSubscribe')
  }

  /**
   * Asks the hooks about somebody who connects.
   *
   * @returns who that is, as far as they know, and what it hears
   * @throws what `admitted` returns, and what hooks throw
   */
  protected async askBeforeConnecting (peer: Peer, wish: Wish): Promise<Admission> {
    const { channels, headers, says } = wish
    const refusal = channels.map(channelNameRefusal).find((refusal) => refusal !== undefined)
    if (refusal) throw refusal
    let known: Peer = { ...peer, id: peer.id ?? newId() }
    let told: unknown
    await this.hooks.ask('onConnect', { caller: callerOf(known), identified: isIdentified(known), channels, headers, ...says }, (context, { data = told, ...answer }) => {
      mustBeJson({ data, info: answer.info })
      for (const grant of answer.grants?.values() ?? []) mustBeJson(grant)
      known = { ...known, ...answer, guest: known.guest && answer.user === undefined }
      told = data
      return { ...context, caller: callerOf(known), identified: isIdentified(known) }
    })
    const admission = this.admitted(known, wish)
    if (admission instanceof Error) throw admission
    let { peer: admitted } = admission
    for (const channel of admission.channels) {
      admitted = peerWith(admitted, channel, await this.#askBeforeHearing(admitted, channel))
    }
    return { ...admission, peer: admitted, data: told }
  }

  /**
   * What somebody hears who connects, if the rules allow it.
   *
   * @returns that, or FANFARE_TOKEN_MISSING or FANFARE_FORBIDDEN
   */
  protected admitted (peer: Peer, { channels, history, later }: Wish): Admission | Error {
    if (!this.openToAll && peer.user === undefined) return fanfareError('FANFARE_TOKEN_MISSING')
    const granted = channels.length > 0 ? channels : Array.from(peer.grants?.keys() ?? [])
    const heard = granted.length > 0 || later ? granted : [STANDARD_CHANNEL]
    for (const channel of heard) {
      const refusal = channelNameRefusal(channel) ?? this.#subscribeRefusal(peer, channel) ?? (history ? this.#historyRefusal(peer, channel) : undefined)
      if (refusal) return refusal
    }
    return { peer, channels: heard }
  }

  /** Why somebody may not publish, by the rules. */
  protected publishRefusal (connection: Connection, channel: string): Error | undefined {
    // Asked for every message.
    if (!this.openToAll || this.rules.of(channel).allow.publish !== 'everyone') return this.refusalOn(connection, 'publish', channel)
  }

  /** Asks the hooks about a publication, and returns what is to be published. */
  protected async askBeforePublishing (connection: Connection, channel: string, publication: Publication): Promise<Asked> {
    // Hooks see only what satisfies the schema.
    this.mustTake(channel, publication)
    const given = valueOf(publication) as PublicationData
    let asked = publication
    const { skipHistory } = await this.hooks.ask('onPublish', { caller: callerOn(connection), channel, data: given }, (context, { data, skipHistory = context.skipHistory }) => {
      if (data === undefined || data === context.data) return { ...context, skipHistory }
      asked = publicationOf(data)
      this.mustTake(channel, asked)
      return { ...context, data: valueOf(asked) as PublicationData, skipHistory }
    })
    return { publication: asked, extras: skipHistory ? { skipHistory } : undefined }
  }

  #subscribeRefusal (peer: Peer, channel: string): Error | undefined {
    return subscribeRefusal(this.rules.of(channel).allow.subscribe, channel, peer, !this.openToAll)
  }

  // Of somebody who hears the channel.
  #historyRefusal (peer: Peer, channel: string): Error | undefined {
    return refusalBy(this.rules.of(channel).allow.history, 'history', channel, peer, true)
  }
}

function isIdentified ({ user, guest = false }: Peer): boolean {
  return user !== undefined && !guest
}
