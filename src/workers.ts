import cluster, { type Worker } from 'node:cluster'
import { availableParallelism } from 'node:os'
import { isatty } from 'node:tty'
import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'
import type { ServerSettings } from './config.ts'
import { SettingError } from './errors.ts'
import { FAULT_SIGNALS, ROLE, type Dismissal, type Role } from './worker.ts'

// A worker that does not listen by then is killed.
const START_MS = 30_000
// A worker that has lived for this long did not die of its start.
const STEADY_MS = 10_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 30_000
// Beyond DRAIN_TIMEOUT, and a little more than what a worker takes to end itself.
const LAST_MOMENTS_MS = 1750

/** A worker process, and what becomes of it. */
interface Running {
  readonly worker: Worker
  /** Resolves when it listens; rejected if it ends before. */
  readonly listening: Promise<void>
  /** Resolves with how it ended: a signal, or `code 0`. */
  readonly ended: Promise<string>
  listens: boolean
}

/** One of the places for workers, and who has it. */
interface Place {
  running: Running
  since: number
  /** How often in a row its worker has died soon. */
  failures: number
  restart?: NodeJS.Timeout
}

type PoolSettings = Pick<ServerSettings, 'workers' | 'redisUrl' | 'drainTimeout'>

/**
 * Whether this process is to run workers, and be none itself.
 *
 * @throws {SettingError} if workers are wanted where there can be none: without Redis, or in another program's cluster
 */
export function runsWorkers ({ workers, redisUrl }: PoolSettings): boolean {
  if (workers === 1) return false
  if (!redisUrl) throw new SettingError(`WORKERS=${workers}`, 'needs REDIS_URL: without Redis each worker would be alone, and its clients would not hear those of the others')
  if (cluster.isWorker && !process.env[ROLE]) throw new SettingError(`WORKERS=${workers}`, 'cannot be used in the cluster of another program, which starts the workers itself: set WORKERS=1')
  return cluster.isPrimary
}

/**
 * Runs workers on one port until a signal ends them: SIGHUP replaces them one by one, SIGTERM and the like drain them all.
 * Ends the process with 1 if the first worker could not listen; it has said why.
 *
 * @param settings `workers` is how many, 0: one for each core; `drainTimeout` in seconds
 */
export async function runWorkers (settings: PoolSettings, log: FastifyBaseLogger): Promise<void> {
  const pool = new WorkerPool(settings, log)
  const terminal = [0, 1, 2].find((descriptor) => isatty(descriptor))
  process.on('exit', () => pool.kill())
  const { close } = closeWithGrace({ delay: false, logger: log, skip: ['SIGHUP', ...FAULT_SIGNALS] }, async ({ signal = 'SIGHUP', err }) => {
    if (err) log.fatal({ err }, 'Stopping after an error that nobody handled')
    await pool.stop(err ? 'End' : signal)
  })
  // A terminal that is closed sends it too, and is none any more.
  process.on('SIGHUP', () => terminal === undefined || isatty(terminal) ? pool.replaceAll() : close())
  await pool.start()
}

/** Workers that share a port. */
class WorkerPool {
  readonly #log: FastifyBaseLogger
  readonly #count: number
  readonly #drainMs: number
  readonly #places: Place[] = []
  readonly #running = new Set<Running>()
  #stopping = false
  #replacing = false
  #replaceAgain = false

  constructor ({ workers, drainTimeout }: PoolSettings, log: FastifyBaseLogger) {
    this.#log = log
    this.#count = workers || availableParallelism()
    this.#drainMs = drainTimeout * 1000 + LAST_MOMENTS_MS
  }

