/** All that a run is measured on: fresh servers, each on its core, and the Redis that they share, if they do. */

import { setTimeout as sleep } from 'node:timers/promises'
import { start } from './children.js'
import { REDIS_CORE, nodeCore } from './cores.js'
import { HOST, freePort, listens } from './ports.js'
import { redisCommand } from './prepare/redis.js'

const READY_WITHIN = 20_000
const POLL = 50

/** @typedef {{ name: string, port: number, process: ReturnType<typeof start> }} Part */

export class Site {
  /** @type {Part[]} */
  #parts = []

  /**
   * @param {import('./peers.js').Peer} peer
   * @param {import('./scenarios.js').Case} what
   * @returns {Promise<Pick<import('../load/main.js').Job, 'host' | 'nodes' | 'redis'>>} where all of it is, once it is ready
   */
  async start (peer, what) {
    const redis = peer.redis ? await this.#add('Redis', redisCommand, REDIS_CORE, listens) : undefined
    const env = redis === undefined ? what.env ?? {} : { ...what.env, REDIS_URL: `redis://${HOST}:${redis.port}` }
    const nodes = []
    for (let index = 0; index < (what.nodes ?? 1); index++) {
      nodes.push(await this.#add('the server', (port) => peer.command({ host: HOST, port, env }), nodeCore(index), peer.ready ?? listens))
    }
    return { host: HOST, nodes, redis }
  }

  /** What has ended that should be running, and its last words. */
  get ended () {
    return this.#parts.filter(({ process }) => !process.running()).map(({ name, process }) => `${name} ended: ${process.lastWords()}`)
  }

  async stop () {
    await Promise.all(this.#parts.map(({ process }) => process.stop()))
  }

  /**
   * @param {string} name
   * @param {(port: number) => import('./children.js').Command} commandFor
   * @param {number} core
   * @param {(port: number) => Promise<boolean>} ready
   */
  async #add (name, commandFor, core, ready) {
    const port = await freePort()
    const process = start(commandFor(port), core)
    this.#parts.push({ name, port, process })
    for (let waited = 0; waited < READY_WITHIN; waited += POLL) {
      if (!process.running()) throw new Error(`${name} ended: ${process.lastWords()}`)
      if (await ready(port)) return { port, pid: process.pid }
      await sleep(POLL)
    }
    throw new Error(`${name} was not ready within ${READY_WITHIN / 1000} s: ${process.lastWords()}`)
  }
}
