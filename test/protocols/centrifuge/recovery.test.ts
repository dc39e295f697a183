import { State, SubscriptionState } from 'centrifuge'
import t from 'tap'
import { start, startReady, until } from '../../helper.ts'
import { startProcess } from '../../process.ts'
import { startRedis } from '../../redis.ts'
import { startTwoNodes } from '../../reliability/nodes.ts'
import { greet, next, official, type Told } from './client.ts'

t.test('what was missed comes back, in order and once, also more than one reply holds', async (t) => {
  const { app, wsUrl } = await start(t, { historySize: 1000 })
  const client = official(t, wsUrl)
  const subscription = client.newSubscription('a')
  const [heard, contexts]: [unknown[], Told[]] = [[], []]
  subscription.on('publication', ({ data }) => heard.push(data))
  subscription.on('subscribed', (context) => contexts.push(context))
  subscription.subscribe()
  client.connect()
  await subscription.ready()
  await app.connections.publish('a', 0)
  await until(() => heard.length === 1)
  client.disconnect()
  for (let data = 1; data < 700; data++) await app.connections.publish('a', data)
  client.connect()
  await until(() => heard.length >= 700)
  t.match(contexts, [{ wasRecovering: false }, { wasRecovering: true, recovered: true }])
  await app.connections.publish('a', 700)
  await until(() => heard.length >= 701)
  t.strictSame(heard, Array.from({ length: 701 }, (_, data) => data))
})

t.test('a position that cannot be gone on from: told so, nothing of it comes', async (t) => {
  const { app, wsUrl } = await start(t, { historySize: 5 })
  for (let data = 1; data <= 10; data++) await app.connections.publish('a', data)
  const { epoch, offset } = await app.connections.position('a')
  const lost = { recoverable: true, positioned: true, epoch, offset, was_recovering: true, recovered: false }
  for (const since of [{ offset: 1, epoch }, { offset: 11, epoch }, { offset: 9, epoch: 'other' }, {}, { offset: 4 }]) {
    const client = await greet(t, wsUrl)
    t.strictSame((await client.ask({ subscribe: { channel: 'a', recover: true, ...since } })).subscribe, lost, JSON.stringify(since))
  }
  const client = await greet(t, wsUrl)
  t.match(await client.ask({ subscribe: { channel: 'a', recover: true, offset: 1, epoch, flag: 2 } }), { error: { code: 112 } }, 'who wants it refused')
  t.match(await client.ask({ subscribe: { channel: 'a', recover: true, offset: 5, epoch } }), { subscribe: { recovered: true, was_recovering: true, offset: 5, epoch, publications: [{ data: 6, offset: 6 }, {}, {}, {}, { data: 10, offset: 10 }] } })
  const another = await greet(t, wsUrl)
  t.match(await another.ask({ subscribe: { channel: 'a', recover: true, offset: 8 } }), { subscribe: { recovered: true, publications: [{ offset: 9 }, { offset: 10 }] } }, 'without an epoch the present one is meant')
  const third = await greet(t, wsUrl)
  t.strictSame((await third.ask({ subscribe: { channel: 'a', recover: true, offset: 10, epoch } })).subscribe, { ...lost, recovered: true, offset: 10 }, 'nothing was missed')
})

t.test('who may not read a history cannot come back to it', async (t) => {
  const { app, wsUrl } = await start(t, { channels: [{ match: 'a', allow: { history: 'server' } }] })
  await app.connections.publish('a', 1)
  const { epoch } = await app.connections.position('a')
  const client = await greet(t, wsUrl)
  t.strictSame((await client.ask({ subscribe: { channel: 'a', recover: true, offset: 0, epoch } })).subscribe, { positioned: true, epoch, offset: 1, was_recovering: true, recovered: false })
})

// With a history of one publication nothing that was missed while joining could be fetched later.
for (const [broker, historySize] of [['memory', 1], ['memory', 100], ['Redis', 100]] as const) {
  t.test(`joining and leaving while publishing goes on, with ${broker} and a history of ${historySize}: nothing missed, nothing twice`, async (t) => {
    const { app, wsUrl } = await startReady(t, { historySize, ...broker === 'Redis' && { redisUrl: (await startRedis(t)).url } })
    const clients = await Promise.all(Array.from({ length: 10 }, () => greet(t, wsUrl)))
    const load = { goesOn: true }
    const published = (async () => {
      for (let data = 1; load.goesOn; data++) await Promise.all([app.connections.publish('a', data), new Promise(setImmediate)])
    })()
    let joins = 0
    await Promise.all(clients.map(async (client) => {
      let before: { offset: number, epoch: string } | undefined
      for (let round = 0; round < 100; round++) {
        const at = client.heard.length
        const { subscribe } = await client.ask({ subscribe: { channel: 'a', ...before && { recover: true, ...before } } })
        const enough = client.heard.length + 5
        await client.hears(enough)
        await client.ask({ unsubscribe: { channel: 'a' } })
        const pubs = client.texts.slice(at).map((text) => JSON.parse(text) as Told).flatMap(({ push, subscribe }) => push?.pub ? [push.pub] : subscribe?.publications ?? [])
        const { offset, epoch } = subscribe
        const wrong = pubs.findIndex((pub, index) => pub.offset !== offset + index + 1 || pub.data !== pub.offset)
        if (wrong >= 0) t.fail(`round ${round}: ${JSON.stringify(pubs[wrong])} is number ${wrong} after ${offset}`)
        before = { offset: offset + pubs.length, epoch }
        joins++
      }
    }))
    load.goesOn = false
    await published
    t.equal(joins, 1000)
    await until(() => app.connections.channelCount === 0)
  })
}

