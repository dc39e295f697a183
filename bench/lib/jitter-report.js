/** The report of the jitter profile. */

import { emptyTable } from './empty-table.js'
import { figure, mebibytes, notes, percent } from './words.js'

/**
 * As published in https://github.com/anycable/nodejs-websocket-bench (2026): every connection reset about every 15 s and away
 * for about 2 s, as here, but with 10,000 clients that all hear one publisher's 2 messages a second, on other machines.
 */
const PUBLISHED = [
  { name: 'Socket.IO', delivered: '84.6 %', p99: '1.07' },
  { name: 'Socket.IO with recovery', delivered: '100 %', p99: '4.58' },
  { name: 'AnyCable', delivered: '100 %', p99: '6.14' }
]

const seconds = (/** @type {number} */ milliseconds) => figure(milliseconds / 1000)
const count = (/** @type {number} */ number) => number.toLocaleString('en')
/** Nothing is rounded up to all. */
const share = (/** @type {any} */ { deliveredShare, missing }) => missing === 0 ? '100 %' : `${(Math.floor(deliveredShare * 1e6) / 1e4).toFixed(4)} %`

/** @param {any} result */
function details (result) {
  const { commandsPerPublication: commands } = result
  return [
    `${count(result.cuts)} cuts, ${count(result.returns)} returns, ${count(result.recoveries)} recoveries, ${count(result.insufficient)} closed with 3010, ` +
      `${count(result.closed)} closed otherwise${result.closed > 0 ? ` (${result.closings.join('; ')})` : ''}, ${count(result.refused)} refused`,
    `${count(result.sent)} messages, ${count(result.saidAgain)} said again after a cut, ${count(result.unpublished)} reached nobody; ${figure(result.deliveriesPerSecond)} deliveries/s`,
    `delay where the sender was connected: p50 ${seconds(result.unqueuedP50)} s, p99 ${seconds(result.unqueuedP99)} s; ` +
      `where the receiver was as well: p50 ${figure(result.liveP50)} ms, p99 ${figure(result.liveP99)} ms`,
    `CPU us/delivery: nodes ${figure(result.cpuPerDelivery)}${result.redisPerDelivery === undefined ? '' : `, Redis ${figure(result.redisPerDelivery)}`}` +
      `${commands === undefined ? '' : `; commands/publication ${figure(commands)}`}; peak ${mebibytes(result.peakMemory)} MiB a node`,
    [`server ${percent(result.serverShare)}`, ...result.redisShare === undefined ? [] : [`Redis ${percent(result.redisShare)}`], `load ${percent(result.loaderShare)}`, ...notes(result)].join(', '),
    ...result.failures.map((/** @type {string} */ failure) => `WRONG: ${failure}`)
  ]
}

/**
 * @param {import('./scenarios.js').Case} what
 * @param {import('./measure.js').Run[]} runs
 */
export function jitterReport (what, runs) {
  const measured = runs.filter(({ result }) => result.due !== undefined)
  const head = ['', 'delivered', 'of', 'missing', 'twice', 'out of order', 'delay p50 s', 'p99 s', 'max s']
  const table = emptyTable(head, head.map((title) => title === '' ? 'left' : 'right'))
  for (const { peer, result } of measured) {
    table.push([peer, share(result), count(result.due), count(result.missing), count(result.doubled), count(result.disordered),
      seconds(result.p50), seconds(result.p99), seconds(result.longest)])
  }
  for (const { name, delivered, p99 } of PUBLISHED) table.push([`${name}, as published`, delivered, '', '', '', '', '', p99, ''])
  const failed = runs.filter(({ result }) => result.due === undefined).map(({ peer, result }) => `${peer}: WRONG: ${result.failures.join('; ')}`)
  return [`${what.name}: ${what.title}`, String(table), ...measured.flatMap(({ result }) => details(result)), ...failed, ''].join('\n')
}
