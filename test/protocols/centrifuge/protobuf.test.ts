import { once } from 'node:events'
import { Centrifuge, type Options } from 'centrifuge/build/protobuf'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { Client, connect, start, until } from '../../helper.ts'
import { secondsFromNow, startSecure, tokenOf } from '../../tokens.ts'
import { addressOf, greet, next, type Told } from './client.ts'

const EMPTY = Buffer.from([0])

function official (t: Test, wsUrl: string, options: Partial<Options> = {}): Centrifuge {
  const client = new Centrifuge(addressOf(wsUrl), { websocket: WebSocket, minReconnectDelay: 20, maxReconnectDelay: 100, ...options })
  t.teardown(() => client.disconnect())
  return client
}

function bytes (value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

function valueOf (data: Uint8Array): unknown {
  return JSON.parse(Buffer.from(data).toString())
}

t.test('the official client in Protobuf: all commands', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  app.connections.rpc('double', (data, caller) => ({ double: Number(data) * 2, protocol: caller?.protocol }))
  const client = official(t, wsUrl, { token: await tokenOf({ sub: 'ada', info: { name: 'Ada' } }), data: bytes({ lang: 'de' }) })
  const seen: unknown[] = []
  app.connections.addHook('onConnect', ({ data, caller: { protocol } }) => { seen.push({ data, protocol }) })
  client.connect()
  const subscription = client.newSubscription('a')
  const subscribed = next<Told>(subscription, 'subscribed')
  subscription.subscribe()
  t.match(await subscribed, { recoverable: true, positioned: true, streamPosition: { offset: 0, epoch: String } })
  t.strictSame(seen, [{ data: { lang: 'de' }, protocol: 'protobuf' }])
  const heard = next<Told>(subscription, 'publication')
  await subscription.publish(bytes({ n: 1 }))
  const { data, info, offset } = await heard
  t.strictSame([valueOf(data), info.user, valueOf(info.connInfo), offset], [{ n: 1 }, 'ada', { name: 'Ada' }, 1])
  await subscription.publish(Buffer.from([0, 255, 128]))
  const { publications } = await subscription.history({ limit: 10 })
  t.strictSame(publications.map(({ data }) => Buffer.from(data).toString('hex')), [Buffer.from(bytes({ n: 1 })).toString('hex'), '00ff80'])
  t.match(await subscription.presenceStats(), { numClients: 1, numUsers: 1 })
  t.match(Object.values((await subscription.presence()).clients), [{ user: 'ada' }])
  t.strictSame(valueOf((await client.rpc('double', bytes(21))).data), { double: 42, protocol: 'protobuf' })
  await t.rejects(client.rpc('unknown', bytes(1)), { code: 104 })
  await t.rejects(client.publish('b', bytes(1)), { code: 103 })
  const ended = next<Told>(subscription, 'unsubscribed')
  await app.connections.removeFrom('a', { user: 'ada' })
  t.match(await ended, { code: 2000, reason: 'server unsubscribe' })
})

t.test('clients of all three protocols hear each other', async (t) => {
  const { app, wsUrl } = await start(t)
  const plain = await connect(t, `${wsUrl}?channel=a`)
  const json = await greet(t, wsUrl)
  await json.ask({ subscribe: { channel: 'a' } })
  const client = official(t, wsUrl)
  const heard: string[] = []
  const subscription = client.newSubscription('a')
  subscription.on('publication', ({ data }) => heard.push(Buffer.from(data).toString()))
  subscription.subscribe()
  client.connect()
  await subscription.ready()
  plain.ws.send('hello')
  await plain.hears(1)
  await json.ask({ publish: { channel: 'a', data: { n: 2 } } })
  await subscription.publish(bytes({ n: 3 }))
  await subscription.publish(Buffer.from([0xff]))
  await app.connections.publish('a', { n: 5 })
  await until(() => heard.length === 5)
  t.strictSame(heard, ['hello', '{"n":2}', '{"n":3}', '\ufffd', '{"n":5}'])
  await json.finds(({ heardData }) => heardData.length === 5 || undefined)
  t.strictSame(json.heardData, ['hello', { n: 2 }, { n: 3 }, '/w==', { n: 5 }])
  t.strictSame((await plain.hears(5)).filter((_, index) => index !== 3), ['hello', '{"n":2}', '{"n":3}', '{"n":5}'])
  t.strictSame(plain.heard[3], { data: Buffer.from([0xff]), binary: true })
})

