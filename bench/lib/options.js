/** The command line. */

import { parseArgs } from 'node:util'
import { scenarios } from './scenarios.js'
import { peers } from './peers.js'

export const HELP = `Usage: npm run bench -- [options]

  --scenario a,b   only these scenarios (default: all, ${scenarios.map(({ key }) => key).join(' ')})
  --peer ws,bun    only these servers (default: all, ${peers.map(({ name }) => name).join(' ')})
  --rounds N       how often each is run, one after the other in turns; medians are shown (default 3; 5 for a and f, 15 for h)
  --clients N      of the scenario jitter, a multiple of 20 (default 2000)
  --minutes M      that it takes (default 2)
  --smoke          a few seconds: fanfare by all its brokers and protocols and ws, scenarios a to d with few connections, correctness only
  --out FILE       where the JSON goes (default bench/results/latest.json, and only after a full run)
  --no-plots       leave docs/plots/ as it is
  --help
`

/** @param {string[]} given */
const split = (given) => given.flatMap((list) => list.split(',')).filter((name) => name !== '')

/**
 * @param {string} what
 * @param {string[]} given
 * @param {string[]} known
 */
function check (what, given, known) {
  const stranger = given.find((name) => !known.includes(name))
  if (stranger !== undefined) throw new Error(`there is no ${what} ${JSON.stringify(stranger)}; known are ${known.join(', ')}`)
}

/**
 * @param {string} name
 * @param {string | undefined} given
 * @param {(value: number) => boolean} fits
 * @param {string} takes
 */
function number (name, given, fits, takes) {
  const value = given === undefined ? undefined : Number(given)
  if (value !== undefined && !fits(value)) throw new Error(`--${name} takes ${takes}, not ${JSON.stringify(given)}`)
  return value
}

/** @param {string[]} args */
export function readOptions (args) {
  const { values } = parseArgs({
    args,
    options: {
      scenario: { type: 'string', multiple: true, default: [] },
      peer: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      clients: { type: 'string' },
      minutes: { type: 'string' },
      smoke: { type: 'boolean', default: false },
      out: { type: 'string' },
      'no-plots': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false }
    }
  })
  const { smoke } = values
  const rounds = number('rounds', values.rounds, (value) => Number.isInteger(value) && value > 0, 'a whole number from 1')
  const scenario = split(values.scenario)
  const peer = split(values.peer)
  check('scenario', scenario, scenarios.map(({ key }) => key))
  check('peer', peer, peers.map(({ name }) => name))
  return {
    help: values.help,
    smoke,
    rounds: smoke ? 1 : rounds,
    clients: number('clients', values.clients, (value) => value > 0 && value % 20 === 0, 'a multiple of 20'),
    minutes: number('minutes', values.minutes, (value) => value > 0 && value <= 1440, 'a number above 0 and at most 1440'),
    scenarios: scenario.length > 0 ? scenario : smoke ? ['a', 'b', 'c', 'd'] : scenarios.map(({ key }) => key),
    peers: peer.length > 0 ? peer : smoke ? ['fanfare', 'fanfare-redis', 'fanfare-centrifuge', 'ws'] : peers.map(({ name }) => name),
    /** Peers that must be there: named by the user, or the subject of the smoke run. */
    required: peer.length > 0 ? peer : smoke ? ['fanfare', 'ws'] : [],
    /** Whether scenarios were named, and so must be there. */
    named: scenario.length > 0,
    whole: scenario.length === 0 && peer.length === 0 && !smoke,
    out: values.out,
    plots: !values['no-plots']
  }
}
