/** The terminal's tables. */

import Table from 'cli-table3'
import { figure, mebibytes, notes, percent } from './words.js'

/**
 * @typedef {[string, (result: any, first: any) => string]} Column
 */

/** @type {Column} */
const NOTE = ['notes', (result) => result.failures.length > 0 ? `WRONG: ${result.failures[0]}` : notes(result).join(', ')]

/** @param {string} metric */
const relative = (metric) => (/** @type {any} */ result, /** @type {any} */ own) =>
  own === undefined || own === result ? '' : `${figure(result[metric] / own[metric])} x`

/** @type {Record<string, Column[]>} */
const columns = {
  fanout: [
    ['CPU us/delivery', (result) => figure(result.cpuPerDelivery)],
    ['to fanfare', relative('cpuPerDelivery')],
    ['deliveries/s', (result) => figure(result.deliveriesPerSecond)],
    ['p50 ms', (result) => figure(result.p50)],
    ['p99 ms', (result) => figure(result.p99)],
    ['p99.9 ms', (result) => figure(result.p999)],
    ['peak MiB', (result) => mebibytes(result.peakMemory)],
    ['server', (result) => percent(result.serverShare)],
    ['load', (result) => percent(result.loaderShare)],
    NOTE
  ],
  idle: [
    ['kB/connection', (result) => figure(result.memoryPerConnection / 1000)],
    ['to fanfare', relative('memoryPerConnection')],
    ['resident MiB', (result) => mebibytes(result.memory)],
    ['CPU while idle', (result) => `${figure(result.idleShare * 100)} %`],
    NOTE
  ],
  connects: [
    ['CPU us/connect', (result) => figure(result.cpuPerConnection)],
    ['to fanfare', relative('cpuPerConnection')],
    ['connects/s', (result) => figure(result.connectsPerSecond)],
    ['server', (result) => percent(result.serverShare)],
    ['load', (result) => percent(result.loaderShare)],
    NOTE
  ]
}

/**
 * @param {Column} column
 * @param {any} result
 * @param {any} own
 */
const cell = (column, result, own) => result.failures.length > 0 && column !== NOTE ? '' : column[1](result, own)

/**
 * @param {import('./scenarios.js').Case} what
 * @param {any[]} results
 */
function caseTable (what, results) {
  const shown = columns[what.job.kind]
  const table = new Table({
    head: ['', ...shown.map(([title]) => title)],
    colAligns: ['left', ...shown.map((column) => /** @type {const} */ (column === NOTE ? 'left' : 'right'))],
    style: { head: [], border: [], compact: true }
  })
  const own = results.find(({ peer, failures }) => peer === 'fanfare' && failures.length === 0)
  for (const result of results) table.push([result.peer, ...shown.map((column) => cell(column, result, own))])
  return `${what.name}: ${what.title}\n${table}\n`
}

/** @param {ReturnType<typeof import('./bars.js').judge>} bars */
function barsTable (bars) {
  const table = new Table({ head: ['', 'must reach', 'measured', 'limit', ''], colAligns: ['left', 'left', 'right', 'right', 'left'], style: { head: [], border: [], compact: true } })
  for (const bar of bars) {
    table.push([bar.case, bar.text, bar.value === undefined ? '' : figure(bar.value), figure(bar.limit), bar.missing ?? (bar.met ? 'met' : 'MISSED')])
  }
  return `Must reach (fanfare's figure, or its ratio to the peer)\n${table}\n`
}

/**
 * @param {import('./scenarios.js').Case[]} cases
 * @param {any[]} results
 * @param {Record<string, { notRun?: string }>} peers
 * @param {ReturnType<typeof import('./bars.js').judge>} bars
 */
export function printTables (cases, results, peers, bars) {
  const parts = cases.map((what) => [what, results.filter((result) => result.case === what.name)])
    .filter(([, rows]) => rows.length > 0).map(([what, rows]) => caseTable(what, rows))
  for (const [name, { notRun }] of Object.entries(peers)) {
    if (notRun !== undefined) parts.push(`${name} was not run: ${notRun}\n`)
  }
  if (bars.length > 0) parts.push(barsTable(bars))
  process.stdout.write('\n' + parts.join('\n'))
}
