import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { until } from '../helper.ts'
import { startNode } from './nodes.ts'

const CLIENTS = 100
const STALL_MS = 2000
const NO_PONG = 3012
// Who was closed within this time after its last answer had not answered one before, as our own process was late.
const LATE_MS = 500

const ROUTE = `export default async function (app) {
  app.get('/stall', async ({ query: { ms } }) => {
    const end = performance.now() + Number(ms)
    while (performance.now() < end);
    return {}
  })
}`

interface Answering { readonly ws: WebSocket, pings: number, pingedAt: number, closed: { code: number, msAfterPing: number } | undefined }

/** A client that answers every ping, and knows when. */
async function answering (t: Test, wsUrl: string): Promise<Answering> {
  const ws = new WebSocket(wsUrl)
  t.teardown(() => ws.terminate())
  const client: Answering = { ws, pings: 0, pingedAt: -Infinity, closed: undefined }
  ws.on('ping', () => {
    client.pings++
    client.pingedAt = performance.now()
  })
  ws.on('close', (code) => { client.closed = { code, msAfterPing: performance.now() - client.pingedAt } })
  await once(ws, 'open')
  return client
}

t.test('the event loop blocked for 2 s, with pings every second and 1 s to answer: 0 false "no pong" closings', { timeout: 200_000 }, async (t) => {
  const { url, wsUrl } = await startNode(t, { ROUTES_DIR: t.testdir({ 'stall.js': ROUTE }), PING_INTERVAL: '1', PONG_TIMEOUT: '1' })
  // They are pinged at all phases of the interval.
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => answering(t, wsUrl)))
  await until(() => clients.every(({ pings }) => pings > 0))
  const before = clients.map(({ pings }) => pings)
  await fetch(`${url}/stall?ms=${STALL_MS}`)
  const silent = new WebSocket(wsUrl, { autoPong: false })
  const silentClosed = once(silent, 'close') as Promise<[number]>
  // Until those have been checked who were pinged before the stall, and who were pinged right after it.
  await until(() => clients.every(({ pings, closed }, index) => pings >= (before[index] as number) + 2 || closed !== undefined))
  const closed = clients.flatMap(({ closed }) => closed ?? [])
  const falsely = closed.filter(({ code, msAfterPing }) => code === NO_PONG && msAfterPing > LATE_MS)
  t.comment(`a stall of ${STALL_MS / 1000} s: ${falsely.length} of ${CLIENTS} closed falsely, ${closed.length} at all`)
  t.equal(falsely.length, 0)
  t.equal((await silentClosed)[0], NO_PONG, 'who really does not answer is closed')
})