t.test('SLOW_RECEIVER drop: who was too slow is told that its subscription has lost something, and recovers all of it', async (t) => {
  const { app, wsUrl } = await start(t, { channels: [{ match: 'a', slowReceiver: 'drop', historySize: 1000 }], maxBufferedBytes: 65_536 })
  const client = await greet(t, wsUrl, {}, { perMessageDeflate: false })
  await client.ask({ subscribe: { channel: 'a' } })
  client.ws.pause()
  const filler = 'x'.repeat(60_000)
  // More than the kernel's buffers on both sides hold.
  const count = 250
  for (let next = 1; next <= count; next++) {
    await app.connections.publish('a', { count: next, filler })
    await new Promise(setImmediate)
  }
  client.ws.resume()
  const { channel, unsubscribe } = await client.isTold('unsubscribe')
  t.strictSame({ channel, unsubscribe }, { channel: 'a', unsubscribe: { code: 2500, reason: 'insufficient state' } })
  const last = client.pushes.findLast(({ pub }) => pub)?.pub.offset as number
  t.strictSame(client.pushes.flatMap(({ pub }) => pub ? [pub.data.count] : []), Array.from({ length: last }, (_, index) => index + 1), 'no hole before it is told')
  t.ok(last < count, `${last} of ${count} came before`)
  const { epoch } = await app.connections.position('a')
  const { subscribe } = await client.ask({ subscribe: { channel: 'a', recover: true, offset: last, epoch } })
  t.equal(subscribe.recovered, true)
  await until(() => client.pushes.at(-1)?.pub?.data.count === count)
  const later = [...subscribe.publications, ...client.pushes.slice(client.pushes.findIndex((push) => push.unsubscribe) + 1).map(({ pub }) => pub)]
  t.strictSame(later.map(({ offset }) => offset), Array.from({ length: count - last }, (_, index) => last + index + 1))
})

t.test('two nodes: recovery on the other one, with who has published', async (t) => {
  const { nodes: [first, second] } = await startTwoNodes(t)
  const client = await greet(t, first.wsUrl)
  const { subscribe } = await client.ask({ subscribe: { channel: 'a' } })
  const id = client.greeting.connect.client as string
  const other = await greet(t, second.wsUrl)
  await other.ask({ subscribe: { channel: 'a' } })
  await client.ask({ publish: { channel: 'a', data: 1 } })
  t.match(await other.isTold('pub'), { pub: { data: 1, offset: 1, info: { client: id, user: '' } } })
  client.ws.terminate()
  await other.ask({ publish: { channel: 'a', data: 2 } })
  const back = await greet(t, second.wsUrl)
  t.match(await back.ask({ subscribe: { channel: 'a', recover: true, offset: subscribe.offset, epoch: subscribe.epoch } }), { subscribe: { recovered: true, publications: [{ data: 1, info: { client: id } }, { data: 2 }] } })
})

t.test('what Redis has lost: subscriptions begin anew, and say that they have not recovered', async (t) => {
  const redis = await startRedis(t)
  const { wsUrl } = await startProcess(t, { REDIS_URL: redis.url })
  const client = official(t, wsUrl)
  const subscription = client.newSubscription('a')
  const contexts: Told[] = []
  subscription.on('subscribing', ({ code }) => contexts.push({ code }))
  subscription.on('subscribed', ({ wasRecovering, recovered }) => contexts.push({ wasRecovering, recovered }))
  subscription.subscribe()
  client.connect()
  await subscription.publish({ data: 1 })
  redis.cli('flushall')
  const publisher = await greet(t, wsUrl)
  await publisher.ask({ publish: { channel: 'a', data: 2 } })
  await until(() => contexts.length === 4)
  t.strictSame(contexts, [{ code: 0 }, { wasRecovering: false, recovered: false }, { code: 2500 }, { wasRecovering: true, recovered: false }])
  t.strictSame([client.state, subscription.state], [State.Connected, SubscriptionState.Subscribed], 'the connection goes on')
  const heard = next<Told>(subscription, 'publication')
  await publisher.ask({ publish: { channel: 'a', data: 3 } })
  t.match(await heard, { data: 3 })
})

t.test('while Redis is away a command is answered with error 100, which says to try again', async (t) => {
  const redis = await startRedis(t)
  const { wsUrl } = await startProcess(t, { REDIS_URL: redis.url })
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'a' } })
  await redis.kill()
  for (const command of [{ publish: { channel: 'a', data: 1 } }, { history: { channel: 'a', limit: 1 } }, { subscribe: { channel: 'b' } }]) {
    t.strictSame((await client.ask(command)).error, { code: 100, message: 'internal server error', temporary: true }, JSON.stringify(command))
  }
})
