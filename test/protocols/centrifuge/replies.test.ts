import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { build, connect, connectMany, listen, start, startReady, until, type Running } from '../../helper.ts'
import { openRaw } from '../../raw-websocket.ts'
import { startRedis } from '../../redis.ts'
import { SECRET, secondsFromNow, startSecure, tokenOf } from '../../tokens.ts'
import { greet, speak, type Told } from './client.ts'

const MAX_BUFFERED_BYTES = 1_048_576

/** Starts an app of which is known how many bytes wait in the fullest of its sockets. */
async function startWatched (t: Test, options: Parameters<typeof build>[1] = {}): Promise<Running & { waiting: () => number }> {
  const app = await build(t, options)
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket) => { sockets.add(socket) })
  // What was written past the stream waits in its handle.
  const waitingIn = (socket: Socket & { _handle?: { writeQueueSize: number } | null }): number => socket.writableLength + (socket._handle?.writeQueueSize ?? 0)
  return { ...await listen(app), waiting: () => Math.max(0, ...Array.from(sockets, waitingIn)) }
}

/** Resolves after so many turns of the event loop. */
async function turns (count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate)
}

t.test('200 commands in one message, of a client that does not read: replies took 100 MiB and half a second of the loop', async (t) => {
  const { app, wsUrl, waiting } = await startWatched(t)
  for (let number = 0; number < 8; number++) await app.connections.publish('big', 'x'.repeat(60_000))
  const client = await greet(t, wsUrl, {}, { perMessageDeflate: false })
  client.ws.pause()
  const ids = client.say(...Array.from({ length: 200 }, () => ({ history: { channel: 'big', limit: -1 } })))
  await until(() => waiting() > 0)
  await turns(200)
  t.ok(waiting() <= MAX_BUFFERED_BYTES, `${waiting()} bytes wait`)
  t.equal(app.connections.count, 1, 'it is not cut for its own replies')
  client.ws.resume()
  await until(() => client.told.some(({ id }) => id === ids.at(-1)))
  t.strictSame(client.told.filter(({ history }) => history).map(({ id }) => id as number), ids, 'it gets all of them when it reads')
})

t.test('who comes back to 40 channels gets what each has, in messages that it can take: one of 10 MB had it cut as slow', async (t) => {
  const { app, wsUrl, waiting } = await startWatched(t, { tokenHmacSecret: SECRET })
  const channels = Array.from({ length: 40 }, (_, number) => `c${number}`)
  for (const channel of channels) for (let number = 1; number <= 4; number++) await app.connections.publish(channel, `${number} ${'x'.repeat(60_000)}`)
  const { epoch } = await app.connections.position('c0')
  const client = await speak(t, wsUrl, '', { perMessageDeflate: false })
  client.ws.pause()
  client.say({ connect: { token: await tokenOf({ sub: 'ada', channels }), subs: Object.fromEntries(channels.map((channel) => [channel, { recover: true, offset: 0, epoch }])) } })
  await until(() => waiting() > 0)
  await turns(200)
  await app.connections.publish('c0', 'small')
  await turns(20)
  t.ok(waiting() <= MAX_BUFFERED_BYTES, `${waiting()} bytes wait`)
  client.ws.resume()
  const greeting = await client.finds(({ told }) => told.find(({ connect }) => connect))
  t.ok(client.heard[0] && client.heard[0].data.length <= MAX_BUFFERED_BYTES / 2, 'the reply is no larger than others')
  t.ok(channels.every((channel) => greeting.connect.subs[channel].recovered))
  const offsetsOf = (channel: string): number[] => [
    ...(greeting.connect.subs[channel].publications ?? []) as Told[],
    ...client.pushes.flatMap((push) => push.channel === channel && push.pub ? [push.pub as Told] : [])
  ].map(({ offset }) => offset as number)
  await until(() => channels.every((channel) => offsetsOf(channel).length >= (channel === 'c0' ? 5 : 4)))
  for (const channel of channels) t.strictSame(offsetsOf(channel), channel === 'c0' ? [1, 2, 3, 4, 5] : [1, 2, 3, 4], channel)
})

