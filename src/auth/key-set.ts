import { createLocalJWKSet, errors, type CryptoKey, type JSONWebKeySet, type JWSHeaderParameters } from 'jose'
import { fanfareError } from '../errors.ts'
import { Bucket } from '../hub/limits.ts'

// How often keys are fetched again though nothing is missing, so that those that were withdrawn go.
const REFRESH_MS = 300_000
const FETCH_TIMEOUT_MS = 5000
const MAX_BYTES = 1_048_576
// Tokens with keys that nobody knows cause so many fetches per second at most, a few of them at once.
const FETCHES_PER_SECOND = 0.2
const FETCHES_AT_ONCE = 5

type KeyFinder = ReturnType<typeof createLocalJWKSet>

/**
 * The keys that an issuer publishes (JWKS). They are kept until the issuer names others: while it is away, the known
 * ones go on working. Where they come from is never taken from a token.
 */
export class KeySet {
  readonly #url: string
  readonly #onTrouble: (reason: string) => void
  readonly #fetches = new Bucket(FETCHES_PER_SECOND, FETCHES_AT_ONCE)
  #find: KeyFinder | undefined
  #fetchedAt = -Infinity
  #fetching: Promise<void> | undefined
  #failed = false

  /** @param onTrouble gets why the keys could not be fetched */
  constructor (url: string, onTrouble: (reason: string) => void = () => {}) {
    this.#url = url
    this.#onTrouble = onTrouble
  }

  /**
   * Finds the key of a token by its `kid`, `alg` and type.
   *
   * @throws {FanfareError} FANFARE_KEYS_UNAVAILABLE if it is not known, and the issuer cannot be asked for it
   * @throws {errors.JOSEError} if the issuer has no such key
   */
  readonly find = async (header: JWSHeaderParameters): Promise<CryptoKey> => {
    if (this.#find && performance.now() - this.#fetchedAt > REFRESH_MS) this.#fetch().catch(() => {})
    if (!this.#find) await this.#fetch()
    try {
      return await (this.#find as KeyFinder)(header)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      await this.#fetch()
      return (this.#find as KeyFinder)(header)
    }
  }

  // Whoever needs it meanwhile waits for the same. What was fetched a moment ago is believed.
  async #fetch (): Promise<void> {
    if (!this.#fetching) {
      if (this.#fetches.waitMs > 0) {
        if (this.#failed) throw fanfareError('FANFARE_KEYS_UNAVAILABLE')
        return
      }
      this.#fetches.take()
      this.#fetching = this.#load().finally(() => { this.#fetching = undefined })
    }
    await this.#fetching
  }

  async #load (): Promise<void> {
    this.#fetchedAt = performance.now()
    try {
      const response = await fetch(this.#url, { redirect: 'error', signal: AbortSignal.timeout(FETCH_TIMEOUT_MS), headers: { accept: 'application/json' } })
      if (!response.ok) throw new Error(`HTTP ${response.status}`)
      this.#find = createLocalJWKSet(JSON.parse(await textOf(response)) as JSONWebKeySet)
      this.#failed = false
    } catch (error) {
      this.#failed = true
      const { cause, message } = error as Error
      this.#onTrouble(cause instanceof Error ? cause.message : message)
      throw fanfareError('FANFARE_KEYS_UNAVAILABLE')
    }
  }
}

async function textOf ({ body }: Response): Promise<string> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of body ?? []) {
    size += piece.length
    if (size > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}
