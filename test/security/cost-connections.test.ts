import { execFileSync } from 'node:child_process'
import { connect as connectTcp, type Socket } from 'node:net'
import t from 'tap'
import { connect, refusal, until } from '../helper.ts'
import { frame, openRaw, upgradeHead } from '../raw-websocket.ts'
import { startRedis } from '../redis.ts'
import { routesWith, startProbed, type Holding, type Probed } from './probed.ts'

const CLOSE = 8
const FILES = 150
const CLIENTS = 400

t.test(`a process at its limit of ${FILES} open files, with MAX_CONNECTIONS far above it: none over it gets in, those in are served, and it takes new ones within 1 s when it can`, async (t) => {
  const { child, port, wsUrl, errors, probe } = await startProbed(t, { MAX_CONNECTIONS: '10000' })
  const healthy = await connect(t, wsUrl)
  execFileSync('prlimit', ['--pid', String(child.pid), `--nofile=${FILES}:${FILES}`])
  const sockets: Socket[] = []
  let [accepted, refused] = [0, 0]
  for (let count = 0; count < CLIENTS; count++) {
    const socket = connectTcp(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    sockets.push(socket)
    socket.on('error', () => {}).on('close', () => refused++).once('data', () => accepted++)
    socket.write(upgradeHead('/ws?channel=attack'))
  }
  await until(() => accepted + refused >= CLIENTS)
  const cut = refused
  t.ok(accepted < FILES && cut > CLIENTS - FILES, `${accepted} accepted`)
  healthy.ws.send('alive')
  t.same(await healthy.hears(1), ['alive'])
  for (const socket of sockets) socket.destroy()
  const from = performance.now()
  await until(async () => (await refusal(wsUrl).catch(() => ({ status: 0 }))).status === 101)
  const ms = performance.now() - from
  t.comment(`${FILES} open files at most: ${accepted} of ${CLIENTS} accepted, ${cut} cut; takes new ones ${ms.toFixed(0)} ms of 1000 after they have gone`)
  t.ok(ms <= 1000)
  await until(async () => (await probe()).connections === 1)
  t.same(errors(), [])
})

t.test('MAX_CONNECTIONS under a rush of 400: 0 over the cap accepted, the others 503, and it takes new ones within 1 s after some have gone', async (t) => {
  const { port, wsUrl, errors, probe } = await startProbed(t, { MAX_CONNECTIONS: '100', ROUTES_DIR: routesWith(t, slowHook(20)) })
  const results = await Promise.allSettled(Array.from({ length: CLIENTS }, () => openRaw(t, port)))
  const open = results.filter((result) => result.status === 'fulfilled').map(({ value }) => value)
  const answers = results.filter((result) => result.status === 'rejected').map(({ reason }) => (reason as Error).message)
  t.equal(open.length, 100)
  t.ok(answers.every((answer) => /^HTTP\/1.1 503[^]*FANFARE_FULL/.test(answer)), 'the others are told why')
  for (const { socket } of open.slice(0, 10)) socket.destroy()
  const from = performance.now()
  await until(async () => (await refusal(wsUrl)).status === 101)
  const ms = performance.now() - from
  t.comment(`MAX_CONNECTIONS 100, ${CLIENTS} at once with an async hook: ${open.length} accepted, ${answers.length} answered 503; takes new ones after ${ms.toFixed(0)} ms of 1000`)
  t.ok(ms <= 1000)
  await until(async () => (await probe()).connections === 90)
  t.same(errors(), [])
})

/** A plugin whose hook takes so many milliseconds to say who may connect. */
function slowHook (ms: number): string {
  return `import { setTimeout as wait } from 'node:timers/promises'
    export default async function hook (app) {
      let asked = 0
      app.connections.addHook('onConnect', async () => {
        asked++
        await wait(${ms})
      })
      app.get('/asked', () => ({ asked }))
    }`
}

/** What must be as it was. Which sockets of the test are still kept alive is not up to the server. */
function countsOf ({ connections, channels, waitingBytes, fds, resources }: Holding): object {
  return { connections, channels, waitingBytes, fds, resources }
}

/** Waits until it holds what it held, and resolves with how that is now. */
async function backTo (baseline: object, { probe }: Probed): Promise<Holding> {
  let now = await probe(true)
  const wanted = JSON.stringify(baseline)
  const latest = performance.now() + 15_000
  await until(async () => {
    now = await probe(true)
    return JSON.stringify(countsOf(now)) === wanted || performance.now() > latest
  })
  return now
}

t.test('1,000 TCP resets during an async onConnect hook, of WebSockets and event streams: 0 crashes, open files at baseline', async (t) => {
  const server = await startProbed(t, { ROUTES_DIR: routesWith(t, slowHook(150)) })
  const { port, url, errors, child } = server
  const attack = async (count: number): Promise<void> => {
    await Promise.all(Array.from({ length: count }, (_, index) => new Promise<void>((resolve) => {
      const socket = connectTcp(port, '127.0.0.1')
      socket.on('error', () => {}).on('close', resolve).resume()
      socket.once('connect', () => {
        socket.write(index % 2 ? upgradeHead('/ws?channel=a') : 'GET /sse?channel=a HTTP/1.1\r\nHost: a\r\n\r\n')
        setTimeout(() => socket.resetAndDestroy(), index * 300 / count)
      })
    })))
  }
  const { resources: { Timeout: fresh = 0 } } = await server.probe(true)
  await attack(20)
  // Hooks that still look at somebody have timers, and are no connections.
  await until(async () => {
    const { connections, resources } = await server.probe(true)
    return connections === 0 && (resources.Timeout ?? 0) <= fresh
  })
  const baseline = countsOf(await server.probe(true))
  await attack(1000)
  const after = countsOf(await backTo(baseline, server))
  const { asked } = await (await fetch(`${url}/asked`)).json() as { asked: number }
  t.comment(`1,000 resets, ${asked - 20} of them after the hook was asked: ${JSON.stringify(after)}`)
  t.ok(asked > 500, 'they were cut while the hook was asked')
  t.same(after, baseline)
  t.same([child.exitCode, errors()], [null, []])
})

const TOTAL = 100_000
const AT_ONCE = 50

/** Connects and disconnects in every way; a fifth of them without a word, half of those before they were answered. */
async function comeAndGo (port: number, index: number): Promise<void> {
  const path = `channel=c${index}&channel=d${index % 7}`
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true })
  const gone = new Promise((resolve) => socket.on('close', resolve))
  socket.on('error', () => {})
  const isStream = index % 10 === 9
  socket.write(isStream ? `GET /sse?${path} HTTP/1.1\r\nHost: a\r\n\r\n` : upgradeHead(`/ws?${path}`))
  if (index % 10 === 4) socket.once('connect', () => socket.resetAndDestroy())
  else {
    socket.once('data', () => {
      if (index % 10 === 5) socket.resetAndDestroy()
      else if (isStream) socket.destroy()
      else socket.write(frame({ opcode: CLOSE, payload: Buffer.from([3, 232]) }))
    })
    socket.on('end', () => socket.end())
  }
  await gone
}

