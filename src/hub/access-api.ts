import type { Static, TSchema } from 'typebox'
import type { Broker } from '../brokers/broker.ts'
import { fanfareError } from '../errors.ts'
import { ChannelApi, type PublishExtras } from './channel-api.ts'
import type { ChannelRules } from './channel-rules.ts'
import { newId, type Connection, type Peer } from './connection.ts'
import type { Caller, Hook, HookAnswers, HookContexts, HookName, Hooks, Rpc } from './hooks.ts'
import { isRestricted, refusalBy, subscribeRefusal, type Action } from './permissions.ts'
import { channelNameRefusal, mustBeJson, publicationOf, valueOf, type Publication, type PublicationData } from './publication.ts'
import { hasOwnCode, type Refusal } from './refusal.ts'

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

/** What a hook `onPublish` is told of data whose type is known. */
export type TypedPublish<Data> = Omit<HookContexts['onPublish'], 'data'> & { readonly data: Data }

/** Who may connect, and to what. */
export interface Admission {
  readonly peer: Peer
  readonly channels: readonly string[]
}

/** A publication that hooks have seen, and how they want it published. */
export interface Asked { readonly publication: Publication, readonly extras?: PublishExtras | undefined }

/** Who may do what: permissions by channel rule, and the hooks of the app. */
export class AccessApi extends ChannelApi {
  protected readonly hooks: Hooks
  /** Whether everyone may come: nothing is configured that says who somebody is. */
  protected readonly openToAll: boolean
  readonly #rpcs = new Map<string, Rpc>()

  constructor (broker: Broker, rules: ChannelRules, hooks: Hooks, openToAll: boolean) {
    super(broker, rules)
    this.hooks = hooks
    this.openToAll = openToAll
  }

  /**
   * Adds a hook. Hooks of one name run in the order in which they were added; the first that throws refuses. An error
   * with `statusCode` or `closeCode` is shown to the client, with its message; any other only says that the application
   * refused, and is logged. A hook has HOOK_TIMEOUT; it holds up nobody but the connection that it is about.
   *
   * @param name `onConnect`, `onSubscribe`, `onPublish` and `onRpc` may refuse; `onRefresh` may let go on; `onUnsubscribe`, `onDisconnect`, `onOccupied` and
   * `onVacated` are told what has happened
   * @throws {FanfareError} FANFARE_BAD_HOOK
   * @example
   * app.connections.addHook('onSubscribe', async ({ caller, channel }) => {
   *   if (!await isMember(caller.user, channel)) throw Object.assign(new Error('Not a member'), { statusCode: 403 })
   * })
   */
  addHook<Name extends HookName> (name: Name, hook: Hook<Name>): this {
    this.hooks.add(name, hook)
    return this
  }

  /**
   * Adds a hook `onPublish` for the channels of one rule: `data` is what the rule's schema describes, and has its type.
   *
   * @param rule as it is in the option `channels`; its schema has been satisfied before the hook is called. Channels that a rule
   * before it matches are not its own
   * @throws {FanfareError} FANFARE_NO_RULE
   * @example
   * const orders = { match: 'orders:*', schema: Type.Object({ state: Type.String() }) }
   * await app.register(fanfare, { channels: [orders] })
   * app.connections.onPublish(orders, ({ data }) => { app.log.info(data.state) })
   */
  onPublish<Schema extends TSchema>(rule: { readonly match: string, readonly schema: Schema }, hook: (context: TypedPublish<Static<Schema>>) => HookAnswers['onPublish'] | void | Promise<HookAnswers['onPublish'] | void>): this {
    if (!this.rules.has(rule.match)) throw fanfareError('FANFARE_NO_RULE', rule.match)
    return this.addHook('onPublish', (context) => {
      if (this.rules.of(context.channel).match !== rule.match) return
      const { data } = context
      return hook({ ...context, data: (typeof data === 'string' ? JSON.parse(data) : data) as Static<Schema> })
    })
  }

  /**
   * Adds a function that clients and the server API call by name.
   *
   * @example app.connections.rpc('time', () => Date.now())
   */
  rpc (name: string, method: Rpc): this {
    this.#rpcs.set(name, method)
    return this
  }

  /** Whether anything can be called. */
  get answersCalls (): boolean {
    return this.#rpcs.size > 0 || this.hooks.has('onRpc')
  }

