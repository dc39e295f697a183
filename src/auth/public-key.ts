import { createPublicKey, type KeyObject } from 'node:crypto'

export const RSA_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
export const EC_ALGORITHMS: Readonly<Record<string, string>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }
export const ED25519_ALGORITHMS = ['EdDSA']
// With shorter ones no token can be verified (RFC 7518 section 3.3).
const MIN_RSA_BITS = 2048

/**
 * Reads a public key.
 *
 * @returns the key, and the algorithms that tokens of it may be signed with
 * @throws if it is none, or of a kind that tokens are not signed with
 */
export function publicKeyIn (pem: string): { key: KeyObject, algorithms: string[] } {
  // Of a private one Node would make the public one; whoever reads tokens should not have it.
  if (pem.includes('PRIVATE KEY-----')) throw new Error('the key is private')
  const key = createPublicKey(pem)
  const { asymmetricKeyType, asymmetricKeyDetails } = key
  const curve = EC_ALGORITHMS[asymmetricKeyDetails?.namedCurve ?? '']
  if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS) return { key, algorithms: RSA_ALGORITHMS }
  if (asymmetricKeyType === 'ed25519') return { key, algorithms: ED25519_ALGORITHMS }
  if (asymmetricKeyType === 'ec' && curve) return { key, algorithms: [curve] }
  throw new Error(`tokens are not signed with a key of type ${asymmetricKeyType}`)
}
