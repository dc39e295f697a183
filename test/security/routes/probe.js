import { readdirSync } from 'node:fs'

const TICK_MS = 5

/** Tells what the process holds, and for how long its loop stood still since that was asked last. */
export default async function probe (app) {
  let stallMs = 0
  let tickedAt = performance.now()
  let cpu = process.cpuUsage()
  const look = () => {
    const now = performance.now()
    const { user, system } = process.cpuUsage(cpu)
    // What other processes of the machine took is no stall of ours.
    stallMs = Math.max(stallMs, Math.min(now - tickedAt - TICK_MS, (user + system) / 1000))
    begin()
  }
  const begin = () => {
    tickedAt = performance.now()
    cpu = process.cpuUsage()
  }
  setInterval(look, TICK_MS).unref()

  app.get('/probe', async ({ query }) => {
    if (query.gc) {
      look()
      globalThis.gc?.()
      // It was asked for, and is no stall of what comes after it.
      begin()
    }
    const resources = {}
    for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1
    const { count, channelCount, waitingBytes } = app.connections
    const { heapUsed } = process.memoryUsage()
    const answer = { connections: count, channels: channelCount, waitingBytes, fds: readdirSync('/proc/self/fd').length, resources, heapUsed, stallMs }
    stallMs = 0
    return answer
  })

  // The process does not outlive its test, however that ends.
  const { ppid } = process
  setInterval(() => { if (process.ppid !== ppid) process.exit() }, 1000).unref()
}