t.test('100,000 connects and disconnects, a fifth of them aborted: connections, channels, timers, files, Redis subscriptions exactly at baseline, heap + 5 % at most', { timeout: 600_000 }, async (t) => {
  const redis = await startRedis(t)
  const server = await startProbed(t, { REDIS_URL: redis.url })
  const rush = async (count: number): Promise<void> => {
    let next = 0
    await Promise.all(Array.from({ length: AT_ONCE }, async () => { while (next < count) await comeAndGo(server.port, next++) }))
  }
  // Counted there: the names of 100,000 channels are more than a command line passes on.
  const countInRedis = (...command: string[]): number => Number(redis.cli('eval', `return #redis.call(${command.map((word) => `'${word}'`).join()})`, '0'))
  const inRedis = (): object => ({
    subscriptions: countInRedis('pubsub', 'channels'),
    presences: countInRedis('keys', '*:members'),
    clients: redis.cli('client', 'list').split('\n').length
  })
  const redisBaseline = inRedis()
  // A node goes on hearing a channel for some seconds after the last one has left.
  const redisIsBack = async (): Promise<void> => until(() => JSON.stringify(inRedis()) === JSON.stringify(redisBaseline))
  await rush(2000)
  await redisIsBack()
  const settled = await server.probe(true)
  const baseline = countsOf(settled)
  const from = performance.now()
  await rush(TOTAL)
  const seconds = (performance.now() - from) / 1000
  await redisIsBack()
  const after = await backTo(baseline, server)
  t.comment(`${TOTAL} connects and disconnects in ${seconds.toFixed(1)} s: ${JSON.stringify(countsOf(after))}; Redis ${JSON.stringify(inRedis())}`)
  t.comment(`heap ${(settled.heapUsed / 1_048_576).toFixed(1)} MiB before, ${(after.heapUsed / 1_048_576).toFixed(1)} MiB after (${((after.heapUsed / settled.heapUsed - 1) * 100).toFixed(1)} % of 5 %)`)
  t.same(countsOf(after), baseline)
  t.same(inRedis(), redisBaseline)
  t.ok(after.heapUsed <= settled.heapUsed * 1.05)
  t.same(server.errors(), [])
})
