import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { connect, connectMany, refusal, stopwatch, until, type Client } from './helper.ts'
import { bare, startCovered, startProcess } from './process.ts'

interface Ready { status: string, connections: number, channels: number }

const readiness = async (url: string): Promise<Ready> => (await fetch(`${url}/health/ready`)).json() as Promise<Ready>

/** A client in a process of its own, which can be frozen. */
async function clientProcess (t: Test, wsUrl: string): Promise<ReturnType<typeof spawn>> {
  const child = spawn(...bare(process.execPath, ['-e', `new (require('ws').WebSocket)('${wsUrl}').on('open', () => console.log('open'))`]), { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

t.test('1,000 connections, 100 killed by RST in a broadcast of 1,000 messages: the others get all in order, the count is exact, no error is logged', { timeout: 400_000 }, async (t) => {
  const { url, wsUrl, output } = await startProcess(t, { COMPRESSION: 'off' })
  const clients = await connectMany(t, wsUrl, 1000)
  const killed = clients.filter((_, index) => index % 10 === 3)
  const others = clients.filter((_, index) => index % 10 !== 3)
  const sender = others[0] as Client
  for (let number = 0; number < 1000; number++) {
    sender.ws.send(String(number))
    if (number % 10 === 5) (killed[number / 10 | 0] as unknown as { ws: { _socket: Socket } }).ws._socket.resetAndDestroy()
    if (number % 50 === 0) await new Promise(setImmediate)
  }
  const expected = Array.from({ length: 1000 }, (_, number) => String(number))
  await Promise.all(others.map((client) => client.hears(1000)))
  let wrong = 0
  for (const { texts } of others) if (texts.join() !== expected.join()) wrong++
  t.equal(wrong, 0, 'of 900 receivers missed or reordered a message')
  await until(async () => (await readiness(url)).connections === 900)
  t.equal(output().split('\n').filter((line) => line.includes('"level":50')).length, 0, 'errors logged')
})

t.test('a client frozen with SIGSTOP is gone within PING_INTERVAL + PONG_TIMEOUT + 1 s', async (t) => {
  const { url, wsUrl } = await startProcess(t, { PING_INTERVAL: '2', PONG_TIMEOUT: '1' })
  await connect(t, wsUrl)
  const frozen = await clientProcess(t, wsUrl)
  await until(async () => (await readiness(url)).connections === 2)
  frozen.kill('SIGSTOP')
  const from = performance.now()
  await until(async () => (await readiness(url)).connections === 1)
  const seconds = (performance.now() - from) / 1000
  t.ok(seconds < 4, `gone after ${seconds.toFixed(1)} s of 4.0 s`)
})

t.test('SIGTERM with 100 live clients and a stopped one: 100 get 1012, readiness 503 within 100 ms, exit 0 within DRAIN_TIMEOUT + 2 s', async (t) => {
  const { child, exit, url, wsUrl } = await startCovered(t, { DRAIN_TIMEOUT: '2' })
  const clients = await connectMany(t, wsUrl, 100)
  const frozen = await clientProcess(t, wsUrl)
  frozen.kill('SIGSTOP')
  const closes = Promise.all(clients.map((client) => client.closed()))
  const from = performance.now()
  const sinceSignal = stopwatch()
  child.kill('SIGTERM')
  await until(async () => (await fetch(`${url}/health/ready`).catch(() => ({ status: 503 }))).status === 503)
  const unready = sinceSignal()
  t.ok(unready < 100, `readiness says 503 after ${unready.toFixed(0)} ms`)
  t.equal((await refusal(wsUrl).catch(() => ({ status: 503 }))).status, 503, 'no new connections')
  t.same(await closes, Array(100).fill({ code: 1012, reason: 'server restarting' }))
  t.ok(performance.now() - from < 1000, 'few clients are closed at once')
  t.equal(await exit, 0)
  const seconds = (performance.now() - from) / 1000
  t.ok(seconds < 4, `exit after ${seconds.toFixed(1)} s of 4.0 s`)
})

t.test('many clients are closed spread over the drain, and SIGINT is like SIGTERM', async (t) => {
  const { child, exit, wsUrl } = await startProcess(t, { DRAIN_TIMEOUT: '3' })
  const clients = await connectMany(t, wsUrl, 400)
  const from = performance.now()
  const closes = Promise.all(clients.map(async (client) => {
    t.equal((await client.closed()).code, 1012)
    return performance.now() - from
  }))
  child.kill('SIGINT')
  const times = await closes
  t.ok(Math.max(...times) - Math.min(...times) > 1000, `spread over ${(Math.max(...times) - Math.min(...times)).toFixed(0)} ms`)
  t.equal(await exit, 0)
})

const SLOW_ROUTES = `
import { setTimeout } from 'node:timers/promises'
export default async (app) => {
  app.post('/slow', async () => {
    app.log.info('asked')
    while (!app.connections.stopping) await setTimeout(5)
    await setTimeout(300)
    return 'answered'
  })
  app.post('/never', () => {
    app.log.warn('asked')
    return new Promise(() => {})
  })
}
`

t.test('SIGTERM while a request is being handled and nobody is connected: it is answered first, it was cut', async (t) => {
  const { child, exit, url, output } = await startProcess(t, { ROUTES_DIR: t.testdir({ 'slow.mjs': SLOW_ROUTES }) })
  const answer = fetch(`${url}/slow`, { method: 'POST' })
  await until(() => output().includes('asked'))
  child.kill('SIGTERM')
  t.equal(await (await answer).text(), 'answered')
  t.equal(await exit, 0)
})

t.test('a request that is never answered is cut when DRAIN_TIMEOUT is over', async (t) => {
  const { child, exit, url, output } = await startCovered(t, { DRAIN_TIMEOUT: '1', ROUTES_DIR: t.testdir({ 'slow.mjs': SLOW_ROUTES }) })
  const answer = fetch(`${url}/never`, { method: 'POST' })
  await until(() => output().includes('asked'))
  const from = performance.now()
  child.kill('SIGTERM')
  await t.rejects(answer)
  t.equal(await exit, 0)
  const seconds = (performance.now() - from) / 1000
  t.ok(seconds < 3, `exit after ${seconds.toFixed(1)} s of 3.0 s`)
})

t.test('who has left behind requests, or a stream, does not hold up the stop: it took all of DRAIN_TIMEOUT', async (t) => {
  const { child, exit, url, output } = await startProcess(t, { LOG_LEVEL: 'warn', ROUTES_DIR: t.testdir({ 'slow.mjs': SLOW_ROUTES }) })
  const { hostname, port } = new URL(url)
  const says = (text: string): Socket => connectTcp(Number(port), hostname).on('error', () => {}).resume().setNoDelay().once('connect', function (this: Socket) { this.write(text) })
  const request = (line: string): string => `${line} HTTP/1.1\r\nHost: a\r\n\r\n`
  const waiting = says(request('POST /never').repeat(3))
  await until(() => output().split('asked').length > 3)
  waiting.resetAndDestroy()
  const streaming = says(request('GET /sse?channel=a'))
  await until(async () => (await readiness(url)).connections === 1)
  streaming.resetAndDestroy()
  // The last of these is no request: the server ends it, and never gets to answer all of those before.
  await once(says(`${request('GET /health/live').repeat(100)}no request\r\n\r\n`), 'close')
  await until(async () => (await readiness(url)).connections === 0)
  const from = performance.now()
  child.kill('SIGTERM')
  t.equal(await exit, 0)
  const seconds = (performance.now() - from) / 1000
  t.ok(seconds < 2, `exit after ${seconds.toFixed(1)} s of 2.0 s`)
})

t.test('a second signal ends the process at once', async (t) => {
  const { child, exit, wsUrl } = await startCovered(t, { DRAIN_TIMEOUT: '30' })
  const frozen = await clientProcess(t, wsUrl)
  frozen.kill('SIGSTOP')
  const other = await connect(t, wsUrl)
  const closed = other.closed()
  child.kill('SIGTERM')
  await closed
  const from = performance.now()
  child.kill('SIGTERM')
  t.not(await exit, 0)
  t.ok(performance.now() - from < 1000)
})
