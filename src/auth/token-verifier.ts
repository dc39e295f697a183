import { createDecoder, createVerifier, TokenError, type Algorithm } from 'fast-jwt'
import { errors, exportSPKI, type CryptoKey } from 'jose'
import { fanfareError, type FanfareError } from '../errors.ts'
import type { Grant, Identity } from '../hub/connection.ts'
import { claimsIn, grantOf, identityOf } from './claims.ts'
import { KeySet } from './key-set.ts'
import { EC_ALGORITHMS, ED25519_ALGORITHMS, publicKeyIn, RSA_ALGORITHMS } from './public-key.ts'

// How far the clocks of issuer and server may be apart.
const LEEWAY_MS = 5000
const MAX_TOKEN_BYTES = 8192

const HMAC_ALGORITHMS = ['HS256', 'HS384', 'HS512']
const PUBLIC_KEY_ALGORITHMS = [...RSA_ALGORITHMS, ...Object.values(EC_ALGORITHMS), ...ED25519_ALGORITHMS]
const WRONG_ALGORITHM = TokenError.codes.invalidAlgorithm

const decode = createDecoder({ complete: true })

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

/** What a subscription token says. */
export interface Subscription {
  readonly channel: string
  readonly user: string
  /** Id of the only connection that it is for. */
  readonly client: string | undefined
  readonly grant: Grant
}

/** Gives the claims of a token that the key of the verifier has signed. */
type Verify = (token: string) => object

/** Says who a token says that somebody is, if it may be believed. */
export class TokenVerifier {
  readonly #verifiers: readonly Verify[]
  readonly #verifyByKeySet: ((token: string) => Promise<object>) | undefined

  /** @param onTrouble gets why the keys of the issuer could not be fetched */
  constructor (settings: TokenSettings, onTrouble?: (reason: string) => void) {
    const { tokenHmacSecret, tokenHmacPreviousSecret, tokenPublicKey, tokenJwksUrl } = settings
    // One verifier for each key: none of them ever sees a secret and a public key, and so cannot take one for the other.
    const verifiers = [tokenHmacSecret, tokenHmacPreviousSecret].filter(Boolean).map((secret) => verifierFor(secret, HMAC_ALGORITHMS, settings))
    if (tokenPublicKey) verifiers.push(verifierFor(tokenPublicKey, publicKeyIn(tokenPublicKey).algorithms, settings))
    this.#verifiers = verifiers
    if (tokenJwksUrl) this.#verifyByKeySet = verifierByKeySet(new KeySet(tokenJwksUrl, onTrouble), settings)
  }

  /** Whether there is any key. Without one every token is refused. */
  get hasKeys (): boolean {
    return this.#verifiers.length > 0 || this.#verifyByKeySet !== undefined
  }

  /**
   * Verifies a connection token.
   *
   * @returns a promise only where its key may have to be fetched: for each of many connects one costs more than the rest
   * @throws {FanfareError} FANFARE_TOKEN_INVALID, FANFARE_TOKEN_EXPIRED, FANFARE_KEYS_UNAVAILABLE
   */
  connection (token: string): Identity | Promise<Identity> {
    const identityIn = (claims: object): Identity => withLeeway(identityOf(claimsIn('connection', claims)))
    const claims = this.#claims(token)
    return claims instanceof Promise ? claims.then(identityIn) : identityIn(claims)
  }

  /** Verifies a subscription token; throws as `connection` does. Whom it is for is for others to compare. */
  async subscription (token: string): Promise<Subscription> {
    const claims = claimsIn('subscription', await this.#claims(token))
    return { channel: claims.channel, user: claims.sub ?? '', client: claims.client, grant: grantOf(claims) }
  }

  #claims (token: string): object | Promise<object> {
    if (token.length > MAX_TOKEN_BYTES) throw fanfareError('FANFARE_TOKEN_INVALID', `it has more than ${MAX_TOKEN_BYTES} bytes`)
    let failure: unknown
    for (const verify of this.#verifiers) {
      try {
        return verify(token)
      } catch (error) {
        const { code } = error as TokenError
        if (code !== WRONG_ALGORITHM) failure = error
        if (code !== WRONG_ALGORITHM && code !== TokenError.codes.invalidSignature) throw refusalOf(error as Error, token)
      }
    }
    if (!this.#verifyByKeySet) throw refusalOf(failure as Error ?? wrongAlgorithm(), token)
    return this.#verifyByKeySet(token).catch((error: TokenError) => {
      throw refusalOf(failure && error.code === WRONG_ALGORITHM ? failure as Error : error, token)
    })
  }
}

