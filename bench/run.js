#!/usr/bin/env node
/** Runs the benchmark: see README.md. */

import { HELP, readOptions } from './lib/options.js'
import { peers } from './lib/peers.js'
import { scaled, scenarios, small } from './lib/scenarios.js'
import { measure } from './lib/measure.js'
import { summarize } from './lib/summary.js'
import { judge } from './lib/bars.js'
import { machine } from './lib/machine.js'
import { printTables } from './lib/tables.js'
import { save } from './lib/save.js'
import { drawPlots } from './lib/plots.js'

const say = (/** @type {string} */ line) => process.stderr.write(line + '\n')

/** @param {ReturnType<typeof readOptions>} options */
async function main (options) {
  const chosen = scenarios.filter(({ key }) => options.scenarios.includes(key))
    .map(({ cases }) => cases.map((whole) => scaled(options.smoke ? small(whole) : whole, options)))
  const cases = chosen.flat()
  const date = new Date()
  const wanted = peers.filter(({ name }) => options.peers.includes(name) && cases.some((what) => what.peers?.includes(name) ?? true))
  const measured = await measure(chosen, wanted, options.rounds, say)
  const results = summarize(measured.runs)
  const bars = options.smoke ? [] : judge(results)
  printTables(cases, measured, results, bars)
  const report = { date: date.toISOString(), machine: machine(), peers: measured.peers, results, bars, runs: measured.runs }
  save(report, options, say)
  if (options.whole && options.plots) drawPlots(report, say)
  const missing = options.required.some((name) => measured.peers[name]?.notRun !== undefined) ||
    (options.named && cases.some(({ name }) => !results.some((result) => result.case === name)))
  return missing || results.some(({ failures }) => failures.length > 0) ? 1 : 0
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options.help) process.stdout.write(HELP)
  else process.exitCode = await main(options)
} catch (error) {
  say(`bench: ${/** @type {Error} */ (error).message}`)
  process.exitCode = 1
}
