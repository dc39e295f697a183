import { connect as connectTcp, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { FaultProxy } from '../fault-proxy.ts'
import { connect, refusal, start, until } from '../helper.ts'
import { greet, speak } from '../protocols/centrifuge/client.ts'
import { Lines } from '../protocols/centrifuge/lines.ts'
import { frame, openRaw } from '../raw-websocket.ts'
import { startProbed } from './probed.ts'

const SLOW = 250
const DRIP_MS = 1000
const MOST_SECONDS = 10
const TEXT = 1

// They mostly wait.
t.jobs = 3

/** A TCP connection, and after how many seconds the server has ended it. */
async function lasting (t: Test, port: number, talk: (socket: Socket) => void): Promise<number> {
  const from = performance.now()
  const socket = connectTcp(port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {}).resume().once('connect', () => talk(socket))
  await new Promise((resolve) => socket.once('close', resolve))
  return (performance.now() - from) / 1000
}

t.test('500 slow handshakes, by silence and by one byte a second: all closed within 10 s, who has no token at once, others are served meanwhile', async (t) => {
  const { port, url, wsUrl, errors, probe } = await startProbed(t, { TOKEN_HMAC_SECRET: 'a-secret-of-32-bytes-or-more-please' })
  const before = await probe()
  const silent = Array.from({ length: SLOW }, () => lasting(t, port, () => {}))
  const dripping = Array.from({ length: SLOW }, () => lasting(t, port, (socket) => {
    const text = 'GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: '.padEnd(1000, 'x')
    let at = 0
    const timer = setInterval(() => socket.write(text[at++] as string), DRIP_MS)
    socket.once('close', () => clearInterval(timer))
  }))
  await until(async () => (await probe()).fds >= before.fds + 2 * SLOW)

  const from = performance.now()
  t.match(await refusal(wsUrl), { status: 401, body: /FANFARE_TOKEN_MISSING/ })
  const toRefuse = performance.now() - from
  t.ok(toRefuse < 1000, `a WebSocket without a token is answered 401 after ${toRefuse.toFixed(0)} ms`)
  t.equal((await fetch(`${url}/hello`)).status, 200)

  const longest = [Math.max(...await Promise.all(silent)), Math.max(...await Promise.all(dripping))] as const
  t.comment(`${SLOW} silent ones closed within ${longest[0].toFixed(1)} s, ${SLOW} that send a byte a second within ${longest[1].toFixed(1)} s of ${MOST_SECONDS}; 401 after ${toRefuse.toFixed(0)} ms`)
  for (const seconds of longest) t.ok(seconds <= MOST_SECONDS, `closed after ${seconds.toFixed(1)} s`)
  await until(async () => (await probe()).fds <= before.fds + 1)
  t.same(errors(), [])
})

t.test('half the body with which a stream is asked for, and silence or a byte a second: closed within 10 s; it took 31 s', async (t) => {
  const { port, url, errors, output, probe } = await startProbed(t)
  const before = await probe()
  const asked = ['/connection/http_stream', '/connection/sse'].flatMap((path) => ([
    ['Content-Length: 100', /^HTTP\/1.1 408 [^]*FANFARE_SLOW_BODY/],
    ['Transfer-Encoding: chunked', /^HTTP\/1.1 408 [^]*FANFARE_SLOW_BODY/],
    // These are refused before.
    ['Content-Length: 100\r\nOrigin: http://evil.example', /^HTTP\/1.1 403 /],
    ['Content-Length: 70000', /^HTTP\/1.1 413 /]
  ] as const).map(([header, answer]) => ({ head: `POST ${path}?token=secret HTTP/1.1\r\nHost: 127.0.0.1\r\n${header}\r\n\r\n`, answer })))
  const seconds = await Promise.all(asked.flatMap(({ head, answer }) => [false, true].map(async (drips) => {
    let got = ''
    const lasted = await lasting(t, port, (socket) => {
      socket.on('data', (bytes) => { got += String(bytes) })
      const piece = head.includes('chunked') ? '1\r\n \r\n' : ' '
      socket.write(head + piece)
      const timer = setInterval(() => { if (drips) socket.write(piece) }, DRIP_MS)
      socket.once('close', () => clearInterval(timer))
    })
    t.match(got, answer, head)
    return lasted
  })))
  const longest = Math.max(...seconds)
  t.comment(`closed within ${longest.toFixed(1)} s of ${MOST_SECONDS}`)
  t.ok(longest <= MOST_SECONDS, `closed after ${longest.toFixed(1)} s`)
  t.notMatch(output(), /secret|ALREADY_SENT/, 'nobody is answered twice: that was logged with the token')
  const stream = await Lines.open(t, url, [{ id: 1, connect: {} }])
  await until(() => stream.told.length > 0)
  await until(async () => (await probe()).fds <= before.fds + 1)
  t.same(errors(), [])
})

t.test('connected, but never said who: closed with 3502 within 10 s; who has said so is not', async (t) => {
  const { wsUrl, errors, probe } = await startProbed(t, { TOKEN_HMAC_SECRET: 'a-secret-of-32-bytes-or-more-please', ALLOW_ANONYMOUS: 'on' })
  const said = await greet(t, wsUrl)
  const closes = await Promise.all(Array.from({ length: 100 }, async () => {
    const client = await speak(t, wsUrl)
    const from = performance.now()
    return { ...await client.closed(), seconds: (performance.now() - from) / 1000 }
  }))
  const longest = Math.max(...closes.map(({ seconds }) => seconds))
  t.comment(`100 that never said who they are: closed within ${longest.toFixed(1)} s of ${MOST_SECONDS}`)
  t.ok(closes.every(({ code, reason }) => code === 3502 && reason === 'stale'))
  t.ok(longest <= MOST_SECONDS, `closed after ${longest.toFixed(1)} s`)
  t.match(await said.ask({ unsubscribe: { channel: 'a' } }), { unsubscribe: {} })
  t.equal((await probe()).connections, 1)
  t.same(errors(), [])
})

t.test('connected, and refused: closed within 10 s; it was never closed nor pinged, and kept its place', async (t) => {
  const { app, url, wsUrl } = await start(t, {}, { forceCloseConnections: true })
  app.connections.addHook('onConnect', () => { throw Object.assign(new Error('not you'), { statusCode: 403 }) })
  const [refused, stream] = await Promise.all([greet(t, wsUrl), Lines.open(t, url, [{ id: 1, connect: {} }])])
  const from = performance.now()
  t.match(refused.greeting, { error: { code: 103 } })
  t.match(await refused.closed(), { code: 3502 })
  t.match(await stream.finds(({ push }) => push), { push: { disconnect: { code: 3502 } } })
  await until(() => app.connections.count === 0)
  const seconds = (performance.now() - from) / 1000
  t.comment(`two that were refused, and stayed: closed within ${seconds.toFixed(1)} s of ${MOST_SECONDS}`)
  t.ok(seconds <= MOST_SECONDS)
})

const halves: [string, Buffer][] = [
  ['the first byte of a frame', Buffer.from([0x81])],
  ['a header without its mask', Buffer.from([0x81, 0x80 | 126, 1, 0])],
  ['half of the data', frame({ opcode: TEXT, length: 1000n, payload: Buffer.alloc(500) })]
]

t.test('half a frame and silence: closed within 10 s, who goes on slowly is not, nor who is held back by MESSAGE_RATE', async (t) => {
  const { port, wsUrl, errors, probe } = await startProbed(t, { MESSAGE_RATE: '1', PING_INTERVAL: '86400' })
  const from = performance.now()
  const attacks = halves.map(async ([name, bytes]) => {
    const attacker = await openRaw(t, port)
    attacker.socket.write(bytes)
    const code = await attacker.closed
    return { name, code, seconds: (performance.now() - from) / 1000 }
  })
  const slow = await openRaw(t, port)
  const bytes = frame({ opcode: TEXT, payload: Buffer.from('slow one') })
  let at = 0
  const timer = setInterval(() => slow.socket.write(bytes.subarray(at, ++at)), 700)
  t.teardown(() => clearInterval(timer))
  // The last of them has come by half when reading stops.
  const held = await connect(t, `${wsUrl}?channel=held`, { perMessageDeflate: false })
  const message = frame({ opcode: TEXT, payload: Buffer.from('held') })
  const raw = (held.ws as unknown as { _socket: Socket })._socket
  raw.write(Buffer.concat([...Array(11).fill(message), message.subarray(0, 7)]))

  for (const { name, code, seconds } of await Promise.all(attacks)) {
    t.comment(`${name}, and silence: closed with ${code} after ${seconds.toFixed(1)} s of ${MOST_SECONDS}`)
    t.equal(code, 3012)
    t.ok(seconds <= MOST_SECONDS, `${name}: closed after ${seconds.toFixed(1)} s`)
  }
  raw.write(message.subarray(7))
  await held.hears(12)
  await until(() => at >= bytes.length)
  await until(() => slow.frames.some(({ payload }) => String(payload) === 'slow one'))
  t.equal((await probe()).connections, 2)
  t.same(errors(), [])
})

t.test('a peer that vanishes without a word is gone within PING_INTERVAL + PONG_TIMEOUT + 1 s, from the connections and from presence', async (t) => {
  const { port, url, errors, probe } = await startProbed(t, { PING_INTERVAL: '2', PONG_TIMEOUT: '3' })
  const network = await new FaultProxy(port).start(t)
  const staying = await connect(t, `${url.replace('http', 'ws')}/ws?channel=room`)
  await connect(t, `ws://127.0.0.1:${network.port}/ws?channel=room`)
  const present = async (): Promise<number> => (await (await fetch(`${url}/presence?channel=room`)).json() as { clients: number }).clients
  await until(async () => await present() === 2)
  network.swallowing = true
  const from = performance.now()
  const secondsUntil = async (holds: () => Promise<boolean>): Promise<number> => {
    await until(holds)
    return (performance.now() - from) / 1000
  }
  const [connection, presence] = await Promise.all([secondsUntil(async () => (await probe()).connections === 1), secondsUntil(async () => await present() === 1)])
  t.comment(`a vanished peer: its connection ended after ${connection.toFixed(1)} s, it left presence after ${presence.toFixed(1)} s of 6.0 s`)
  t.ok(Math.max(connection, presence) <= 6)
  t.equal(staying.ws.readyState, staying.ws.OPEN)
  t.same(errors(), [])
})