// Who is let in although the time is over, as clocks differ, stays for as long as they may: ended at once it would only come back.
function withLeeway (identity: Identity): Identity {
  const { expiresAt = Infinity } = identity
  return expiresAt <= Date.now() ? { ...identity, expiresAt: expiresAt + LEEWAY_MS } : identity
}

function verifierFor (key: string, algorithms: readonly string[], { tokenIssuer, tokenAudience }: TokenSettings): Verify {
  return createVerifier({
    key,
    algorithms: algorithms as Algorithm[],
    clockTolerance: LEEWAY_MS,
    ...tokenIssuer && { allowedIss: tokenIssuer },
    ...tokenAudience && { allowedAud: tokenAudience },
    requiredClaims: [...tokenIssuer ? ['iss'] : [], ...tokenAudience ? ['aud'] : []]
  })
}

function verifierByKeySet (keys: KeySet, settings: TokenSettings): (token: string) => Promise<object> {
  const known = new WeakMap<CryptoKey, Verify>()
  return async (token) => {
    const header = headerOf(token)
    if (!PUBLIC_KEY_ALGORITHMS.includes(header.alg)) throw wrongAlgorithm()
    const key = await keys.find(header)
    let verify = known.get(key)
    if (!verify) {
      const pem = await exportSPKI(key)
      publicKeyIn(pem)
      known.set(key, verify = verifierFor(pem, [header.alg], settings))
    }
    return verify(token)
  }
}

function wrongAlgorithm (): TokenError {
  return new TokenError(WRONG_ALGORITHM, 'no key has it')
}

function headerOf (token: string): { alg: string, kid?: string } {
  return (decode(token) as { header: { alg: string, kid?: string } }).header
}

// Says what is wrong with a token, and nothing of what it holds.
function refusalOf (error: Error & { code?: string }, token: string): FanfareError | Error {
  const invalid = (why: string): FanfareError => fanfareError('FANFARE_TOKEN_INVALID', why)
  if (error.code === 'FANFARE_KEYS_UNAVAILABLE') return error
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) return invalid('its issuer has no such key (kid)')
  if (!(error instanceof TokenError)) return invalid('it cannot be verified')
  const [, claim = ''] = /^(?:The|None of) (\w+) claim/.exec(error.message) ?? []
  switch (error.code) {
    case TokenError.codes.expired: return fanfareError('FANFARE_TOKEN_EXPIRED')
    case TokenError.codes.inactive: return invalid('it is not valid yet (nbf)')
    case TokenError.codes.invalidSignature:
    case TokenError.codes.verifyError: return invalid('its signature fits no key')
    case TokenError.codes.invalidCritHeader: return invalid('it demands an extension (crit) that is not known')
    case TokenError.codes.missingSignature:
    case WRONG_ALGORITHM: return invalid(`no key is set for its algorithm${algorithmOf(token)}, or it has no signature`)
    default: return invalid(claimSentences[claim] ?? 'it is not a JWT')
  }
}

function algorithmOf (token: string): string {
  try {
    const { alg } = headerOf(token)
    return /^[\w-]{1,16}$/.test(alg) ? ` ${alg}` : ''
  } catch {
    return ''
  }
}

const claimSentences: Record<string, string> = {
  iss: 'it is from another issuer (iss)',
  aud: 'it is for another audience (aud)',
  nbf: 'its beginning (nbf) is no time',
  exp: 'its expiry (exp) is no time'
}
