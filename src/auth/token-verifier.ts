import type { KeyObject } from 'node:crypto'
import { decodeProtectedHeader, errors, jwtVerify, type JWTVerifyGetKey, type JWTVerifyOptions } from 'jose'
import { fanfareError, type FanfareError } from '../errors.ts'
import type { Grant, Identity } from '../hub/connection.ts'
import { claimsIn, grantOf, identityOf } from './claims.ts'
import { KeySet } from './key-set.ts'
import { EC_ALGORITHMS, ED25519_ALGORITHMS, publicKeyIn, RSA_ALGORITHMS } from './public-key.ts'

// How far the clocks of issuer and server may be apart.
const LEEWAY_SECONDS = 5
const MAX_TOKEN_BYTES = 8192

const HMAC_ALGORITHMS = ['HS256', 'HS384', 'HS512']

/** How tokens are verified; empty where it is not set. */
export interface TokenSettings {
  readonly tokenHmacSecret: string
  /** Tokens of before the last rotation are signed with it. */
  readonly tokenHmacPreviousSecret: string
  /** In PEM. */
  readonly tokenPublicKey: string
  readonly tokenJwksUrl: string
  readonly tokenIssuer: string
  readonly tokenAudience: string
}

interface Key { readonly algorithms: string[], readonly key: Uint8Array | KeyObject | JWTVerifyGetKey }

/** Says who a token says that somebody is, if it may be believed. */
export class TokenVerifier {
  readonly #keys: readonly Key[]
  readonly #options: JWTVerifyOptions

  constructor (settings: TokenSettings) {
    this.#keys = keysOf(settings)
    this.#options = {
      clockTolerance: LEEWAY_SECONDS,
      ...settings.tokenIssuer && { issuer: settings.tokenIssuer },
      ...settings.tokenAudience && { audience: settings.tokenAudience }
    }
  }

  /** Whether there is any key. Without one every token is refused. */
  get hasKeys (): boolean {
    return this.#keys.length > 0
  }

  /**
   * Verifies a connection token.
   *
   * @throws {FanfareError} FANFARE_TOKEN_INVALID, FANFARE_TOKEN_EXPIRED, FANFARE_KEYS_UNAVAILABLE
   */
  async connection (token: string): Promise<Identity> {
    return identityOf(claimsIn('connection', await this.#payload(token)))
  }

  /**
   * Verifies a subscription token; throws as `connection` does.
   *
   * @param user whose connection it is for
   */
  async subscription (token: string, user: string): Promise<{ channel: string, grant: Grant }> {
    const claims = claimsIn('subscription', await this.#payload(token))
    if ((claims.sub ?? '') !== user) throw fanfareError('FANFARE_TOKEN_INVALID', 'it is for another user (sub) than the connection')
    return { channel: claims.channel, grant: grantOf(claims) }
  }

  async #payload (token: string): Promise<string> {
    if (token.length > MAX_TOKEN_BYTES) throw fanfareError('FANFARE_TOKEN_INVALID', `it has more than ${MAX_TOKEN_BYTES} bytes`)
    const alg = algorithmOf(token)
    const keys = this.#keys.filter(({ algorithms }) => algorithms.includes(alg))
    let failure: unknown = new errors.JOSEAlgNotAllowed('no key has it')
    for (const { key, algorithms } of keys) {
      try {
        // jose reads claims with JSON.parse: what was signed is read again by claimsIn.
        await jwtVerify(token, key as KeyObject, { ...this.#options, algorithms })
        return Buffer.from(token.split('.')[1] as string, 'base64url').toString()
      } catch (error) {
        failure = error
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break
      }
    }
    throw refusalOf(failure as Error, alg)
  }
}

function keysOf ({ tokenHmacSecret, tokenHmacPreviousSecret, tokenPublicKey, tokenJwksUrl }: TokenSettings): Key[] {
  const keys: Key[] = [tokenHmacSecret, tokenHmacPreviousSecret].filter(Boolean).map((secret) => ({ algorithms: HMAC_ALGORITHMS, key: Buffer.from(secret) }))
  if (tokenPublicKey) keys.push(publicKeyIn(tokenPublicKey))
  if (tokenJwksUrl) keys.push({ algorithms: [...RSA_ALGORITHMS, ...Object.values(EC_ALGORITHMS), ...ED25519_ALGORITHMS], key: new KeySet(tokenJwksUrl).find })
  return keys
}

function algorithmOf (token: string): string {
  try {
    return String(decodeProtectedHeader(token).alg)
  } catch {
    throw fanfareError('FANFARE_TOKEN_INVALID', 'it is not a JWT')
  }
}

// Says what is wrong with a token, and nothing of what it holds.
function refusalOf (error: Error, alg: string): FanfareError | Error {
  const invalid = (why: string): FanfareError => fanfareError('FANFARE_TOKEN_INVALID', why)
  if (error instanceof errors.JWTExpired) return fanfareError('FANFARE_TOKEN_EXPIRED')
  if (error instanceof errors.JWTClaimValidationFailed) return invalid(claimSentences[error.claim] ?? `its claim ${error.claim} is wrong`)
  if (error instanceof errors.JOSEAlgNotAllowed) return invalid(`no key is set for its algorithm${/^[\w-]{1,16}$/.test(alg) ? ` ${alg}` : ''}`)
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid('its signature fits no key')
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) return invalid('its issuer has no such key (kid)')
  if (error instanceof errors.JOSEError) return invalid('it is not a JWT that can be read')
  return 'code' in error ? error : invalid('it cannot be verified')
}

const claimSentences: Record<string, string> = {
  iss: 'it is from another issuer (iss)',
  aud: 'it is for another audience (aud)',
  nbf: 'it is not valid yet (nbf), or that is no time',
  exp: 'its expiry (exp) is no time',
  iat: 'its time of issue (iat) is no time'
}
