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
const jitter = { kind: 'jitter', clients: 2000, perChannel: 20, perSecond: 2, bytes: 64, seconds: 120, connectedSeconds: 15, awaySeconds: 2, patience: 15 }
/** 1,010 connections: senders hear their channel as well. */
const apart = { ...lockstep, receivers: 1010, apart: true }
/** About as many messages are under way in each: what Redis is asked for at once, and not the senders, should be the limit. */
const publishing = (/** @type {number} */ senders, /** @type {number} */ inFlight, /** @type {object} */ channels) =>
  ({ ...fanout, receivers: senders, senders, pace: echoes(inFlight), per: 'publications', ...channels })
/** Rounds of what is so near to a bar that the median of three is decided by the machine's neighbours. */
const NEAR = 5
/** Of those the one whose runs are short, and differ most: medians of seven rounds gave 1.11 to 1.16 where those of 41 gave 1.11 and 1.13. */
const NEAR_AND_SHORT = 15
const SIZES = [10, 100, 1000, 5000, 15_000]

/** Brokers with a memory of their own, and with one that nodes share. */
const BROKERS = ['fanfare', 'fanfare-redis']
const CLUSTER = { peers: ['fanfare-redis'], nodes: 2 }

/** Peers that compress as their users switch it on: with one option. */
const COMPRESSING = ['fanfare', 'ws', 'fastify-websocket', 'socket.io', 'bun']

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {string} title
 * @property {any} job
 * @property {string[]} [peers] only these
 * @property {number} [rounds] how often it is run, if not three times
 * @property {boolean} [once] whatever is asked for
 * @property {Record<string, string>} [env] for the server
 * @property {number} [nodes] of the server, if more than one
 * @property {string} [table] how it is shown, if not like others of its kind
 * @property {object} [smaller] what is less where it is made small
 * @property {boolean} [small] for correctness only
 *
 * @typedef {object} Scenario
 * @property {string} key
 * @property {Case[]} cases
 */

/** @type {Scenario[]} */
export const scenarios = [
  { key: 'a', cases: [{ name: 'a', title: '1,000 receivers, 1 sender in lockstep', job: fanout, rounds: NEAR }] },
  { key: 'b', cases: [{ name: 'b', title: '1,000 receivers, 10 senders in lockstep', job: lockstep }] },
  { key: 'c', cases: [{ name: 'c', title: '1,000 receivers, 100 senders with 10 messages in flight', job: { ...fanout, senders: 100, pace: echoes(10) } }] },
  { key: 'd', cases: [{ name: 'd', title: '1,000 connections in 10 of 100 channels, 200 senders in lockstep', job: { ...lockstep, senders: 200, channels: 100, channelsEach: 10 } }] },
  { key: 'e', cases: [{ name: 'e', title: '1,000 receivers, 200 messages/s by the clock', job: { ...fanout, senders: 10, pace: { kind: 'clock', perSecond: 200, most: 400 } } }] },
  {
    key: 'f',
    cases: [
      { name: 'f', title: '500 receivers, 200 messages/s of 1 KiB JSON, compressed', job: { ...position, deflate: true }, rounds: NEAR, peers: COMPRESSING, env: { COMPRESSION: 'on' } },
      { name: 'f-plain', title: 'the same, not compressed', job: position, rounds: NEAR, peers: COMPRESSING }
    ]
  },
  { key: 'g', cases: [{ name: 'g', title: '15,000 idle connections', job: idle, once: true, env: { PING_INTERVAL: '25' } }] },
  { key: 'h', cases: [{ name: 'h', title: 'connects', job: connects, rounds: NEAR_AND_SHORT }] },
  { key: 'i', cases: [{ name: 'i', title: '100 receivers, 16 KiB messages, 10 senders in lockstep', job: { ...lockstep, receivers: 100, bytes: 16_384 } }] },
  {
    key: 'j',
    cases: SIZES.map((receivers) => ({
      name: `j${receivers}`,
      title: `${receivers.toLocaleString('en')} receivers, 10 senders in lockstep`,
      job: { ...lockstep, receivers },
      once: true
    }))
  },
  {
    key: 'stalled',
    cases: [{
      name: 'stalled',
      title: '1,000 receivers, 10 senders in lockstep, 4 KiB messages; then 100 stop reading',
      job: { ...lockstep, receivers: 900, bytes: 4096, per: 'publications', stalled: { connections: 100, messages: 4000, notice: 10 } },
      table: 'stalled',
      peers: ['fanfare'],
      // Who does not read answers no ping, and would be cut for that.
      env: { PING_INTERVAL: '86400' },
      smaller: { stalled: { connections: 4, messages: 4000, notice: 3 } }
    }]
  },
  {
    key: 'cluster',
    cases: [
      { name: 'cluster-b', title: '2 nodes, 10 senders in lockstep on one, 1,000 receivers on the other', job: apart, table: 'cluster', ...CLUSTER },
      { name: 'cluster-e', title: '2 nodes, 10 senders on one, 1,000 receivers on the other, 200 messages/s by the clock', job: { ...apart, pace: { kind: 'clock', perSecond: 200, most: 400 } }, table: 'cluster', ...CLUSTER }
    ]
  },
  {
    key: 'publish',
    cases: [
      { name: 'publish-1', title: 'publishing into 1 channel, 10 senders with 100 messages in flight', job: publishing(10, 100, {}), table: 'publish', peers: BROKERS, smaller: { receivers: 10 } },
      {
        name: 'publish-1000',
        title: 'publishing into 1,000 channels, a sender in each with 4 messages in flight',
        job: publishing(1000, 4, { channels: 1000, channelsEach: 1 }),
        table: 'publish',
        peers: BROKERS,
        smaller: { receivers: 40, senders: 40, channels: 40, channelsEach: 1 }
      }
    ]
  },
  {
    key: 'jitter',
    cases: [{
      name: 'jitter',
      title: 'clients over 2 nodes that are cut off again and again',
      job: jitter,
      once: true,
      ...CLUSTER,
      // 40 messages a second while a client is away for 2 s are 80: the default of 100 leaves no time for coming back.
      env: { HISTORY_SIZE: '1000' },
      smaller: { clients: 60, seconds: 4, connectedSeconds: 1, awaySeconds: 0.2, patience: 3 }
    }]
  }
]

/**
 * The jitter profile with so many clients or for so long.
 * @param {Case} whole
 * @param {{ clients?: number, minutes?: number }} options
 * @returns {Case}
 */
export function scaled (whole, { clients, minutes }) {
  const { job } = whole
  if (job.kind !== 'jitter') return whole
  const wanted = { ...job, clients: clients ?? job.clients, seconds: minutes === undefined ? job.seconds : minutes * 60 }
  return { ...whole, title: `${wanted.clients.toLocaleString('en')} ${whole.title}, for ${wanted.seconds} s`, job: wanted }
}

/**
 * Small and quick, to see that everything works and nothing is lost.
 * @param {Case} whole
 * @returns {Case}
 */
export function small (whole) {
  const { job, smaller } = whole
  const channels = job.channels === undefined ? {} : { channels: 20, channelsEach: 5 }
  const less = { receivers: 40, senders: Math.min(job.senders, 10), ...channels, warmUp: 0.1, seconds: 0.3, ...smaller }
  return { ...whole, small: true, title: `${whole.title} (made small)`, job: { ...job, ...less } }
}
