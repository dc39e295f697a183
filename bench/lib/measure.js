/** The order of the runs: each scenario in rounds, in each round each of its cases by every peer once, so that a slow minute of the machine meets all. */

import { runOne } from './run-one.js'
import { DISTURBED, oneLine } from './words.js'

/** Seconds. Longer runs are announced. */
const LONG = 20
const ROUNDS = 3

/**
 * @typedef {object} Run
 * @property {string} case
 * @property {string} peer
 * @property {number} round
 * @property {any} result
 */

/**
 * @param {import('./peers.js').Peer[]} wanted
 * @param {(line: string) => void} say
 */
async function prepareAll (wanted, say) {
  /** @type {Record<string, { version?: string, notRun?: string }>} */
  const found = {}
  for (const peer of wanted) {
    try {
      found[peer.name] = { version: await peer.prepare() }
    } catch (error) {
      found[peer.name] = { notRun: /** @type {Error} */ (error).message }
      say(`${peer.name} is not run: ${found[peer.name].notRun}`)
    }
  }
  return found
}

/**
 * @param {import('./scenarios.js').Case[][]} scenarios the cases of each
 * @param {import('./peers.js').Peer[]} wanted
 * @param {number} [rounds] of each, if not as many as it has by itself
 * @param {(line: string) => void} say
 */
export async function measure (scenarios, wanted, rounds, say) {
  const found = await prepareAll(wanted, say)
  const roundsOf = (/** @type {import('./scenarios.js').Case} */ what) => what.once ? 1 : rounds ?? what.rounds ?? ROUNDS
  const peersOf = (/** @type {import('./scenarios.js').Case} */ what) => wanted
    .filter(({ name }) => found[name].notRun === undefined && (what.peers?.includes(name) ?? true))
    .filter(({ cases }) => cases?.includes(what.name) ?? true)
  const plan = scenarios.flatMap((cases) => Array.from({ length: Math.max(...cases.map(roundsOf)) }, (_, index) => index + 1)
    .flatMap((round) => cases.filter((what) => round <= roundsOf(what))
      .flatMap((what) => peersOf(what).map((peer) => ({ what, round, peer })))))
  /** @type {Run[]} */
  const runs = []
  for (const { what, round, peer } of plan) {
    if (what.job.seconds > LONG) say(`        ${what.name} ${peer.name} ${round} takes ${what.job.seconds} s and some more`)
    let result = await runOne(peer, what)
    if (result.otherShare > DISTURBED && result.failures.length === 0 && !what.small) {
      say(`        ${what.name} ${peer.name} ${round}: ${oneLine(result)}: once more`)
      result = await runOne(peer, what)
    }
    runs.push({ case: what.name, peer: peer.name, round, result })
    say(`[${runs.length}/${plan.length}] ${what.name} ${peer.name} ${round}: ${oneLine(result)}`)
  }
  return { peers: found, runs }
}
