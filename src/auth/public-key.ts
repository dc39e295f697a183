import { createPublicKey, type KeyObject } from 'node:crypto'

export const RSA_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
export const EC_ALGORITHMS: Readonly<Record<string, string>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }
export const ED25519_ALGORITHMS = ['EdDSA', 'Ed25519']

/**
 * Reads a public key.
 *
 * @returns the key, and the algorithms that tokens of it may be signed with
 * @throws if it is none, or of a kind that tokens are not signed with
 */
export function publicKeyIn (pem: string): { key: KeyObject, algorithms: string[] } {
  const key = createPublicKey(pem)
  const { asymmetricKeyType, asymmetricKeyDetails } = key
  const curve = EC_ALGORITHMS[asymmetricKeyDetails?.namedCurve ?? '']
  if (asymmetricKeyType === 'rsa') return { key, algorithms: RSA_ALGORITHMS }
  if (asymmetricKeyType === 'ed25519') return { key, algorithms: ED25519_ALGORITHMS }
  if (asymmetricKeyType === 'ec' && curve) return { key, algorithms: [curve] }
  throw new Error(`tokens are not signed with a key of type ${asymmetricKeyType}`)
}
