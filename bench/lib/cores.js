/**
 * Which core a process runs on. The first node has core 0 and the load generator core 1, whatever the machine. Redis and
 * the second node get cores of their own where there are enough; with two cores Redis is with the load, because whatever
 * ran beside a node would evict its caches and preempt it, and both nodes are on core 0, with their CPU times apart.
 */

import { cpus } from 'node:os'

const COUNT = cpus().length

export const LOAD_CORE = 1
export const REDIS_CORE = COUNT > 2 ? 2 : LOAD_CORE

/** @param {number} index of a node */
export const nodeCore = (index) => index > 0 && COUNT > 3 ? 3 : 0
