import { scan } from 'secure-json-parse'
import { Type, type Static } from 'typebox'
import { valueIn } from '../centrifugo/values.ts'
import { fanfareError } from '../errors.ts'
import type { Grant, GrantAnswer, Identity } from '../hub/connection.ts'
import { compile, firstError, optional, record } from '../json-schema.ts'

// 31 December 9999, in seconds: what is later is a mistake, such as milliseconds.
export const LAST_SECOND = 253_402_300_799

/** A time in seconds since 1970. */
export const seconds = Type.Integer({ minimum: 0, maximum: LAST_SECOND })
/** What others may see of a user, as JSON or as JSON in base64. */
export const infoFields = { info: Type.Optional(Type.Unknown()), b64info: optional(Type.String()) }
/** What a client is told, likewise. */
export const dataFields = { data: Type.Optional(Type.Unknown()), b64data: optional(Type.String()) }
const common = {
  sub: Type.Optional(Type.String({ maxLength: 255 })),
  exp: Type.Optional(seconds),
  nbf: Type.Optional(seconds),
  iat: Type.Optional(seconds),
  expire_at: optional(seconds),
  ...infoFields
}

/** What a connection token may say; what else it says is ignored. */
const connectionClaims = Type.Object({
  ...common,
  channels: Type.Optional(Type.Array(Type.String())),
  subs: Type.Optional(record(Type.Object({ ...infoFields, ...dataFields }))),
  meta: Type.Optional(Type.Unknown())
})

/** What a subscription token may say. */
const subscriptionClaims = Type.Object({ ...common, ...dataFields, channel: Type.String(), client: Type.Optional(Type.String()) })

type ConnectionClaims = Static<typeof connectionClaims>
export type SubscriptionClaims = Static<typeof subscriptionClaims>

const validators = { connection: compile(connectionClaims), subscription: compile(subscriptionClaims) }

/**
 * Reads the claims of a token whose signature has been verified.
 *
 * @param claims as JSON.parse has read them
 * @throws {FanfareError} FANFARE_TOKEN_INVALID that names the claim that is wrong
 */
export function claimsIn (kind: 'connection', claims: { channel?: unknown }): ConnectionClaims
export function claimsIn (kind: 'subscription', claims: { channel?: unknown }): SubscriptionClaims
export function claimsIn (kind: keyof typeof validators, claims: { channel?: unknown }): object {
  try {
    scan(claims)
  } catch {
    throw fanfareError('FANFARE_TOKEN_INVALID', 'its claims hold a name that no claim may have (__proto__ or constructor)')
  }
  const validate = validators[kind]
  if (!validate(claims)) throw fanfareError('FANFARE_TOKEN_INVALID', `its claim ${firstError(validate)}`)
  if (kind === 'connection' && claims.channel !== undefined) throw fanfareError('FANFARE_TOKEN_INVALID', 'it is for a subscription (it has a channel), and a connection token is needed')
  return claims
}

/** Who a connection token says that somebody is. */
export function identityOf (claims: ConnectionClaims): Identity {
  const { sub = '', channels, subs, meta } = claims
  return { user: sub, info: infoIn(claims), meta, grants: channels || subs ? grantsIn(channels, subs) : undefined, expiresAt: endOf(claims) }
}

function grantsIn (channels: ConnectionClaims['channels'] = [], subs: ConnectionClaims['subs'] = {}): Identity['grants'] {
  const grants = new Map<string, Grant>(channels.map((channel) => [channel, {}]))
  for (const [channel, sub] of Object.entries(subs)) grants.set(channel, grantOf(sub))
  return grants.size > 0 ? grants : undefined
}

/** What a subscription token, or a back end, gives for a channel. */
export function grantOf (claims: Partial<Pick<SubscriptionClaims, 'info' | 'b64info' | 'data' | 'b64data' | 'exp' | 'expire_at'>>): GrantAnswer {
  return { info: infoIn(claims), data: valueIn(claims.data ?? undefined, claims.b64data), expiresAt: endOf(claims) }
}

/** What others may see of the user. */
export function infoIn ({ info, b64info }: { info?: unknown, b64info?: string | null }): unknown {
  return valueIn(info ?? undefined, b64info)
}

/** When something ends, in milliseconds: `expire_at` takes the place of `exp`; 0 is never. */
export function endOf ({ exp, expire_at: expireAt }: { exp?: number, expire_at?: number | null }): number | undefined {
  const end = expireAt ?? exp
  return end ? end * 1000 : undefined
}
