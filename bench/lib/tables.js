/** The terminal's tables. */

import { NOTE, cell, columnsOf } from './columns.js'
import { emptyTable } from './empty-table.js'
import { jitterReport } from './jitter-report.js'
import { figure } from './words.js'

/**
 * @param {import('./scenarios.js').Case} what
 * @param {any[]} results
 */
function caseTable (what, results) {
  const own = results.find(({ peer, failures }) => peer === 'fanfare' && failures.length === 0)
  const shown = columnsOf(what, results, own)
  const table = emptyTable(['', ...shown.map(([title]) => title)], ['left', ...shown.map((column) => /** @type {const} */ (column === NOTE ? 'left' : 'right'))])
  for (const result of results) table.push([result.peer, ...shown.map((column) => cell(column, result, own))])
  return `${what.name}: ${what.title}\n${table}\n`
}

/** @param {ReturnType<typeof import('./bars.js').judge>} bars */
function barsTable (bars) {
  const table = emptyTable(['', 'must reach', 'measured', 'limit', ''], ['left', 'left', 'right', 'right', 'left'])
  for (const bar of bars) {
    table.push([bar.case, bar.text, bar.value === undefined ? '' : figure(bar.value), figure(bar.limit), bar.missing ?? (bar.met ? 'met' : 'MISSED')])
  }
  return `Must reach (fanfare's figure, or its ratio to the peer)\n${table}\n`
}

/**
 * @param {import('./scenarios.js').Case[]} cases
 * @param {Awaited<ReturnType<typeof import('./measure.js').measure>>} measured
 * @param {any[]} results
 * @param {ReturnType<typeof import('./bars.js').judge>} bars
 */
export function printTables (cases, { peers, runs }, results, bars) {
  const parts = cases.map((what) => /** @type {const} */ ([what, results.filter((result) => result.case === what.name)]))
    .filter(([, rows]) => rows.length > 0)
    // What was lost there is a result, and shown as such.
    .map(([what, rows]) => what.job.kind === 'jitter' ? jitterReport(what, runs.filter((run) => run.case === what.name)) : caseTable(what, rows))
  for (const [name, { notRun }] of Object.entries(peers)) {
    if (notRun === undefined) continue
    const lost = cases.filter(({ peers: only }) => only?.length === 1 && only[0] === name).map((what) => what.name)
    parts.push(`${name} was not run${lost.length === 0 ? '' : `, nor therefore ${lost.join(', ')}`}: ${notRun}\n`)
  }
  if (bars.length > 0) parts.push(barsTable(bars))
  process.stdout.write('\n' + parts.join('\n'))
}
