import { get, type IncomingMessage } from 'node:http'
import { Centrifuge, type Options } from 'centrifuge'
import { Centrifuge as InProtobuf } from 'centrifuge/build/protobuf'
import t, { type Test } from 'tap'
import { connect, start, until } from '../../helper.ts'
import { startTwoNodes } from '../../reliability/nodes.ts'
import { apiOf } from '../../routes/api-client.ts'
import { EventStreamParser } from '../../sse-client.ts'
import { SECRET, secondsFromNow, startSecure, tokenOf } from '../../tokens.ts'
import { next, type Told } from './client.ts'
import { emulate, Lines } from './lines.ts'

// `fetch` keeps a connection that it has opened for a request that was given up, and a closing server would wait for its first one.
const SERVER = { forceCloseConnections: true }

/** What a browser has, on the parser of these tests. */
class EventSource extends EventStreamParser {
  onopen?: () => void
  onerror?: (error: unknown) => void
  onmessage?: (event: { data: string }) => void
  readonly #request

  constructor (url: string) {
    super()
    this.#request = get(url, { agent: false }, (response: IncomingMessage) => {
      this.onopen?.()
      response.on('data', (chunk: Buffer) => {
        this.add(String(chunk))
        for (const event of this.events.splice(0)) this.onmessage?.(event)
      }).on('error', () => {}).on('close', () => this.onerror?.('closed'))
    }).on('error', (error) => this.onerror?.(error))
  }

  close (): void {
    this.onerror = () => {}
    this.#request.destroy()
  }
}

/** The official client over a stream, whose commands go to another node if one is named. It is not connected yet. */
function official (t: Test, Client: typeof Centrifuge | typeof InProtobuf, transport: 'http_stream' | 'sse', url: string, { sendTo = url, ...options }: Partial<Options> & { sendTo?: string } = {}): Centrifuge {
  // Both have the same methods.
  const client = new (Client as typeof Centrifuge)([{ transport, endpoint: `${url}/connection/${transport}` }], { emulationEndpoint: `${sendTo}/emulation`, eventsource: EventSource, fetch, readableStream: ReadableStream, minReconnectDelay: 20, maxReconnectDelay: 100, ...options })
  t.teardown(() => client.disconnect())
  return client
}

const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const clients = [
  ['JSON over http_stream', Centrifuge, 'http_stream', (value: unknown): unknown => value, (data: unknown): unknown => data, 'json'],
  ['JSON over SSE', Centrifuge, 'sse', (value: unknown): unknown => value, (data: unknown): unknown => data, 'json'],
  ['Protobuf over http_stream', InProtobuf, 'http_stream', bytesOf, (data: unknown): unknown => JSON.parse(Buffer.from(data as Uint8Array).toString()), 'protobuf']
] as const

for (const [name, Client, transport, written, read, protocol] of clients) {
  t.test(`the official client, in ${name}: commands, publications, pings, and the end`, async (t) => {
    const { app, url, wsUrl } = await startSecure(t, { pingInterval: 0.5, pongTimeout: 0.4, channels: [{ match: '**', allow: { publish: 'everyone', subscribe: 'everyone', presence: 'everyone', history: 'everyone' } }] }, SERVER)
    const callers: unknown[] = []
    app.connections.addHook('onConnect', ({ caller: { transport, protocol } }) => { callers.push({ transport, protocol }) })
    app.connections.rpc('double', (data) => Number(data) * 2)
    const client = official(t, Client, transport, url, { token: await tokenOf({ sub: 'ada' }) })
    const subscription = client.newSubscription('a')
    subscription.subscribe()
    client.connect()
    await subscription.ready()
    t.strictSame(callers, [{ transport, protocol }])
    const heard = next<Told>(subscription, 'publication')
    await subscription.publish(written({ text: 'two\nlines' }))
    const { data, offset, info } = await heard
    t.strictSame([read(data), offset, info.user], [{ text: 'two\nlines' }, 1, 'ada'])
    t.match(await subscription.presenceStats(), { numClients: 1, numUsers: 1 })
    t.strictSame(read((await client.rpc('double', written(21))).data), 42)
    await t.rejects(client.publish('x'.repeat(256), written(1)), { code: 107 })

    const plain = await connect(t, `${wsUrl}?channel=a&token=${await tokenOf({ sub: 'bob' })}`)
    const fromPlain = next<Told>(subscription, 'publication')
    plain.ws.send('{"from":"plain"}')
    t.strictSame(read((await fromPlain).data), { from: 'plain' })
    // Three pings, each of which closes who does not answer.
    let pings = 0
    client.on('error', ({ error }) => t.fail(`${error.code} ${error.message}`))
    const [connection] = (app.connections as unknown as { here (): { connections: Map<string, { peer: { user: string }, transport: { ping (): void } }> } }).here().connections.values()
    const { transport: stream } = connection as { transport: { ping (): void } }
    const ping = stream.ping.bind(stream)
    stream.ping = () => { pings++; ping() }
    await until(() => pings === 3)
    t.equal(client.state, 'connected')

    const ended = next<Told>(client, 'disconnected')
    await app.connections.disconnect({ user: 'ada' })
    t.match(await ended, { code: 3503, reason: 'force disconnect' })
    await until(() => app.connections.count === 1)
  })

  t.test(`${name}: who is cut comes back, and gets what it missed`, async (t) => {
    const { app, url } = await start(t, {}, SERVER)
    const client = official(t, Client, transport, url)
    const subscription = client.newSubscription('a')
    const heard: unknown[] = []
    subscription.on('publication', ({ data }) => heard.push(read(data)))
    subscription.subscribe()
    client.connect()
    await subscription.ready()
    const again = next<Told>(subscription, 'subscribed')
    await app.connections.disconnect({ channel: 'a' }, { code: 3000, reason: 'come back' })
    await app.connections.publish('a', 1)
    await app.connections.publish('a', 2)
    t.match(await again, { wasRecovering: true, recovered: true })
    await until(() => heard.length === 2)
    t.strictSame(heard, [1, 2])
  })
}