t.test('who is closed as slow while it subscribes is in no channel afterwards: it stayed there for ever', async (t) => {
  const { app, wsUrl } = await start(t, { channels: [{ match: 'fleeting', historySize: 0 }] })
  const client = await greet(t, wsUrl, {}, { perMessageDeflate: false })
  await client.ask({ subscribe: { channel: 'a' } })
  app.connections.addHook('onSubscribe', async () => {
    client.ws.pause()
    for (let number = 0; number < 200; number++) await app.connections.publish('a', 'x'.repeat(60_000))
    await turns(2)
    // Still to be delivered when it is let in.
    await app.connections.publish('a', 'too much')
  })
  client.say({ subscribe: { channel: 'fleeting' } })
  await until(() => app.connections.count === 0)
  await turns(5)
  t.same(Array.from(await app.connections.channels()), [])
  t.same(await app.connections.presence('fleeting'), [])
})

t.test('commands after a publication are answered after it, and see it', async (t) => {
  const { wsUrl } = await start(t)
  const client = await greet(t, wsUrl)
  const ids = client.say({ subscribe: { channel: 'a' } }, { publish: { channel: 'a', data: 1 } }, { history: { channel: 'a', limit: 10 } }, { publish: { channel: 'a', data: 2 } }, { unsubscribe: { channel: 'a' } }, { presence_stats: { channel: 'a' } })
  const last = await client.finds(({ told }) => told.find(({ id }) => id === ids.at(-1)))
  t.strictSame(client.told.flatMap(({ id }) => id > 1 ? [id as number] : []), ids)
  t.match(client.told.find(({ history }) => history), { history: { publications: [{ data: 1 }] } })
  t.strictSame(client.heardData, [1, 2], 'it was in the channel when it published')
  t.match(last, { presence_stats: { num_clients: 0 } })
})

t.test('who waits for a hook has said who it is: it was closed as one who had not', async (t) => {
  const { app, wsUrl } = await start(t, { hookTimeout: 20 })
  const asked = new Promise<() => void>((resolve) => {
    app.connections.addHook('onConnect', async () => new Promise<void>((_resolve) => resolve(_resolve)))
  })
  const client = await speak(t, wsUrl)
  const greeting = client.ask({ connect: {} })
  const letIn = await asked
  const silent = await speak(t, wsUrl)
  const { performance } = globalThis
  const now = performance.now.bind(performance)
  t.intercept(performance, 'now', { value: () => now() + 15_000 })
  t.match(await silent.closed(), { code: 3502 })
  letIn()
  t.match(await greeting, { connect: { client: String } })
})

t.test('what the server API does with a channel while a hook looks at a client that asks for it', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const waiting: (() => void)[] = []
  app.connections.addHook('onSubscribe', async () => new Promise<void>((resolve) => { waiting.push(resolve) }))
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  const first = client.ask({ subscribe: { channel: 'a' } })
  await until(() => waiting.length === 1)
  await app.connections.addTo('a', { user: 'ada' })
  waiting[0]?.()
  t.match(await first, { error: { code: 105 } }, 'it was put there meanwhile')
  const second = client.ask({ subscribe: { channel: 'b' } })
  await until(() => waiting.length === 2)
  await app.connections.removeFrom('b', { user: 'ada' })
  waiting[1]?.()
  t.match(await second, { error: { code: 103 } }, 'it was taken out before it was in')
  t.strictSame(Array.from(await app.connections.channels()), [['a', 1]])
})

t.test('what a subscription token gave ends with the subscription: who was put out came back without any', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  const token = await tokenOf({ sub: 'ada', channel: '$team', exp: secondsFromNow(60) })
  t.match(await client.ask({ subscribe: { channel: '$team', token } }), { subscribe: { expires: true } })
  await app.connections.removeFrom('$team', { user: 'ada' })
  t.match(await client.ask({ subscribe: { channel: '$team' } }), { error: { code: 103 } })
  t.match(await client.ask({ subscribe: { channel: '$team', token } }), { subscribe: {} })
  await client.ask({ unsubscribe: { channel: '$team' } })
  t.match(await client.ask({ subscribe: { channel: '$team' } }), { error: { code: 103 } })
})

