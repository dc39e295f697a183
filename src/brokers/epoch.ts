import { randomBytes } from 'node:crypto'

/** Makes the id of a new epoch: eight characters of base64url, by chance. */
export function newEpoch (): string {
  return randomBytes(6).toString('base64url')
}
