/** Opens many connections, so many at a time. */

import { Connection } from './connection.js'

export const AT_A_TIME = 100

/**
 * @param {number} count
 * @param {(index: number) => Promise<unknown>} open
 */
export async function inTurns (count, open) {
  let next = 0
  const worker = async () => {
    while (next < count) await open(next++)
  }
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, count) }, worker))
}

/**
 * @param {number} count
 * @param {(index: number) => string[]} channelsOf
 * @param {(index: number) => import('./connection.js').Target} targetOf
 */
export async function connectAll (count, channelsOf, targetOf) {
  const connections = Array.from({ length: count }, (_, index) => new Connection(index, channelsOf(index), targetOf(index)))
  await inTurns(count, (index) => connections[index].open())
  return connections
}
