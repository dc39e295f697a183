import { errorOf, fanfareError } from '../errors.ts'
import type { Connection, GrantAnswer, Identity, Peer } from './connection.ts'
import type { PublicationData } from './publication.ts'
import { hasOwnCode, isCloseCode, type Refusal } from './refusal.ts'

/** Who does something, as hooks see it. */
export interface Caller {
  /** Id of the connection. */
  readonly id: string
  /** Empty where no user is known. */
  readonly user: string
  /** What the token says of the user for others to see. */
  readonly info?: unknown
  /** What the token says of the user for the server alone. */
  readonly meta?: unknown
  readonly address: string
  /** How it is connected, if that is known. */
  readonly transport?: Peer['transport']
  /** What it speaks; `plain` by default. */
  readonly protocol?: string
}

/** Who is on a connection, for hooks. */
export function callerOn ({ id, peer }: Connection): Caller {
  return callerOf({ ...peer, id })
}

/** Who somebody is, for hooks. */
export function callerOf ({ id = '', user = '', info, meta, address, transport, protocol }: Peer): Caller {
  return { id, user, info, meta, address, transport, ...protocol !== undefined && { protocol } }
}

/** What each hook is told. */
export interface HookContexts {
  /**
   * Before a connection is accepted. `channels` is what it asks for, `headers` are those of its request; `identified` is
   * whether a token, or a hook before, has said who it is. What the client says of itself comes with the Centrifuge protocol only.
   */
  onConnect: { readonly caller: Caller, readonly identified: boolean, readonly channels: readonly string[], readonly headers: Readonly<Record<string, string | string[] | undefined>>, readonly name?: string, readonly version?: string, readonly data?: unknown }
  /** Shortly before a connection ends because its time is over: `expiresAt`, by the wall clock in milliseconds. */
  onRefresh: { readonly caller: Caller, readonly expiresAt: number }
  /** Before a connection hears a channel; `data` is what a client of the Centrifuge protocol says along with it. */
  onSubscribe: { readonly caller: Caller, readonly channel: string, readonly data?: unknown }
  /** Before what a connection sent is published. `data` is a string, a Buffer for binary, or what JSON says. */
  onPublish: { readonly caller: Caller, readonly channel: string, readonly data: PublicationData, readonly skipHistory?: boolean | undefined }
  /** When somebody calls a function that there is not; `answer` is what hooks before have answered. */
  onRpc: { readonly caller?: Caller | undefined, readonly method: string, readonly data: unknown, readonly answer?: HookAnswers['onRpc'] }
  /** After a connection has left a channel, also by being closed. */
  onUnsubscribe: { readonly caller: Caller, readonly channel: string }
  /** After a connection was closed, with its close code. */
  onDisconnect: { readonly caller: Caller, readonly code: number, readonly seconds: number }
  /** After the first connection of this node has come to a channel. */
  onOccupied: { readonly channel: string }
  /** After the last one has left it. */
  onVacated: { readonly channel: string }
}
export type HookName = keyof HookContexts

/** What a hook may answer. */
export interface HookAnswers {
  /** Who it is, if the hook knows: it takes the place of what is known, field by field. */
  onConnect: Identity & {
    /** What a client of the Centrifuge protocol is told when it is connected. */
    readonly data?: unknown
  }
  /** When it ends now, if that is later, and what others may see of the user. */
  onRefresh: Pick<Identity, 'expiresAt' | 'info'>
  /** What others in the channel may see of the user, what a client of the Centrifuge protocol is told, and when it ends. */
  onSubscribe: GrantAnswer
  /** What is published instead, and whether the history does not keep it. */
  onPublish: { readonly data?: PublicationData, readonly skipHistory?: boolean | undefined }
  /** What the function returns. */
  onRpc: { readonly data: unknown }
  onUnsubscribe: never
  onDisconnect: never
  onOccupied: never
  onVacated: never
}

