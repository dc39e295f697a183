import { mayBringCookies } from '../auth/token-of-request.ts'
import { endOf, grantOf, identityOf, infoIn } from '../auth/claims.ts'
import { bytesOrJson, valueIn } from '../centrifugo/values.ts'
import { fanfareError } from '../errors.ts'
import type { Caller, Hook, HookContexts } from '../hub/hooks.ts'
import { WrittenJson, type PublicationData } from '../hub/publication.ts'
import type { BackEnd } from './back-end.ts'
import { replyIn, type Result } from './replies.ts'
import type { decisions } from './settings.ts'

/** How decisions are asked for. */
export interface DecisionSettings {
  /** Headers of a client that go along when it connects. */
  readonly callbackHeaders: readonly string[]
  /** What a decision may take, in seconds. */
  readonly hookTimeout: number
}

/** Where callbacks that fail are reported. */
interface Log { warn (facts: object, sentence: string): void }

/** Hooks that let the back end decide. What it refuses, and what it cannot be asked, they throw. */
export class Decisions {
  readonly #backEnd: BackEnd
  readonly #settings: DecisionSettings
  readonly #log: Log

  constructor (backEnd: BackEnd, settings: DecisionSettings, log: Log) {
    this.#backEnd = backEnd
    this.#settings = settings
    this.#log = log
  }

  /** Asks who somebody is; not if a token has said that. */
  readonly connect: Hook<'onConnect'> = async ({ caller, identified, channels, headers, name, version, data }) => {
    if (identified) return
    const asked = { ...clientOf(caller), address: caller.address, name, version, data, ...channels.length > 0 && { channels } }
    const { user, ...result } = await this.#ask('connect', asked, this.#forwarded(headers))
    return { ...identityOf({ ...result, sub: user }), data: valueIn(result.data, result.b64data) }
  }

  /** Asks whether a connection may go on. */
  readonly refresh: Hook<'onRefresh'> = async ({ caller }) => {
    const result = await this.#ask('refresh', { ...clientOf(caller), ...userOf(caller) })
    if (result.expired || result.expire_at === undefined) return
    return { expiresAt: endOf(result) ?? Infinity, info: infoIn(result) }
  }

  /** Asks whether a connection may hear a channel, and until when. */
  readonly subscribe: Hook<'onSubscribe'> = async ({ caller, channel, data }) => {
    return grantOf(await this.#ask('subscribe', { ...clientOf(caller), ...userOf(caller), channel, data }))
  }

  /** Asks whether a connection may publish this, and what is published instead. */
  readonly publish: Hook<'onPublish'> = async ({ caller, channel, data: given }) => {
    const data = Buffer.isBuffer(given) ? { b64data: given.toString('base64') } : { data: given }
    const result = await this.#ask('publish', { ...clientOf(caller), ...userOf(caller), channel, ...data })
    return { ...insteadOf(result, caller), skipHistory: result.skip_history }
  }

  /** Calls a function of the back end. */
  readonly rpc: Hook<'onRpc'> = async ({ caller, method, data }) => {
    const result = await this.#ask('rpc', { ...caller && { ...clientOf(caller), ...userOf(caller) }, method, data })
    return { data: valueIn(result.data, result.b64data) }
  }

  async #ask<Name extends typeof decisions[number]> (name: Name, body: object, headers?: Record<string, string | string[]>): Promise<Result<Name>> {
    let reply: Result<Name> | Error
    try {
      reply = replyIn(name, await this.#backEnd.post(name, JSON.stringify(body), { timeout: this.#settings.hookTimeout * 1000, headers }))
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException
      this.#log.warn({ callback: name, reason: message || code }, 'a callback failed')
      throw fanfareError('FANFARE_CALLBACK_FAILED')
    }
    if (reply instanceof Error) throw reply
    return reply
  }

  #forwarded (headers: HookContexts['onConnect']['headers']): Record<string, string | string[]> {
    const names = this.#settings.callbackHeaders.map((name) => name.toLowerCase())
    const found = names.map((name) => [name, name === 'cookie' && !mayBringCookies(headers) ? undefined : headers[name]] as const)
    return Object.fromEntries(found.filter((entry): entry is [string, string | string[]] => entry[1] !== undefined))
  }
}

// The same names as in Centrifugo's proxy. All protocols carry JSON values, and bytes as base64.
function clientOf ({ id, transport, protocol = 'plain' }: Caller): object {
  return { client: id, transport, protocol, encoding: 'json' }
}

function userOf ({ user, meta }: Caller): object {
  return { user, meta }
}

// A string that is to take the place of a text is one; where all is JSON, it is a string in JSON.
function insteadOf ({ data, b64data }: Result<'publish'>, { protocol }: Caller): { data?: PublicationData } {
  const isPlain = protocol === undefined
  if (b64data) {
    const bytes = Buffer.from(b64data, 'base64')
    return { data: isPlain ? bytes : bytesOrJson(bytes) }
  }
  if (data === undefined) return {}
  return { data: isPlain && typeof data === 'string' ? data : new WrittenJson(data) }
}
