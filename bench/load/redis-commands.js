/** How many commands Redis has run, by its own count (`INFO commandstats`). */

const SCRIPTS = new Set(['eval', 'evalsha', 'eval_ro', 'evalsha_ro', 'fcall', 'fcall_ro'])
/**
 * What cannot come from within a script, because Redis refuses it there (flag noscript), or does not in Fanfare's. The
 * counts do not say where a command came from: a TIME or a PUBLISH that a node sends itself, some a second for its
 * probes and for what nodes tell each other, is counted as one from within a script.
 */
const FROM_CLIENTS = new Set([...SCRIPTS, 'ping', 'subscribe', 'unsubscribe', 'ssubscribe', 'sunsubscribe', 'psubscribe', 'punsubscribe',
  'hello', 'auth', 'select', 'client', 'script', 'multi', 'exec', 'quit', 'config', 'command'])

/** @param {string} stats */
function countsOf (stats) {
  const counts = { scripts: 0, fromClients: 0, inside: 0 }
  for (const [, name, calls] of stats.matchAll(/^cmdstat_([^:|]+)[^:]*:calls=(\d+)/gm)) {
    if (SCRIPTS.has(name)) counts.scripts += Number(calls)
    counts[FROM_CLIENTS.has(name) ? 'fromClients' : 'inside'] += Number(calls)
  }
  return counts
}

/**
 * Begins to count.
 * @param {{ port: number } | undefined} redis
 * @returns {Promise<{ per: (publications: number) => Promise<object> } | undefined>} ends it, with what there was for each publication
 */
export async function countCommands (redis) {
  if (redis === undefined) return
  // The server's own client, from the repository's node_modules.
  const { Redis } = await import('ioredis')
  const client = new Redis(redis.port)
  const start = countsOf(await client.info('commandstats'))
  return {
    async per (publications) {
      const end = countsOf(await client.info('commandstats'))
      client.disconnect()
      return {
        /** Everything that the nodes sent: scripts, and what they subscribe to and probe with. */
        commandsPerPublication: (end.fromClients - start.fromClients) / publications,
        scriptsPerPublication: (end.scripts - start.scripts) / publications,
        /** What Redis ran within the scripts, without the INFO of this client. */
        insidePerPublication: (end.inside - start.inside - 1) / publications
      }
    }
  }
}