  /** Starts one worker, and when it listens the others. */
  async start (): Promise<void> {
    const first = this.#launch('first')
    await first.listening.catch(async (error: Error) => {
      if (this.#stopping) return
      if (await first.ended !== 'code 1') process.stderr.write(`${error.message}\n`)
      process.exit(1)
    })
    if (this.#stopping) return
    this.#fill(first)
    while (this.#places.length < this.#count) this.#fill(this.#launch('further'))
    await Promise.allSettled(this.#places.map(({ running }) => running.listening))
    this.#log.info(`Workers share the port: ${this.#places.map(({ running }) => running.worker.process.pid).join(', ')}`)
  }

  /** Replaces all workers one by one: the next one listens before the last one stops. */
  async replaceAll (): Promise<void> {
    this.#replaceAgain = this.#replacing
    if (this.#replacing || this.#stopping) return
    this.#replacing = true
    const started = performance.now()
    try {
      this.#log.info('SIGHUP: replacing the workers one by one')
      for (const place of this.#places) await this.#replace(place)
      if (!this.#stopping) this.#log.info(`All workers are replaced, after ${((performance.now() - started) / 1000).toFixed(1)} s`)
    } catch (error) {
      if (!this.#stopping) this.#log.error(`${(error as Error).message}: the other workers stay as they are`)
    }
    this.#replacing = false
    if (this.#replaceAgain) await this.replaceAll()
  }

  /**
   * Drains all workers, and resolves when they have ended.
   *
   * @param reason for the log
   * @throws {Error} if some did not end well
   */
  async stop (reason: string): Promise<void> {
    this.#stopping = true
    for (const { restart } of this.#places) clearTimeout(restart)
    this.#log.info(`${reason}: draining ${this.#running.size} workers`)
    const ends = await Promise.all(Array.from(this.#running, (running) => this.#dismiss(running, { dismissal: reason, all: true })))
    const bad = ends.filter((how) => how !== 'code 0')
    if (bad.length > 0) throw new Error(`Workers did not end well: ${bad.join(', ')}`)
    this.#log.info('All workers have ended')
  }

  /** Ends all workers at once. */
  kill (): void {
    for (const { worker } of this.#running) worker.process.kill('SIGKILL')
  }

  async #replace (place: Place): Promise<void> {
    if (this.#stopping) return
    const successor = this.#launch('successor')
    await successor.listening
    if (this.#stopping) return
    // The restart, or its worker, of one that has died meanwhile is replaced like any other.
    clearTimeout(place.restart)
    const { running: old } = place
    this.#fill(successor, place)
    this.#log.info(`Worker ${successor.worker.process.pid} takes over from ${old.worker.process.pid}`)
    await this.#dismiss(old, { dismissal: 'SIGHUP', all: false })
  }

  // Who does not listen yet has no clients.
  async #dismiss ({ worker, listens, ended }: Running, dismissal: Dismissal): Promise<string> {
    if (!listens) {
      worker.process.kill('SIGKILL')
      await ended
      return 'code 0'
    }
    if (worker.isConnected()) worker.send(dismissal)
    const deadline = setTimeout(() => worker.process.kill('SIGKILL'), this.#drainMs)
    const how = await ended
    clearTimeout(deadline)
    return how
  }

  #launch (role: Role): Running {
    const running = launch(role)
    this.#running.add(running)
    running.ended.then(() => this.#running.delete(running))
    return running
  }

  #fill (running: Running, place?: Place): void {
    const filled = Object.assign(place ?? { failures: 0 }, { running, since: performance.now() })
    if (!place) this.#places.push(filled)
    running.ended.then((how) => {
      if (filled.running === running && !this.#stopping) this.#restart(filled, `Worker ${running.worker.process.pid} ended (${how})`)
    })
  }

  #restart (place: Place, why: string): void {
    place.failures = performance.now() - place.since < STEADY_MS ? place.failures + 1 : 0
    const pause = place.failures && Math.min(FIRST_PAUSE_MS * 2 ** (place.failures - 1), LONGEST_PAUSE_MS)
    this.#log.error(`${why}: starting another${pause ? ` in ${pause / 1000} s` : ''}`)
    place.restart = setTimeout(() => {
      try {
        this.#fill(this.#launch('further'), place)
      } catch (error) {
        this.#restart(place, `No worker could be started (${(error as Error).message})`)
      }
    }, pause)
  }
}

function launch (role: Role): Running {
  cluster.schedulingPolicy = cluster.SCHED_RR
  const worker = cluster.fork({ [ROLE]: role })
  const ended = new Promise<string>((resolve) => {
    worker.once('exit', (code, signal: string | null) => resolve(signal ?? `code ${code}`))
    // There is no exit of a process that could not be made.
    worker.on('error', (error) => { if (worker.process.pid === undefined) resolve(error.message) })
  })
  const listening = new Promise<void>((resolve, reject) => {
    worker.once('listening', () => {
      running.listens = true
      resolve()
    })
    ended.then((how) => reject(new Error(`Worker ${worker.process.pid} ended before it listened (${how})`)))
  })
  const running: Running = { worker, listening, ended, listens: false }
  const deadline = setTimeout(() => worker.process.kill('SIGKILL'), START_MS)
  listening.catch(() => {}).finally(() => clearTimeout(deadline))
  return running
}
