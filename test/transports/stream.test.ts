import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { closeCodes } from '../../src/app.ts'
import { connect, start, until, type Running } from '../helper.ts'
import { openRaw } from '../raw-websocket.ts'
import { listenTo } from '../sse-client.ts'

// Of nobody, until 2126.
const TLS = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDOdF/0TLDRB2nJey
ipHFyISU5GbisDcr4ZjdVmbRX/OhRANCAASnLrZay5VOYpj8y9Zgn9wmtcGvdDFW
tuWUXJqC4C8kYBy4KtDPg6+9XC71uSip3snuoqakwPQK7mF7nvsEOhlF
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBgDCCASWgAwIBAgIUTaWRWf13FzctQqOTLGVWNnNoOVswCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE1MTgzN1oYDzIxMjYxMDI5
MTUxODM3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASnLrZay5VOYpj8y9Zgn9wmtcGvdDFWtuWUXJqC4C8kYBy4KtDPg6+9
XC71uSip3snuoqakwPQK7mF7nvsEOhlFo1MwUTAdBgNVHQ4EFgQU/SZ6O9S0mMdq
oZlwE9g//Kh9sF4wHwYDVR0jBBgwFoAU/SZ6O9S0mMdqoZlwE9g//Kh9sF4wDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA7TFyHJvwOODZt6EbUo4x
a12M0cnahrnFW9IqvWK5nqQCIQCWJ410AIVFrJAOFq+Y8bvRz/5wqqUHIgQol0yh
0oM12g==
-----END CERTIFICATE-----`
}

// Larger than what counts as fallen behind.
const LARGE = 100_000
const WAITING = 1_000_000
// More than the 10 ms after which a receiver is looked at again where its stream does not say that it is empty.
const LOOKED_AT_MS = 30

/** A client that can stop reading, and what it hears in the end. */
interface Stalling { readonly running: Running, texts: () => readonly string[], pause: () => void, resume: () => void, end: Promise<unknown> }

async function webSocket (t: Test, running: Running): Promise<Stalling & { ws: WebSocket }> {
  const client = await connect(t, running.wsUrl, { perMessageDeflate: false, rejectUnauthorized: false })
  const { ws } = client
  return { running, ws, texts: () => client.texts, pause: () => ws.pause(), resume: () => ws.resume(), end: client.closed() }
}

async function eventStream (t: Test, running: Running): Promise<Stalling> {
  const client = await listenTo(t, `${running.url}/sse`)
  const { response } = client
  return { running, texts: () => client.texts, pause: () => response.pause(), resume: () => response.resume(), end: client.ended.then(() => client.reports.at(-1)?.[1]) }
}

async function startSecure (t: Test): Promise<Running> {
  const { app, url, wsUrl } = await start(t, {}, { https: TLS } as object)
  return { app, url: url.replace('http:', 'https:'), wsUrl: wsUrl.replace('ws:', 'wss:') }
}

const kinds: Record<string, (t: Test) => Promise<Stalling>> = {
  'a WebSocket': async (t) => webSocket(t, await start(t)),
  'a WebSocket over TLS': async (t) => webSocket(t, await startSecure(t)),
  'an event stream': async (t) => eventStream(t, await start(t)),
  'an event stream over TLS': async (t) => eventStream(t, await startSecure(t))
}

/** Publishes to a client that has stopped reading until the kernel takes no more, and some small ones then. */
async function fill ({ running, pause }: Stalling): Promise<string[]> {
  const { connections } = running.app
  const sent: string[] = []
  const publish = async (text: string): Promise<void> => {
    sent.push(text)
    await connections.publish('broadcast', text)
    await nextTurn()
  }
  pause()
  const publishLarge = (): Promise<void> => publish(`${sent.length} `.padEnd(LARGE, 'x'))
  while (connections.waitingBytes === 0) await publishLarge()
  // The kernel may yet make room for some.
  for (let count = 0; count < 5; count++) await publishLarge()
  for (let count = 0; count < 10; count++) await publish(`small ${count}`)
  return sent
}

const closed = { code: closeCodes.disconnected.code, reason: closeCodes.disconnected.reason }

for (const [name, open] of Object.entries(kinds)) {
  t.test(`${name} whose kernel stops taking within a message gets it whole, and what follows it in order`, async (t) => {
    const client = await open(t)
    const { connections } = client.running.app
    const sent = await fill(client)
    await sleep(LOOKED_AT_MS)
    t.ok(connections.waitingBytes > 0, 'what waits is counted as long as it waits')
    client.resume()
    await until(() => connections.waitingBytes === 0)
    await connections.publish('broadcast', 'after')
    await until(() => client.texts().at(-1) === 'after')
    t.strictSame(client.texts(), [...sent, 'after'])
  })

  t.test(`${name} that is closed then hears all of it, and why it is closed`, async (t) => {
    const client = await open(t)
    const sent = await fill(client)
    await client.running.app.connections.disconnect({ channel: 'broadcast' })
    client.resume()
    t.match(await client.end, closed)
    t.strictSame(client.texts(), sent)
  })
}

t.test('a pong does not come within a message that the kernel has not taken whole', async (t) => {
  const running = await start(t)
  const client = await webSocket(t, running)
  const [ofServer] = running.app.websocketServer.clients
  const sent = await fill(client)
  const pong = once(client.ws, 'pong')
  client.ws.ping('during')
  await once(ofServer as WebSocket, 'ping')
  client.resume()
  t.same(String((await pong)[0]), 'during')
  await until(() => client.texts().length >= sent.length)
  t.strictSame(client.texts(), sent)
})

t.test('a channel was kept for ever where the write failed that somebody waited for who was joining it', async (t) => {
  const { app, url } = await start(t, { historySize: 200, maxBufferedBytes: WAITING })
  for (let count = 0; count < 200; count++) await app.connections.publish('long', 'x'.repeat(LARGE))
  const { socket } = await openRaw(t, Number(new URL(url).port), '/ws?channel=long&history=200')
  socket.pause()
  const [ofServer] = app.websocketServer.clients as Set<WebSocket & { _socket: Socket }>
  await until(() => (ofServer?._socket.writableLength ?? 0) > WAITING / 4)
  // After its FIN a reset is not read, and the write fails first.
  socket.end()
  await until(() => ofServer?.readyState !== WebSocket.OPEN)
  socket.resetAndDestroy()
  await until(() => app.connections.channelCount === 0)
  t.equal(app.connections.count, 0)
})
