/** Numbers as people read them. */

import { LOAD_CORE, REDIS_CORE } from './cores.js'

/** Of a core: where other processes used more during a run, it is said, and the run is repeated once. */
export const DISTURBED = 0.15

/**
 * Three significant digits.
 * @param {number} value
 */
export function figure (value) {
  if (value === 0 || !Number.isFinite(value)) return String(value)
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en')
  return value.toPrecision(3)
}

/** @param {number} bytes */
export const mebibytes = (bytes) => figure(bytes / 2 ** 20)

/** @param {number} share */
export const percent = (share) => `${Math.round(share * 100)} %`

/**
 * What to know about the circumstances of a run.
 * @param {any} result
 * @returns {string[]}
 */
export function notes (result) {
  const found = []
  const beside = REDIS_CORE === LOAD_CORE ? result.redisShare ?? 0 : 0
  if (result.loaderShare + beside > 0.95 && result.serverShare < 0.95) found.push(`the load${beside > 0.05 ? ' and Redis on its core' : ''} was the bottleneck`)
  if (result.otherShare > DISTURBED) found.push(`others used ${percent(result.otherShare)} of a core`)
  if (result.behind) found.push(`kept up with ${figure(result.messagesPerSecond)} messages/s only`)
  return found
}

/** @param {any} result */
export function oneLine (result) {
  if (result.failures.length > 0) return `WRONG: ${result.failures.join('; ')}`
  const parts = []
  if (result.deliveredShare !== undefined) {
    parts.push(`${percent(result.deliveredShare)} of ${result.due.toLocaleString('en')} delivered`, `p99 ${figure(result.p99 / 1000)} s`, `${result.recoveries} recoveries`)
  } else if (result.cpuPerDelivery !== undefined) {
    parts.push(`${figure(result.cpuPerDelivery)} us a delivery`, `${figure(result.deliveriesPerSecond)} deliveries/s`, `p99 ${figure(result.p99)} ms`)
  }
  if (result.cpuPerPublication !== undefined) {
    parts.push(`${figure(result.cpuPerPublication)} us a publication`, `${figure(result.messagesPerSecond)} publications/s`)
  }
  if (result.p99Ratio !== undefined) parts.push(`p99 ${figure(result.p99)} ms, and ${figure(result.p99Stalled)} ms while some did not read`, `grown by ${figure(result.grownMiB)} MiB`)
  if (result.commandsPerPublication !== undefined) parts.push(`${figure(result.commandsPerPublication)} commands a publication`)
  if (result.memoryPerConnection !== undefined) {
    parts.push(`${figure(result.memoryPerConnection / 1000)} kB a connection`, `idle ${figure(result.idleShare * 100)} % of a core`)
  }
  if (result.cpuPerConnection !== undefined) {
    parts.push(`${figure(result.cpuPerConnection)} us a connection`, `${figure(result.connectsPerSecond)} connects/s`)
  }
  if (result.serverShare !== undefined) parts.push(`server ${percent(result.serverShare)}`, ...result.redisShare === undefined ? [] : [`Redis ${percent(result.redisShare)}`], `load ${percent(result.loaderShare)}`)
  return [...parts, ...notes(result)].join(', ')
}
