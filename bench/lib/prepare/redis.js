/** The Redis of a cluster: whatever `redis-server` is installed, without persistence. */

import { HOST } from '../ports.js'
import { versionOf } from './tool.js'

const FILE = 'redis-server'
/** Where it has to share a core with the load, it comes first, as it would on a machine of its own; `nice` goes on without where it may not. */
const NICENESS = '-10'

/** @returns {Promise<string>} its version */
export const redisVersion = async () => /v=(\S+)/.exec(await versionOf(FILE, ['--version']))?.[1] ?? 'unknown'

/**
 * @param {number} port
 * @returns {import('../children.js').Command}
 */
export const redisCommand = (port) => ({
  file: 'nice',
  args: ['-n', NICENESS, FILE, '--bind', HOST, '--port', String(port), '--save', '', '--appendonly', 'no', '--loglevel', 'warning']
})
