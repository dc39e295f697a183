import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import t from 'tap'
import { connect, start, until } from '../helper.ts'
import { dial, UPGRADE } from './raw.ts'

const RESETS = 1000
const AT_ONCE = 100

// Sockets only: other descriptors come and go with the files that Node reads.
function sockets (): number {
  return readdirSync('/proc/self/fd').length
}

for (const [what, path, headers] of [['WebSocket', '/ws', UPGRADE], ['SSE', '/sse', 'Accept: text/event-stream\r\n']] as const) {
  t.test(`${RESETS} TCP resets during an async onConnect hook (${what}): 0 crashes, descriptors at baseline`, async (t) => {
    const { app, url, wsUrl } = await start(t)
    const crashes: Error[] = []
    const crashed = (error: Error): void => { crashes.push(error) }
    process.on('uncaughtException', crashed).on('unhandledRejection', crashed)
    t.teardown(() => process.off('uncaughtException', crashed).off('unhandledRejection', crashed))
    let asked = 0
    let answers: (() => void)[] = []
    app.connections.addHook('onConnect', async ({ headers }) => {
      if (headers['x-reset'] === undefined) return
      asked++
      await new Promise<void>((resolve) => { answers.push(resolve) })
    })
    await connect(t, wsUrl)
    const before = sockets()
    for (let done = 0; done < RESETS; done += AT_ONCE) {
      const peers = Array.from({ length: AT_ONCE }, () => dial(url))
      for (const peer of peers) peer.write(`GET ${path} HTTP/1.1\r\nHost: ${new URL(url).host}\r\nX-Reset: 1\r\n${headers}\r\n`)
      await until(() => asked === done + AT_ONCE)
      const closed = peers.map(async (peer) => once(peer, 'close'))
      for (const peer of peers) peer.resetAndDestroy()
      await Promise.all(closed)
      // Half of the hooks answer at once, before the server can know, and half when it does.
      const now = answers.splice(0, AT_ONCE / 2)
      for (const answer of now) answer()
      await new Promise((resolve) => setImmediate(resolve))
      for (const answer of answers) answer()
      answers = []
    }
    await until(() => app.connections.count === 1 && sockets() <= before)
    t.comment(`${asked} resets during onConnect (${what}): ${crashes.length} crashes, ${app.connections.count - 1} connections left, descriptors ${before} before and ${sockets()} after`)
    t.equal(asked, RESETS)
    t.strictSame(crashes, [])
    t.equal((await app.connections.presence('broadcast')).length, 1)
    const client = await connect(t, wsUrl)
    client.ws.send('alive')
    t.strictSame(await client.hears(1), ['alive'])
  })
}
