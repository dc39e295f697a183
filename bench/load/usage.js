/** What the operating system says processes used. */

import { readFileSync, readdirSync, writeFileSync } from 'node:fs'

/**
 * CPU time of a process, user and system, over all its threads. /proc/PID/task/TID/schedstat counts in nanoseconds, where
 * /proc/PID/stat counts in hundredths of a second.
 * @param {number} pid
 * @returns {number} microseconds
 */
export function cpuOf (pid) {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0])
  }
  return nanoseconds / 1000
}

/**
 * @param {number} pid
 * @param {'VmRSS' | 'VmHWM'} name resident memory, now or at its peak
 * @returns {number} bytes
 */
export function memoryOf (pid, name) {
  const line = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1]) * 1024
}

/**
 * From now on `VmHWM` is the peak since this call.
 * @param {number} pid
 */
export function forgetPeak (pid) {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** CPU time of everything on this machine, in microseconds: all that /proc/stat counts, save idling and waiting for disks. */
function cpuOfAll () {
  const [user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].split(/\s+/).slice(1).map(Number)
  return (user + nice + system + irq + softirq + steal) * 10_000
}

/** A reading of the clock and of the CPU times, to subtract from a later one. */
export class Usage {
  /** @param {Pick<import('./main.js').Job, 'nodes' | 'redis'>} job */
  constructor ({ nodes, redis }) {
    const own = process.cpuUsage()
    this.pids = nodes.map(({ pid }) => pid)
    this.at = performance.now() * 1000
    this.nodes = this.pids.map(cpuOf)
    this.redis = redis && cpuOf(redis.pid)
    this.loader = own.user + own.system
    this.all = cpuOfAll()
  }

  /** @param {Usage} start */
  since (start) {
    const elapsed = this.at - start.at
    const nodes = this.nodes.map((time, index) => time - start.nodes[index])
    const server = nodes.reduce((sum, time) => sum + time, 0)
    const redis = this.redis === undefined || start.redis === undefined ? undefined : this.redis - start.redis
    const loader = this.loader - start.loader
    return {
      elapsed,
      server,
      nodes,
      redis,
      shares: {
        /** Of all nodes together. */
        serverShare: server / elapsed,
        ...redis === undefined ? {} : { redisShare: redis / elapsed },
        loaderShare: loader / elapsed,
        /** Of one core, by processes that have no part in this. */
        otherShare: Math.max(0, (this.all - start.all - server - (redis ?? 0) - loader) / elapsed)
      },
      /** Of the node that used most. */
      peakMemory: Math.max(...this.pids.map((pid) => memoryOf(pid, 'VmHWM')))
    }
  }
}