/** A hook: it may answer, or throw to refuse; what it throws may have a `code`, a `statusCode` and a `closeCode`. */
export type Hook<Name extends HookName> = (context: HookContexts[Name]) => HookAnswers[Name] | void | Promise<HookAnswers[Name] | void>

/** A function that clients and the server API call by name. `caller` is absent when the server API calls. */
export type Rpc = (data: unknown, caller?: Caller) => unknown

const hookNames = ['onConnect', 'onRefresh', 'onSubscribe', 'onPublish', 'onRpc', 'onUnsubscribe', 'onDisconnect', 'onOccupied', 'onVacated'] as const satisfies readonly HookName[]

/** Where hooks that fail when nobody waits for them are reported. */
interface Log { warn (facts: object, sentence: string): void }

/** The hooks of an app: what users add to decide who may do what, and to know of it. */
export class Hooks {
  readonly #timeoutMs: number
  readonly #log: Log
  readonly #hooks = new Map<HookName, Hook<never>[]>()

  /** @param timeout what a hook may take, in seconds */
  constructor (timeout: number, log: Log) {
    this.#timeoutMs = timeout * 1000
    this.#log = log
  }

  add<Name extends HookName> (name: Name, hook: Hook<Name>): void {
    if (!hookNames.includes(name) || typeof hook !== 'function') throw fanfareError('FANFARE_BAD_HOOK', name, hookNames.join(', '))
    this.#hooks.set(name, [...this.#hooks.get(name) ?? [], hook as unknown as Hook<never>])
  }

  has (name: HookName): boolean {
    return this.#hooks.has(name)
  }

  /**
   * Runs the hooks of a name, in the order in which they were added; each sees what those before it answered.
   *
   * @param merge makes the next context of an answer
   * @returns the last context
   * @throws what the first of them throws, or FANFARE_HOOK_TIMEOUT
   */
  async run<Name extends HookName> (name: Name, context: HookContexts[Name], merge?: (context: HookContexts[Name], answer: HookAnswers[Name]) => HookContexts[Name]): Promise<HookContexts[Name]> {
    let current = context
    for (const hook of this.#hooks.get(name) ?? []) {
      const answer = await this.inTime(name, async () => (hook as unknown as Hook<Name>)(current))
      if (answer && merge) current = merge(current, answer)
    }
    return current
  }

  /** Runs hooks as `run` does, for a client: what they throw by mistake is not for it to read. */
  ask: Hooks['run'] = async (name, ...rest) => {
    try {
      return await this.run(name, ...rest)
    } catch (error) {
      throw this.#shown(name, error as Refusal)
    }
  }

  /** Tells the hooks of a name what has happened. Nobody waits, and nothing can be refused any more. */
  tell<Name extends HookName> (name: Name, context: () => HookContexts[Name]): void {
    if (!this.has(name)) return
    this.run(name, context()).catch((error: Error) => this.report(name, error))
  }

  /** Notes that a hook failed by mistake. */
  report (name: HookName, error: Error): void {
    this.#log.warn({ hook: name, err: error }, 'a hook failed')
  }

  #shown (name: HookName, error: Refusal): Error {
    if (error.closeCode === undefined && error.statusCode === undefined && !hasOwnCode(error)) {
      this.report(name, error)
      return fanfareError('FANFARE_REFUSED')
    }
    error.statusCode ??= 403
    return error
  }

  /** Runs what the user has written, for as long as it may take. Whatever that throws, what is thrown here is an error. */
  async inTime<Result> (name: string, work: () => Promise<Result>): Promise<Result> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(fanfareError('FANFARE_HOOK_TIMEOUT', name, this.#timeoutMs / 1000)), this.#timeoutMs).unref()
    })
    try {
      return await Promise.race([work(), late])
    } catch (thrown) {
      const error = errorOf(thrown) as Refusal
      if (isCloseCode(error.code)) error.closeCode ??= error.code
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}