t.test('two nodes: commands reach the session on whatever node they come to', async (t) => {
  const { nodes: [one, two] } = await startTwoNodes(t)
  await until(async () => ((await apiOf(two.url)('info')).nodes as unknown[]).length === 2)
  for (const [name, Client, transport, written, read] of clients) {
    const client = official(t, Client, transport, one.url, { sendTo: two.url })
    const subscription = client.newSubscription(name)
    const heard: unknown[] = []
    subscription.on('publication', ({ data }) => heard.push(read(data)))
    subscription.subscribe()
    client.connect()
    await subscription.ready()
    for (let data = 1; data <= 20; data++) await subscription.publish(written(data))
    await until(() => heard.length === 20)
    t.strictSame(heard, Array.from({ length: 20 }, (_, index) => index + 1), name)
    client.disconnect()
  }
})

t.test('a session is of the node that its client was told, and ends with its stream', async (t) => {
  const { app, url } = await start(t, {}, SERVER)
  const stream = await Lines.open(t, url, [{ id: 1, connect: {} }, { id: 2, subscribe: { channel: 'a' } }])
  const { session, node } = await stream.connected()
  t.equal(await stream.say({ id: 3, publish: { channel: 'a', data: 1 } }), 204)
  t.match(await stream.finds(({ push }) => push), { push: { channel: 'a', pub: { data: 1 } } })
  t.not(session, stream.told[0]?.connect.client, 'nobody who sees the client in presence knows it')
  t.equal((await emulate(url, { session: 'unknown', node, data: '{"id":1,"publish":{"channel":"a","data":2}}' })).status, 204, 'a session that has ended: its client knows')
  t.match(await (await emulate(url, { session, node: 'unknown', data: '{}' })).json(), { statusCode: 404, code: 'FANFARE_NO_NODE' })
  for (const body of ['{', '[]', '{"session":"x"}', '{"session":1,"node":"x","data":"{}"}', 'null', '']) {
    t.match(await (await emulate(url, body)).json(), { statusCode: 400, code: 'FANFARE_BAD_EMULATION' }, body)
  }
  t.equal((await emulate(url, Buffer.from([0xff, 1]).toString('latin1'), { headers: { 'content-type': 'application/octet-stream' } })).status, 400)
  stream.leave()
  await until(() => app.connections.count === 0)
  t.equal((await emulate(url, { session, node, data: '{"id":4,"publish":{"channel":"a","data":3}}' })).status, 204)
  t.equal((await app.connections.position('a')).offset, 1, 'what comes too late is not published')
})

t.test('the end of a stream says why, in the words of the protocol', async (t) => {
  const { app, url } = await startSecure(t, {}, SERVER)
  const cases: [object[], object][] = [
    [[{ id: 1, connect: {} }], { code: 3501, reason: /token/ }],
    [[{ id: 1, connect: { token: 'x' } }], { code: 3500 }],
    [[{ id: 1, subscribe: { channel: 'a' } }], { code: 3501, reason: /connect comes first/ }],
    [[], { code: 3501 }],
    [[{ id: 1, connect: { token: await tokenOf({ sub: 'ada' }) } }, { send: { data: 1 } }], { code: 3508 }]
  ]
  for (const [commands, disconnect] of cases) {
    const stream = await Lines.open(t, url, commands)
    await stream.ended
    t.match(stream.told.at(-1), { push: { disconnect } }, JSON.stringify(disconnect))
  }
  const expired = await Lines.open(t, url, [{ id: 1, connect: { token: await tokenOf({ sub: 'ada', exp: secondsFromNow(-60) }) } }])
  t.match(await expired.finds(({ error }) => error), { id: 1, error: { code: 109 } })
  expired.leave()
  const withHeader = await Lines.open(t, url, [{ id: 1, connect: {} }], { authorization: `Bearer ${await tokenOf({ sub: 'bob' })}` })
  t.ok(await withHeader.connected(), 'a token of the request')
  await t.rejects(Lines.open(t, url, [{ id: 1, connect: {} }], { authorization: 'Bearer x' }), { message: /^answered 401/ })
  withHeader.leave()
  await until(() => app.connections.count === 0)
})

