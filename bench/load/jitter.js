/**
 * Clients that talk in groups and are cut off again and again. Each connection is reset without a word, as when a network
 * goes away: what lay in its buffers is gone. The client comes back after some time, with its position. What it had to say
 * meanwhile it says then; the delay of a message counts from when it was due, and all that clients have said must arrive.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { inTurns } from './connect-all.js'
import { JitterClient } from './jitter-client.js'
import { Ledger } from './jitter-ledger.js'
import { clock } from './pacing.js'
import { countCommands } from './redis-commands.js'
import { Usage } from './usage.js'

const POLL = 20
/** How long to wait for what should not come: doubled messages. */
const AFTERMATH = 300
const CLOSINGS_KEPT = 5

/**
 * @typedef {object} JitterJob
 * @property {'jitter'} kind
 * @property {number} clients
 * @property {number} perChannel so many of them are in each channel
 * @property {number} perSecond messages of each client
 * @property {number} bytes of a message
 * @property {number} seconds
 * @property {number} connectedSeconds on average, from 2/3 to 4/3 of it
 * @property {number} awaySeconds
 * @property {number} patience for so many seconds nothing may arrive where something is missing
 */

/**
 * Waits until everything has arrived, as long as something does.
 * @param {JitterJob} job
 * @param {Ledger} ledger
 */
async function settled ({ patience }, ledger) {
  let seen = -1
  for (let waited = 0; ledger.delivered < ledger.due && waited < patience * 1000; waited += POLL) {
    if (ledger.delivered > seen) waited = 0
    seen = ledger.delivered
    await sleep(POLL)
  }
}

/**
 * @param {JitterJob} job
 * @param {Ledger} ledger
 */
function delaysOf ({ seconds }, { delays: { all, unqueued, live }, longest, delivered }) {
  const [p50, p99, p999] = [0.5, 0.99, 0.999].map((share) => all.percentile(share))
  return {
    p50,
    p99,
    p999,
    longest: longest / 1000,
    unqueuedP50: unqueued.percentile(0.5),
    unqueuedP99: unqueued.percentile(0.99),
    liveP50: live.percentile(0.5),
    liveP99: live.percentile(0.99),
    deliveriesPerSecond: delivered / seconds
  }
}

/** @param {JitterJob & import('./main.js').Job} job */
export async function jitter (job) {
  const ledger = new Ledger(job.clients, job.perChannel, job.bytes)
  const events = { cuts: 0, returns: 0, recoveries: 0, insufficient: 0, saidAgain: 0, refused: 0, closings: /** @type {string[]} */ ([]) }
  let now = 0
  const surroundings = { job, ledger, events, now: () => now, chunk: () => { now = performance.now() * 1000 } }
  const clients = Array.from({ length: job.clients }, (_, index) => new JitterClient(index, surroundings))
  await inTurns(job.clients, (index) => clients[index].connect())
  // Everyone hears something, and so knows where its channel stands, before anyone is cut off.
  for (const [index, client] of clients.entries()) if (index % job.perChannel === 0) client.say()
  await settled(job, ledger)

  const counting = await countCommands(job.redis)
  const before = { usage: new Usage(job), sent: ledger.sent, delivered: ledger.delivered }
  const pace = clock(job.clients, job.clients * job.perSecond, Infinity, (index) => clients[index].say())
  pace.start()
  for (const client of clients) client.startCutting()
  await sleep(job.seconds * 1000)
  pace.stop()
  for (const client of clients) client.stopCutting()
  const used = new Usage(job).since(before.usage)
  const deliveredMeanwhile = ledger.delivered - before.delivered
  await settled(job, ledger)
  await sleep(AFTERMATH)
  const commands = await counting?.per(ledger.sent - before.sent)
  for (const client of clients) client.end()
  const { due, sent, published, delivered, doubled, disordered } = ledger
  const { closings, ...counts } = events
  return {
    due,
    sent,
    delivered,
    deliveredShare: delivered / due,
    missing: due - delivered,
    unpublished: sent - published,
    doubled,
    disordered,
    ...counts,
    closed: closings.length,
    closings: closings.slice(0, CLOSINGS_KEPT),
    ...delaysOf(job, ledger),
    cpuPerDelivery: used.server / deliveredMeanwhile,
    redisPerDelivery: used.redis === undefined ? undefined : used.redis / deliveredMeanwhile,
    ...used.shares,
    peakMemory: used.peakMemory,
    ...commands,
    failures: ledger.verdict
  }
}
