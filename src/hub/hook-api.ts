import type { Static, TSchema } from 'typebox'
import type { Broker } from '../brokers/broker.ts'
import { fanfareError } from '../errors.ts'
import { ChannelApi } from './channel-api.ts'
import type { ChannelRules } from './channel-rules.ts'
import type { Caller, Hook, HookAnswers, HookContexts, HookName, Hooks, Rpc } from './hooks.ts'

/** What a hook `onPublish` is told of data whose type is known. */
export type TypedPublish<Data> = Omit<HookContexts['onPublish'], 'data'> & { readonly data: Data }

/** What the app adds: hooks, which decide who may do what and are told of it, and functions that clients call. */
export class HookApi extends ChannelApi {
  protected readonly hooks: Hooks
  readonly #rpcs = new Map<string, Rpc>()

  constructor (broker: Broker, rules: ChannelRules, hooks: Hooks) {
    super(broker, rules)
    this.hooks = hooks
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
}
