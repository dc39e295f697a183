/** One run: fresh servers, and the load generator on a core of its own. */

import { fileURLToPath } from 'node:url'
import { start } from './children.js'
import { LOAD_CORE } from './cores.js'
import { Site } from './site.js'

/** On top of what the job itself says that it takes. */
const LOADED_WITHIN = 180_000
const LOADER = fileURLToPath(new URL('../load/main.js', import.meta.url))

/**
 * @param {import('./peers.js').Peer} peer
 * @param {import('./scenarios.js').Case} what
 * @returns {Promise<any>} what the load generator found, with `failures`
 */
export async function runOne (peer, what) {
  const site = new Site()
  /** @type {ReturnType<typeof start> | undefined} */
  let loader
  try {
    const job = { ...what.job, ...await site.start(peer, what), protocol: peer.protocol, token: await peer.token?.() }
    loader = start({ file: process.execPath, args: [LOADER, JSON.stringify(job)] }, LOAD_CORE)
    const well = await loader.end(LOADED_WITHIN + (what.job.seconds ?? 0) * 1000)
    if (!well) throw new Error(`the load generator failed: ${loader.errors() || 'no result in time'}`)
    const result = JSON.parse(loader.output())
    result.failures.push(...site.ended)
    return result
  } catch (/** @type {any} */ error) {
    return { failures: [error.message] }
  } finally {
    await loader?.stop()
    await site.stop()
  }
}