  /**
   * Calls such a function, or the hooks `onRpc` if there is none.
   *
   * @param caller who calls; absent for the server
   * @throws {FanfareError} FANFARE_NO_METHOD, FANFARE_HOOK_TIMEOUT, and what the function throws
   */
  async call (name: string, data: unknown, caller?: Caller): Promise<unknown> {
    const method = this.#rpcs.get(name)
    if (method) return this.hooks.inTime(name, async () => method(data, caller))
    const { answer } = await this.hooks.run('onRpc', { caller, method: name, data }, (context, answer) => ({ ...context, answer }))
    if (!answer) throw fanfareError('FANFARE_NO_METHOD', name)
    return answer.data
  }

  /**
   * Sees whether somebody may do something with a channel who asks over HTTP, and not on a connection: those count as
   * subscribers who may hear the channel.
   *
   * @param data what is said along with it, for hooks
   * @throws {FanfareError} FANFARE_TOKEN_MISSING, FANFARE_FORBIDDEN, and what hooks throw
   */
  async authorize (peer: Peer, action: Action, channel: string, data?: unknown): Promise<void> {
    if (!this.openToAll && peer.user === undefined) throw fanfareError('FANFARE_TOKEN_MISSING')
    const permission = this.rules.of(channel).allow[action]
    const deaf = this.#subscribeRefusal(peer, channel)
    // What is not to be heard by all is not to be seen by all either, whatever a rule for many channels says.
    const mustHear = action === 'subscribe' || (!this.openToAll && isRestricted(channel))
    if (deaf && mustHear) throw deaf
    const refusal = action === 'subscribe' ? undefined : refusalBy(permission, action, channel, peer, !deaf)
    if (refusal) throw refusal
    if (action === 'subscribe' || permission === 'subscribers') await this.#ask('onSubscribe', { caller: callerOf(peer), channel, ...data !== undefined && { data } })
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
    const identified = peer.user !== undefined
    await this.#ask('onConnect', { caller: callerOf(known), identified, channels, headers, ...says }, (context, answer) => {
      mustBeJson(answer.info)
      for (const grant of answer.grants?.values() ?? []) mustBeJson(grant)
      known = { ...known, ...answer }
      return { ...context, caller: callerOf(known), identified: known.user !== undefined }
    })
    const admission = this.admitted(known, wish)
    if (admission instanceof Error) throw admission
    for (const channel of admission.channels) await this.#ask('onSubscribe', { caller: callerOf(known), channel })
    return admission
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
    const { data, skipHistory } = await this.#ask('onPublish', { caller: callerOn(connection), channel, data: given }, (context, answer) => {
      const { data = context.data, skipHistory = context.skipHistory } = answer
      if (data !== context.data) this.mustTake(channel, publicationOf(data))
      return { ...context, data, skipHistory }
    })
    return { publication: data === given ? publication : publicationOf(data), extras: skipHistory ? { skipHistory } : undefined }
  }

  #subscribeRefusal (peer: Peer, channel: string): Error | undefined {
    return subscribeRefusal(this.rules.of(channel).allow.subscribe, channel, peer, !this.openToAll)
  }

  // Of somebody who hears the channel.
  #historyRefusal (peer: Peer, channel: string): Error | undefined {
    return refusalBy(this.rules.of(channel).allow.history, 'history', channel, peer, true)
  }

  #ask: Hooks['run'] = async (name, ...rest) => {
    try {
      return await this.hooks.run(name, ...rest)
    } catch (error) {
      throw this.#shown(name, error as Refusal)
    }
  }

  // What a hook throws by mistake is not for clients to read.
  #shown (name: HookName, error: Refusal): Error {
    if (error.closeCode === undefined && error.statusCode === undefined && !hasOwnCode(error)) {
      this.hooks.report(name, error)
      return fanfareError('FANFARE_REFUSED')
    }
    error.statusCode ??= 403
    return error
  }
}

/** Who is on a connection, for hooks. */
export function callerOn ({ id, peer }: Connection): Caller {
  return callerOf({ ...peer, id })
}

function callerOf ({ id = '', user = '', info, meta, address, transport, protocol }: Peer): Caller {
  return { id, user, info, meta, address, transport, ...protocol !== undefined && { protocol } }
}