t.test('recovery, channels of the token, and new tokens by themselves', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  let tokens = 0
  const getToken = async (): Promise<string> => {
    tokens++
    return tokenOf({ sub: 'ada', channels: ['news'], exp: secondsFromNow(5) })
  }
  const client = official(t, wsUrl, { getToken })
  const [heard, contexts]: [unknown[], Told[]] = [[], []]
  client.on('publication', ({ data }) => heard.push(valueOf(data)))
  client.on('subscribed', ({ channel, wasRecovering, recovered }) => contexts.push({ channel, wasRecovering, recovered }))
  client.connect()
  await client.ready()
  await app.connections.publish('news', 1)
  await until(() => heard.length === 1)
  client.disconnect()
  await until(() => app.connections.count === 0)
  for (let data = 2; data <= 50; data++) await app.connections.publish('news', data)
  client.connect()
  await until(() => heard.length === 50)
  t.strictSame(heard, Array.from({ length: 50 }, (_, index) => index + 1))
  t.strictSame(contexts, [{ channel: 'news', wasRecovering: false, recovered: false }, { channel: 'news', wasRecovering: true, recovered: true }])
  const before = tokens
  await until(() => tokens >= before + 2)
  t.equal(client.state, 'connected')
})

t.test('compression, and pings of one byte', async (t) => {
  const { app, wsUrl } = await start(t, { pingInterval: 0.2, pongTimeout: 0.1 })
  const client = official(t, wsUrl)
  const subscription = client.newSubscription('a')
  subscription.subscribe()
  client.connect()
  await subscription.ready()
  const silent = new Client(addressOf(wsUrl) + '?cf_protocol=protobuf')
  t.teardown(() => silent.ws.terminate())
  await once(silent.ws, 'open')
  // id 1, connect without anything.
  silent.ws.send(Buffer.from([4, 8, 1, 34, 0]))
  t.match(await silent.closed(), { code: 3012 })
  t.match(silent.heard.at(-1), { data: EMPTY, binary: true })
  const heard = next<Told>(subscription, 'publication')
  await app.connections.publish('a', { data: 'x'.repeat(5000) })
  t.match(valueOf((await heard).data), { data: /^x{5000}$/ }, 'who answers them goes on')
})

t.test('what is no command in Protobuf closes with 3501', async (t) => {
  const { wsUrl } = await start(t)
  const bad: [string | Buffer, RegExp][] = [
    ['{"id":1,"connect":{}}', /Protobuf, each after its length/], [Buffer.alloc(0), /each after its length/], [Buffer.from([5, 8, 1]), /each after its length/], [Buffer.from([255, 255, 255, 255, 255]), /each after its length/],
    [EMPTY, /a pong without a ping/], [Buffer.from([2, 8, 1]), /a command is one of/], [Buffer.from([2, 34, 0]), /\/id must be/], [Buffer.from([3, 255, 255, 255]), /it is not Protobuf/], [Buffer.from([7, 8, 1, 42, 3, 10, 1, 97]), /connect comes first/]
  ]
  for (const [message, reason] of bad) {
    const client = new Client(addressOf(wsUrl) + '?format=protobuf')
    t.teardown(() => client.ws.terminate())
    await once(client.ws, 'open')
    client.ws.send(message)
    t.match(await client.closed(), { code: 3501, reason }, String(message.toString('hex' as BufferEncoding)).slice(0, 40))
  }
})

t.test('the subprotocol is answered, and a token beside it is not', async (t) => {
  const { wsUrl } = await startSecure(t)
  const ws = new WebSocket(addressOf(wsUrl), ['centrifuge-protobuf', `fanfare.token.${await tokenOf({ sub: 'ada' })}`])
  t.teardown(() => ws.terminate())
  await once(ws, 'open')
  t.equal(ws.protocol, 'centrifuge-protobuf')
  ws.send(Buffer.from([4, 8, 1, 34, 0]))
  const [reply, binary] = await once(ws, 'message') as [Buffer, boolean]
  t.ok(binary && reply.includes('fanfare'))
})
