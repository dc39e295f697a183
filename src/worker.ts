import cluster, { type Worker } from 'node:cluster'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { fanfareError } from './errors.ts'

/** The environment variable that tells a worker its role. */
export const ROLE = 'FANFARE_WORKER'

/**
 * Why a worker is there: the `first` one of all speaks for the others at the start; a `successor` comes up beside the one
 * whose place it takes, and must not if it could not serve; `further` ones just serve.
 */
export type Role = 'first' | 'successor' | 'further'

/** Whether this process says for its server what is to be said once: there is no other, or it is the first. */
export function speaksForAll (): boolean {
  const role = process.env[ROLE] as Role | undefined
  return role === undefined || role === 'first'
}

/** How the primary tells a worker to end. */
export interface Dismissal {
  /** For the log: the signal that the primary got. */
  readonly dismissal: string
  /** Whether nobody stays to serve. */
  readonly all: boolean
}

/** A terminal, or who ends a whole group of processes, sends these to workers too; they obey the primary. */
export const GROUP_SIGNALS = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'] as const

/** Node must not handle these itself: a process that has a real fault would spin for ever instead of ending. */
export const FAULT_SIGNALS = ['SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV'] as const

// How long a worker waits for Redis before it listens.
const BROKER_MS = 3000
const LOOK_MS = 20
// Who has connected just before a worker leaves the port has so long to send the request.
const LAST_REQUESTS_MS = 500

/** A worker's part in the life of all: when it begins to listen, and when and how it ends. */
export class WorkerLife {
  readonly role: Role
  /** Why it ends, once it does. */
  reason: string | undefined
  readonly #worker: Worker
  #portRemains = true
  #leaving = false

  /** The life of this process, if it is a worker of Fanfare's. */
  static ofThisProcess (): WorkerLife | undefined {
    const role = process.env[ROLE] as Role | undefined
    return role && cluster.worker ? new WorkerLife(role, cluster.worker) : undefined
  }

  constructor (role: Role, worker: Worker) {
    this.role = role
    this.#worker = worker
  }

  /**
   * Waits for the end: the primary says so, or is gone, or SIGTERM comes.
   *
   * @param end is called once
   */
  onDismissal (end: () => void): void {
    const dismiss = (reason: string, portRemains: boolean): void => {
      if (this.reason !== undefined) return
      this.reason = reason
      this.#portRemains = portRemains
      end()
    }
    for (const signal of GROUP_SIGNALS) process.on(signal, () => { if (signal === 'SIGTERM') dismiss(signal, true) })
    process.on('message', ({ dismissal, all }: Dismissal) => dismiss(dismissal, !all))
    this.#worker.on('disconnect', () => {
      // Node would end the process at once, clients and all.
      this.#worker.exitedAfterDisconnect = true
      dismiss('The primary process is gone', false)
    })
  }

  /** Lets the answers to HTTP requests end their connections as soon as the worker leaves the port. */
  endConnectionsWhenLeaving (app: FastifyInstance): void {
    app.addHook('onSend', (_request, reply, _payload, done) => {
      if (this.#leaving) reply.header('connection', 'close')
      done()
    })
  }

  /**
   * Resolves when a worker may listen: Redis is there, or has been waited for.
   *
   * @param trouble says what the broker lacks, if anything
   * @throws {FanfareError} FANFARE_UNAVAILABLE if that is the case for a successor: the old one may do better
   */
  async readyToListen (trouble: () => string | undefined): Promise<void> {
    const deadline = performance.now() + BROKER_MS
    while (trouble() && performance.now() < deadline) await wait(LOOK_MS)
    const lack = trouble()
    if (lack && this.role === 'successor') throw fanfareError('FANFARE_UNAVAILABLE', lack)
  }

  /** Leaves the port to the other workers, and serves those who have come just before. To be called before all else at the end. */
  async leavePort (): Promise<void> {
    this.reason ??= 'an error'
    if (!this.#portRemains || !this.#worker.isConnected()) return
    this.#leaving = true
    this.#worker.disconnect()
    await wait(LAST_REQUESTS_MS)
  }
}