t.test('hooks see the headers of the request that begins a stream; they saw none', async (t) => {
  const { app, url } = await start(t, {}, SERVER)
  const seen: unknown[] = []
  app.connections.addHook('onConnect', ({ headers }) => { seen.push(headers['x-key']) })
  const stream = await Lines.open(t, url, [{ id: 1, connect: {} }], { 'x-key': 'right' })
  t.ok(await stream.connected())
  t.strictSame(seen, ['right'])
  stream.leave()
  await until(() => app.connections.count === 0)
})

t.test('MAX_MESSAGE_BYTES, MESSAGE_RATE and limits of connections hold for streams, too', async (t) => {
  const { app, url } = await start(t, { maxMessageBytes: 2000, messageRate: 20, maxBufferedBytes: 65_536, maxConnections: 2 }, SERVER)
  const tooLong = { id: 2, publish: { channel: 'a', data: 'x'.repeat(2000) } }
  await t.rejects(Lines.open(t, url, [{ id: 1, connect: {} }, tooLong]), { message: /^answered 413/ })
  t.equal((await fetch(`${url}/connection/sse?cf_connect=${'x'.repeat(2001)}`)).status, 413)
  const stream = await Lines.open(t, url, [{ id: 1, connect: {} }])
  t.equal(await stream.say(tooLong), 413)
  t.equal(await stream.say({ id: 2, publish: { channel: 'a', data: '"'.repeat(900) } }), 204, 'what JSON makes longer still fits')

  const from = performance.now()
  const statuses = await Promise.all(Array.from({ length: 300 }, (_, id) => stream.say({ id: id + 10, publish: { channel: 'b', data: id } })))
  const taken = statuses.filter((status) => status === 204).length
  t.ok(taken >= 20 && taken < 300 && statuses.every((status) => status === 204 || status === 429), `${taken} of 300 commands were taken, the others answered 429`)
  const { offset } = await app.connections.position('b')
  t.ok(offset <= 21 + 20 * (performance.now() - from) / 1000, 'and those wait their turn')
  const second = await Lines.open(t, url, [{ id: 1, connect: {} }])
  await t.rejects(Lines.open(t, url, [{ id: 1, connect: {} }]), { message: /^answered 503/ })
  second.leave()
  stream.leave()
  await until(() => app.connections.count === 0)
})

t.test('pages of other origins: those that are allowed may call, also with cookies; of others nothing is taken', async (t) => {
  const { app, url } = await start(t, { tokenHmacSecret: SECRET, tokenCookie: 'session', allowedOrigins: ['https://app.example'] }, SERVER)
  const cookie = `session=${await tokenOf({ sub: 'ada' })}`
  const origin = 'https://app.example'
  for (const path of ['/connection/http_stream', '/connection/sse', '/emulation']) {
    const preflight = await fetch(url + path, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,x-own' } })
    t.equal(preflight.status, 204)
    t.match(Object.fromEntries(preflight.headers), { 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true', 'access-control-allow-headers': 'content-type,x-own', vary: 'Origin' })
    t.equal((await fetch(url + path, { method: 'OPTIONS', headers: { origin: 'https://evil.example' } })).status, 403)
    t.match(await (await fetch(url + path, { method: 'POST', headers: { origin: 'https://evil.example', cookie }, body: '{"id":1,"connect":{}}' })).json(), { statusCode: 403, code: 'FANFARE_ORIGIN_REFUSED' })
  }
  const stream = await Lines.open(t, url, [{ id: 1, connect: {} }], { origin, cookie })
  await stream.connected()
  t.equal(app.connections.count, 1)
  t.match(await app.connections.disconnect({ user: 'ada' }), 1)
})

t.test('a stopping node tells streams to come back', async (t) => {
  const { app, url } = await start(t, {}, SERVER)
  const [lines, source] = [await Lines.open(t, url, [{ id: 1, connect: {} }]), new EventSource(`${url}/connection/sse?cf_connect=${encodeURIComponent('{"id":1,"connect":{}}')}`)]
  t.teardown(() => source.close())
  const heard: Told[] = []
  source.onmessage = ({ data }) => heard.push(JSON.parse(data) as Told)
  await lines.connected()
  await until(() => heard.length === 1)
  await Promise.all([app.close(), lines.ended])
  await until(() => heard.length === 2)
  const end = { push: { disconnect: { code: 1012, reason: 'server restarting' } } }
  t.strictSame([lines.told.at(-1), heard.at(-1)], [end, end])
})
