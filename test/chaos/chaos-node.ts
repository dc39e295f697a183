import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import type { FaultProxy } from '../fault-proxy.ts'
import { startProcess, type ServerProcess } from '../process.ts'
import type { Dice } from './dice.ts'
import type { Fault, LinkFault, NodeFault } from './plan.ts'
import type { Recorder } from './recorder.ts'

/** A node as a process of its own, its way to Redis, and what can be done to both. */
export class ChaosNode {
  readonly number: number
  readonly #t: Test
  readonly #link: FaultProxy
  readonly #settings: NodeJS.ProcessEnv
  readonly #recorder: Recorder
  #server!: ServerProcess
  #dropPercent = 0

  /**
   * @param link its way to Redis
   * @param settings of the server, without PORT and REDIS_URL
   * @param dice says which messages are dropped
   */
  constructor (t: Test, number: number, link: FaultProxy, settings: NodeJS.ProcessEnv, recorder: Recorder, dice: Dice) {
    this.number = number
    this.#t = t
    this.#link = link
    this.#settings = { ...settings, REDIS_URL: `redis://127.0.0.1:${link.port}` }
    this.#recorder = recorder
    // From the first byte on: a proxy that begins to look in the middle of a reply cannot tell what is a message.
    link.drops = () => dice.percent(this.#dropPercent)
  }

  get url (): string {
    return this.#server.url
  }

  get wsUrl (): string {
    return this.#server.wsUrl
  }

  async start (): Promise<void> {
    const server = await startProcess(this.#t, this.#settings)
    this.#server = server
    server.exit.then((code) => {
      if (!server.child.killed) this.#recorder.failures.push(`node ${this.number} ended by itself with ${code}: ${server.output()}`)
    })
  }

  /** Does something to the node, and resolves when it serves again. */
  async suffer ({ kind, ms }: Fault<NodeFault>): Promise<void> {
    const { child, exit } = this.#server
    if (kind === 'freeze') {
      process.kill(child.pid as number, 'SIGSTOP')
      await pause(ms)
      process.kill(child.pid as number, 'SIGCONT')
      return
    }
    child.kill(kind === 'kill' ? 'SIGKILL' : 'SIGTERM')
    await exit
    await this.start()
  }

  /** Drops all Pub/Sub messages of Redis while something is done. */
  async deafDuring (work: () => Promise<void>): Promise<void> {
    this.#dropPercent = 100
    await work()
    this.#dropPercent = 0
  }

  /** Does something to the way to Redis, and resolves when it is whole again. */
  async sufferLink ({ kind, ms, degree }: Fault<LinkFault>): Promise<void> {
    const link = this.#link
    if (kind === 'swallow') link.swallowing = true
    else if (kind === 'delay') link.delayMs = 10 * degree
    else if (kind === 'drop') this.#dropPercent = degree
    if (kind !== 'reset') await pause(ms)
    link.swallowing = false
    link.delayMs = 0
    this.#dropPercent = 0
    // A connection that has lost bytes, or would have them out of order, is none that TCP could have gone on with.
    if (kind !== 'drop') link.reset()
  }
}
