import { randomBytes } from 'node:crypto'

/** Makes the id of a new epoch: eight letters and digits, no two alike. */
export function newEpoch (): string {
  return randomBytes(6).toString('base64url')
}
