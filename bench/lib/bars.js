/** "Must reach": what Fanfare has promised of itself, as ratios to a peer in the same run or as plain limits. */

const CPU = 'cpuPerDelivery'

/**
 * @typedef {object} Bar
 * @property {string} case
 * @property {string} metric
 * @property {string} [of] whose figure it is, if not plain fanfare's
 * @property {string} [peer] to compare with; without one the number itself is the value
 * @property {string} [peerCase] the peer's case, if it is another
 * @property {number} limit
 * @property {boolean} [below] less than the limit, not just as much
 * @property {string} text
 */

/** @returns {Bar} */
const ratio = (/** @type {string} */ what, /** @type {string} */ peer, /** @type {number} */ limit, /** @type {string} */ text) =>
  ({ case: what, metric: CPU, peer, limit, text })

/** @type {Bar[]} */
export const bars = [
  ratio('a', 'ws', 0.9, 'at most 0.9 x ws'),
  ratio('a', 'bun', 1.35, 'at most 1.35 x Bun'),
  ratio('b', 'ws', 1 / 10, 'at most 1/10 of ws'),
  ratio('b', 'socket.io', 1 / 12, 'at most 1/12 of Socket.IO'),
  ratio('b', 'bun', 1.1, 'at most 1.1 x Bun'),
  ratio('c', 'ws', 1 / 30, 'at most 1/30 of ws'),
  ratio('c', 'bun', 0.6, 'at most 0.6 x Bun'),
  ratio('d', 'ws', 1 / 15, 'at most 1/15 of ws'),
  ratio('f', 'ws', 1 / 8, 'at most 1/8 of ws, compressing'),
  ratio('f', 'bun', 0.6, 'at most 0.6 x Bun, compressing'),
  { ...ratio('f', 'fanfare', 1, 'no dearer than uncompressed'), peerCase: 'f-plain' },
  { case: 'g', metric: 'memoryPerConnection', limit: 9000, text: 'at most 9 kB a connection' },
  { case: 'g', metric: 'memoryPerConnection', peer: 'fastify-websocket', limit: 1, below: true, text: 'less than @fastify/websocket' },
  { case: 'g', metric: 'idleShare', limit: 0.03, text: 'heartbeats at most 3 % of a core' },
  { case: 'h', metric: 'cpuPerConnection', peer: 'fastify-websocket', limit: 1.1, text: 'at most 1.1 x @fastify/websocket' },
  { case: 'stalled', metric: 'p99Ratio', limit: 2, text: 'p99 of the others at most 2 x what it was' },
  { case: 'stalled', metric: 'grownMiB', limit: 150, text: 'memory grows by at most 150 MiB' },
  { ...ratio('b', 'fanfare', 1.15, 'the Redis broker at most 1.15 x memory'), of: 'fanfare-redis' },
  { case: 'h', metric: 'cpuPerConnection', of: 'fanfare-tokens', peer: 'fanfare', limit: 1.15, text: 'tokens cost at most 15 % of a connect' },
  { ...ratio('b', 'fanfare', 1.05, 'permissions cost nothing that can be measured'), of: 'fanfare-tokens' },
  { case: 'publish-1', of: 'fanfare-redis', metric: 'commandsPerPublication', limit: 0.1, text: 'at most 1 command to Redis for 10 publications' },
  { case: 'jitter', of: 'fanfare-redis', metric: 'missing', limit: 0, text: 'everything delivered, in order, none twice' },
  ...['b', 'c', 'd'].map((what) => ({ ...ratio(what, 'centrifugo', 1, 'cheaper than centrifugo by its own protocol'), of: 'fanfare-centrifuge', below: true })),
  ...['rocket', 'centrifugo'].flatMap((peer) => ['b', 'c', 'd'].map((what) => ({ ...ratio(what, peer, 1, `cheaper than ${peer}`), below: true })))
]

/**
 * @param {any[]} results
 * @returns {(Bar & { value?: number, met?: boolean, missing?: string })[]} only for cases that were run
 */
export function judge (results) {
  const find = (/** @type {string} */ what, /** @type {string} */ peer) => results.find((result) => result.case === what && result.peer === peer)
  return bars.filter(({ case: what, of = 'fanfare' }) => find(what, of) !== undefined).map((bar) => {
    const { of = 'fanfare' } = bar
    const own = find(bar.case, of)
    const other = bar.peer === undefined ? undefined : find(bar.peerCase ?? bar.case, bar.peer)
    if (own[bar.metric] === undefined || own.failures.length > 0) return { ...bar, missing: `${of} has no good result` }
    if (bar.peer !== undefined && other?.[bar.metric] === undefined) return { ...bar, missing: `${bar.peer} was not run` }
    const value = bar.peer === undefined ? own[bar.metric] : own[bar.metric] / other[bar.metric]
    return { ...bar, value, met: bar.below ? value < bar.limit : value <= bar.limit }
  })
}
