import secureParse from 'secure-json-parse'
import { Type, type Static, type TSchema } from 'typebox'
import { dataFields, infoFields, seconds } from '../auth/claims.ts'
import { fanfareError } from '../errors.ts'
import { compile, firstError, optional, record } from '../json-schema.ts'
import type { decisions } from './settings.ts'

const data = { ...dataFields, b64data: optional(Type.String({ pattern: '^[A-Za-z0-9+/]*={0,2}$' })) }

/** What a back end may say to each decision, as in Centrifugo's proxy; what else it says is ignored. */
const results = {
  connect: Type.Object({
    user: optional(Type.String({ maxLength: 255 })),
    expire_at: optional(seconds),
    ...infoFields,
    ...data,
    channels: optional(Type.Array(Type.String())),
    subs: optional(record(Type.Object({ ...infoFields, ...data }))),
    meta: Type.Optional(Type.Unknown())
  }),
  refresh: Type.Object({ expired: optional(Type.Boolean()), expire_at: optional(seconds), ...infoFields }),
  subscribe: Type.Object({ expire_at: optional(seconds), ...infoFields, ...data }),
  publish: Type.Object({ ...data, skip_history: optional(Type.Boolean()) }),
  rpc: Type.Object(data)
} satisfies Record<Decision, TSchema>

type Decision = typeof decisions[number]
/** What a back end has decided; what it left out, or wrote as null, is not there. */
export type Result<Name extends Decision> = { [Field in keyof Static<typeof results[Name]>]: Exclude<Static<typeof results[Name]>[Field], null> }

interface Refusals {
  readonly error?: { readonly code: number, readonly message?: string | null } | null
  readonly disconnect?: { readonly code: number, readonly reason?: string | null } | null
}

const refusals = {
  error: optional(Type.Object({ code: Type.Integer(), message: optional(Type.String()) })),
  disconnect: optional(Type.Object({ code: Type.Integer(), reason: optional(Type.String()) }))
}

const validators = Object.fromEntries(Object.entries(results).map(([name, result]) =>
  [name, compile(Type.Object({ result: optional(result), ...refusals }))]
)) as Record<Decision, ReturnType<typeof compile>>

/**
 * Reads what a back end has answered.
 *
 * @param text JSON: `{"result"}`, `{"error"}` or `{"disconnect"}`
 * @returns what it has decided, or the error with which it refuses
 * @throws if it is none of these
 */
export function replyIn<Name extends Decision> (name: Name, text: string): Result<Name> | Error {
  const reply = secureParse(text) as Refusals & { result?: object | null }
  const validate = validators[name]
  if (!validate(reply)) throw new Error(`Its answer is wrong: ${firstError(validate)}`)
  const refusal = refusalIn(reply)
  if (refusal) return refusal
  if (!reply.result) throw new Error('Its answer is wrong: it has no result, error or disconnect')
  return Object.fromEntries(Object.entries(reply.result).filter(([, value]) => value !== null)) as Result<Name>
}

function refusalIn ({ error, disconnect }: Refusals): Error | undefined {
  if (disconnect) return Object.assign(fanfareError('FANFARE_CALLBACK_REFUSED', disconnect.reason || 'refused'), { closeCode: disconnect.code })
  if (error) return Object.assign(fanfareError('FANFARE_CALLBACK_REFUSED', `${error.message || 'refused'} (${error.code})`), { reply: { code: error.code, message: error.message || 'refused' } })
}