t.test('what Protobuf clients send that is no UTF-8 is binary: it cut plain clients, as text', async (t) => {
  const { wsUrl } = await start(t)
  const plain = await connect(t, `${wsUrl}?channel=a`)
  const client = await openRaw(t, Number(new URL(wsUrl).port), '/connection/websocket?format=protobuf')
  // Each after its length: id 1, connect {}; id 2, publish { channel 'a', data 22 ff 22 }.
  client.send({ opcode: 2, payload: Buffer.from('0408012200' + '0c08023a08' + '0a0161' + '120322ff22', 'hex') })
  await plain.hears(1)
  t.strictSame(plain.heard.map(({ data, binary }) => [data.toString('hex'), binary]), [['22ff22', true]])
})

t.test('a reply that says what is in a channel came before the publications that it counts', async (t) => {
  const { wsUrl } = await start(t)
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'red' } })
  for (const command of [{ history: { channel: 'red', limit: -1 } }, { presence: { channel: 'red' } }, { presence_stats: { channel: 'red' } }]) {
    const count = client.heardData.length
    const [, id] = client.say({ publish: { channel: 'red', data: count } }, command)
    await client.finds(({ told }) => told.find((reply) => reply.id === id))
    const kinds = client.told.map((told) => told.id === id ? 'reply' : told.push?.pub ? 'publication' : told.publish ? 'published' : 'other').slice(-3)
    t.strictSame(kinds, ['publication', 'published', 'reply'], JSON.stringify(command))
  }
})

for (const others of [0, 99]) {
  t.test(`publishing is answered after the publication itself, with ${others} others there: the answer came before it`, async (t) => {
    const { wsUrl } = await start(t)
    const rest = await Promise.all(Array.from({ length: others }, () => greet(t, wsUrl)))
    const client = await greet(t, wsUrl)
    await Promise.all([...rest, client].flatMap((one) => [one.ask({ subscribe: { channel: 'red' } }), one.ask({ subscribe: { channel: 'blue' } })]))
    const before = client.told.length
    const ids = client.say(...Array.from({ length: 20 }, (_, number) => ({ publish: { channel: number % 3 === 0 ? 'blue' : 'red', data: number } })), { publish: { channel: 'green', data: 20 } })
    await client.finds(({ told }) => told.length >= before + ids.length * 2 - 1 || undefined)
    const told = client.told.slice(before)
    t.strictSame(told.flatMap(({ publish, id }) => publish ? [id as number] : []).sort((one, other) => one - other), ids, 'each is answered once')
    for (const [number, id] of ids.slice(0, -1).entries()) {
      const heardAt = told.findIndex(({ push }) => push?.pub?.data === number)
      t.ok(heardAt >= 0 && heardAt < told.findIndex((reply) => reply.id === id), `publication ${number}`)
    }
  })
}

t.test('who is in a very large channel is looked up once for all who ask at the same time, and not named at all to whom that is too much', async (t) => {
  const redis = await startRedis(t)
  const { url, wsUrl } = await startReady(t, { redisUrl: redis.url, maxBufferedBytes: 100_000 })
  await connectMany(t, `${wsUrl}?channel=red`, 1000)
  await until(async () => ((await (await fetch(`${url}/presence?channel=red`)).json()) as { clients: number }).clients === 1000)
  const client = await greet(t, wsUrl)
  const reads = (): number => Number(/cmdstat_zrangebyscore:calls=(\d+)/.exec(redis.cli('info', 'commandstats'))?.[1] ?? 0)
  const before = reads()
  const ids = client.say(...Array.from({ length: 50 }, () => ({ presence_stats: { channel: 'red' } })), { presence: { channel: 'red' } })
  const reply = await client.finds(({ told }) => told.find(({ id }) => id === ids.at(-1)))
  t.match(reply, { error: { code: 106 } })
  t.match(client.told.find(({ id }) => id === ids[0]), { presence_stats: { num_clients: 1000 } })
  t.ok(before > 0, 'Redis counts them')
  t.ok(reads() - before <= 10, `${reads() - before} times`)
})
