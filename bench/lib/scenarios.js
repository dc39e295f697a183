/** What is measured. A scenario is one or more cases; a case is one job for the load generator. */

const fanout = {
  kind: 'fanout',
  receivers: 1000,
  senders: 1,
  pace: { kind: 'rounds' },
  bytes: 64,
  payload: 'text',
  deflate: false,
  warmUp: 1,
  seconds: 3
}
/** Each sender has so many messages under way: it sends another for each of its own that comes back to it. */
const echoes = (/** @type {number} */ inFlight) => ({ kind: 'echoes', inFlight })
const lockstep = { ...fanout, senders: 10, pace: echoes(1) }
const position = { ...fanout, receivers: 500, senders: 10, bytes: 1024, payload: 'json', pace: { kind: 'clock', perSecond: 200, most: 20 } }
const idle = { kind: 'idle', connections: 15_000, seconds: 30 }
const connects = { kind: 'connects', connections: 10_000, warmUp: 3000 }
const SIZES = [10, 100, 1000, 5000, 15_000]

/** Peers that compress as their users switch it on: with one option. */
const COMPRESSING = ['fanfare', 'ws', 'fastify-websocket', 'socket.io', 'bun']

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {string} title
 * @property {any} job
 * @property {string[]} [peers] only these
 * @property {number} [rounds] at most so many
 * @property {Record<string, string>} [env] for the server
 * @property {boolean} [small] for correctness only
 *
 * @typedef {object} Scenario
 * @property {string} key
 * @property {Case[]} cases
 */

/** @type {Scenario[]} */
export const scenarios = [
  { key: 'a', cases: [{ name: 'a', title: '1,000 receivers, 1 sender in lockstep', job: fanout }] },
  { key: 'b', cases: [{ name: 'b', title: '1,000 receivers, 10 senders in lockstep', job: lockstep }] },
  { key: 'c', cases: [{ name: 'c', title: '1,000 receivers, 100 senders with 10 messages in flight', job: { ...fanout, senders: 100, pace: echoes(10) } }] },
  { key: 'd', cases: [{ name: 'd', title: '1,000 connections in 10 of 100 channels, 200 senders in lockstep', job: { ...lockstep, senders: 200, channels: 100, channelsEach: 10 } }] },
  { key: 'e', cases: [{ name: 'e', title: '1,000 receivers, 200 messages/s by the clock', job: { ...fanout, senders: 10, pace: { kind: 'clock', perSecond: 200, most: 400 } } }] },
  {
    key: 'f',
    cases: [
      { name: 'f', title: '500 receivers, 200 messages/s of 1 KiB JSON, compressed', job: { ...position, deflate: true }, peers: COMPRESSING, env: { COMPRESSION: 'on' } },
      { name: 'f-plain', title: 'the same, not compressed', job: position, peers: COMPRESSING }
    ]
  },
  { key: 'g', cases: [{ name: 'g', title: '15,000 idle connections', job: idle, rounds: 1, env: { PING_INTERVAL: '25' } }] },
  { key: 'h', cases: [{ name: 'h', title: 'connects', job: connects }] },
  { key: 'i', cases: [{ name: 'i', title: '100 receivers, 16 KiB messages, 10 senders in lockstep', job: { ...lockstep, receivers: 100, bytes: 16_384 } }] },
  {
    key: 'j',
    cases: SIZES.map((receivers) => ({
      name: `j${receivers}`,
      title: `${receivers.toLocaleString('en')} receivers, 10 senders in lockstep`,
      job: { ...lockstep, receivers },
      rounds: 1
    }))
  }
]

/**
 * Small and quick, to see that everything works and nothing is lost.
 * @param {Case} whole
 * @returns {Case}
 */
export function small (whole) {
  const { job } = whole
  const senders = Math.min(job.senders, 10)
  const channels = job.channels === undefined ? {} : { channels: 20, channelsEach: 5 }
  return { ...whole, small: true, title: `${whole.title} (made small)`, job: { ...job, ...channels, receivers: 40, senders, warmUp: 0.1, seconds: 0.3 } }
}
