import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { FaultProxy } from '../fault-proxy.ts'
import { connectMany, startReady, until } from '../helper.ts'
import type { ServerProcess } from '../process.ts'
import { startRedis } from '../redis.ts'
import { below, membersOn, presentBy, shuffled, startTwoNodes, wsUrlsOf } from './nodes.ts'

const CHANNELS = ['a', 'b', 'c', 'd']
const ACTORS = 100
const STEPS = 30
// Everything is named again three times in this time, while they come and go.
const PRESENCE_TTL = 3

/** Connects to a node, for some channels of chance. */
async function enter (wsUrls: readonly string[]): Promise<{ ws: WebSocket, channels: string[] }> {
  const channels = shuffled(CHANNELS).slice(0, 1 + below(CHANNELS.length))
  const ws = new WebSocket(`${shuffled(wsUrls)[0]}?channel=${channels.join('&channel=')}`)
  ws.on('error', () => {})
  await once(ws, 'open')
  return { ws, channels }
}

/** Leaves with a close frame, without a word, or with a reset. */
async function leave (ws: WebSocket): Promise<void> {
  const [how] = shuffled(['close', 'terminate', 'reset'])
  const closed = once(ws, 'close')
  if (how === 'close') ws.close()
  else if (how === 'terminate') ws.terminate()
  else (ws as unknown as { _socket: Socket })._socket.resetAndDestroy()
  await closed
}

/** Waits until both nodes say of every channel who is there; resolves with what is wrong after this time, in milliseconds. */
async function converge (nodes: readonly ServerProcess[], counts: ReadonlyMap<string, number>, ms: number): Promise<string[]> {
  const latest = performance.now() + ms
  let wrong: string[] = []
  await until(async () => {
    wrong = []
    for (const channel of CHANNELS) {
      const here = nodes.flatMap((node) => membersOn(node, channel)).sort()
      if (here.length !== counts.get(channel)) wrong.push(`${channel}: the nodes have ${here.length} connections, the clients ${counts.get(channel)}`)
      for (const { url } of nodes) {
        const present = await presentBy(url, channel)
        if (present.join() !== here.join()) wrong.push(`${channel}: ${url} says ${present.length} are there, and it is ${here.length}`)
      }
    }
    return wrong.length === 0 || performance.now() > latest
  })
  return wrong
}

t.test('presence with 2 nodes: after 3,000 random joins and leaves the set is exact on both nodes', { timeout: 400_000 }, async (t: Test) => {
  const { nodes } = await startTwoNodes(t, { PRESENCE_TTL: String(PRESENCE_TTL), LOG_LEVEL: 'info' })
  const wsUrls = wsUrlsOf(nodes)
  const startedAt = performance.now()
  const staying = await Promise.all(Array.from({ length: ACTORS }, async (_none, actor) => {
    for (let step = 0; step < STEPS / 2; step++) await leave((await enter(wsUrls)).ws)
    return actor % 2 ? enter(wsUrls) : undefined
  }))
  t.teardown(() => { for (const stayed of staying) stayed?.ws.terminate() })
  const counts = new Map(CHANNELS.map((channel) => [channel, staying.filter((stayed) => stayed?.channels.includes(channel)).length]))
  const endedAt = performance.now()
  t.same(await converge(nodes, counts, 10_000), [])
  t.comment(`${ACTORS * STEPS} joins and leaves in ${((endedAt - startedAt) / 1000).toFixed(1)} s: ${Array.from(counts.values()).join(', ')} in ${CHANNELS.length} channels, ` +
    `exact on both nodes ${((performance.now() - endedAt) / 1000).toFixed(2)} s later`)
  t.ok(performance.now() - endedAt < PRESENCE_TTL * 1000, 'without waiting for anything to expire')
  await Promise.all(staying.map((stayed) => stayed && leave(stayed.ws)))
  t.same(await converge(nodes, new Map(CHANNELS.map((channel) => [channel, 0])), 10_000), [], 'nobody is left in the end')
})

t.test('who leaves a large channel while its members are named again is not named', { timeout: 200_000 }, async (t) => {
  const redis = await startRedis(t)
  const proxy = await new FaultProxy(redis.port).start(t)
  const { app, wsUrl } = await startReady(t, { redisUrl: `redis://127.0.0.1:${proxy.port}`, presenceTtl: PRESENCE_TTL })
  const clients = await connectMany(t, `${wsUrl}?channel=x`, 700)
  const present = async (): Promise<number> => (await app.connections.presence('x')).length
  await until(async () => await present() === 700)
  // Naming 700 members takes two calls; those who leave are named by the second, while the first is under way.
  proxy.delayMs = 100
  const leaving = clients.slice(-150)
  for (const { ws } of leaving) {
    await leave(ws)
    await new Promise((resolve) => setTimeout(resolve, PRESENCE_TTL * 700 / leaving.length))
  }
  const leftAt = performance.now()
  await until(async () => await present() === 550)
  const ms = performance.now() - leftAt
  t.comment(`150 of 700 have left: presence right after ${(ms / 1000).toFixed(1)} s`)
  t.ok(ms < 1000, 'without waiting for anything to expire')
})
