/** Every process the benchmark starts, so that none outlives it. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** @type {Set<import('node:child_process').ChildProcess>} */
const alive = new Set()

const killAll = () => { for (const child of alive) child.kill('SIGKILL') }
process.on('exit', killAll)
for (const [signal, code] of /** @type {[NodeJS.Signals, number][]} */ ([['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]])) {
  process.on(signal, () => process.exit(code))
}

/**
 * @typedef {object} Command
 * @property {string} file
 * @property {string[]} args
 * @property {string} [cwd]
 * @property {Record<string, string>} [env]
 */

/**
 * Runs a command on one core, or on any. taskset replaces itself with the command, so the pid is the command's.
 * @param {Command} command
 * @param {number | null} core
 */
export function start ({ file, args, cwd, env }, core) {
  const [first, ...rest] = core === null ? [file, ...args] : ['taskset', '--cpu-list', String(core), file, ...args]
  const child = spawn(first, rest, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  alive.add(child)
  const ended = once(child, 'close').catch((error) => [error.message]).finally(() => alive.delete(child))
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text) => { output += text })
  child.stderr.setEncoding('utf8').on('data', (text) => { errors = (errors + text).slice(-4000) })
  return {
    pid: /** @type {number} */ (child.pid),
    /** @returns {boolean} */
    running: () => alive.has(child),
    output: () => output,
    errors: () => errors.trim(),
    /** What it said last: servers log to their standard output. */
    lastWords: () => `${errors}${output.slice(-4000)}`.trim(),
    async stop () {
      child.kill('SIGKILL')
      await ended
    },
    /**
     * Waits for the end, and brings it about when the time is over.
     * @param {number} milliseconds
     * @returns {Promise<boolean>} whether it ended by itself, well
     */
    async end (milliseconds) {
      const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds)
      await ended
      clearTimeout(timer)
      return child.exitCode === 0
    }
  }
}
