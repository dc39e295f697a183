/** What two readings of a fan-out say. */

/** A server that handles this share of what comes by the clock has kept up. */
const KEPT_UP = 0.98

/**
 * @typedef {object} Reading
 * @property {import('./usage.js').Usage} usage
 * @property {number} delivered
 * @property {number} completed
 * @property {number} bytes
 * @property {number} reads
 */

/**
 * CPU time for each delivery or publication: of all nodes, of Redis, and, where senders and receivers are apart, of each node.
 * @param {import('./fanout.js').FanoutJob} job
 * @param {ReturnType<import('./usage.js').Usage['since']>} used
 * @param {number} delivered
 * @param {number} completed
 */
function costs ({ per, apart }, { server, nodes, redis }, delivered, completed) {
  if (per === 'publications') return { cpuPerPublication: server / completed, redisPerPublication: redis === undefined ? undefined : redis / completed }
  return {
    cpuPerDelivery: server / delivered,
    redisPerDelivery: redis === undefined ? undefined : redis / delivered,
    ...apart ? { publishingPerDelivery: nodes[0] / delivered, receivingPerDelivery: nodes[1] / delivered } : {}
  }
}

/**
 * @param {import('./fanout.js').FanoutJob} job
 * @param {Reading} start
 * @param {Reading} end
 */
export function resultOf (job, start, end) {
  const used = end.usage.since(start.usage)
  const delivered = end.delivered - start.delivered
  const completed = end.completed - start.completed
  const messagesPerSecond = completed / used.elapsed * 1e6
  return {
    ...costs(job, used, delivered, completed),
    deliveriesPerSecond: delivered / used.elapsed * 1e6,
    messagesPerSecond,
    behind: job.pace.kind === 'clock' && messagesPerSecond < job.pace.perSecond * KEPT_UP,
    bytesPerDelivery: (end.bytes - start.bytes) / delivered,
    deliveriesPerRead: delivered / (end.reads - start.reads),
    ...used.shares,
    peakMemory: used.peakMemory,
    delivered
  }
}
