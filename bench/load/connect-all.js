/** Opens many connections, so many at a time. */

import { Connection } from './connection.js'

export const AT_A_TIME = 100

/**
 * @param {number} count
 * @param {(index: number) => string[]} channelsOf
 * @param {import('./connection.js').Target} target
 */
export async function connectAll (count, channelsOf, target) {
  const connections = Array.from({ length: count }, (_, index) => new Connection(index, channelsOf(index), target))
  let next = 0
  const worker = async () => {
    while (next < count) await connections[next++].open()
  }
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, count) }, worker))
  return connections
}
