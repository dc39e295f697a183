import { UnauthorizedError } from 'centrifuge'
import t from 'tap'
import { start, until } from '../../helper.ts'
import { ANOTHER_SECRET, secondsFromNow, startSecure, tokenOf } from '../../tokens.ts'
import { greet, next, official, speak, type Told } from './client.ts'

const ADA = { sub: 'ada' }

t.test('who brings no new token is closed with 3005 when the old one ends', async (t) => {
  const { wsUrl } = await startSecure(t)
  const end = secondsFromNow(2)
  const client = await greet(t, wsUrl, { token: await tokenOf({ ...ADA, exp: end }) })
  t.match(client.greeting, { connect: { expires: true, ttl: 1 } })
  t.match(await client.closed(), { code: 3005 })
  t.ok(Date.now() >= end * 1000 && Date.now() < (end + 1) * 1000, `${Date.now() - end * 1000} ms after its end`)
})

t.test('who refreshes in time goes on', async (t) => {
  const { wsUrl } = await startSecure(t)
  const end = secondsFromNow(4)
  const client = await greet(t, wsUrl, { token: await tokenOf({ ...ADA, exp: end }) })
  t.match(await client.ask({ refresh: { token: await tokenOf(ADA) } }), { refresh: { client: client.greeting.connect.client, version: /^fanfare/, expires: true, ttl: Number } })
  await until(() => Date.now() > (end + 1) * 1000)
  t.match(await client.ask({ subscribe: { channel: 'a' } }), { subscribe: {} }, 'after the end of its first token')
  t.strictSame((await client.ask({ refresh: { token: await tokenOf({ ...ADA, expire_at: 0 }) } })).refresh, { client: client.greeting.connect.client, version: client.greeting.connect.version }, 'a token may have no end')
})

t.test('the official client refreshes by itself, and is never cut', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  let tokens = 0
  const getToken = async (): Promise<string> => tokenOf({ ...ADA, exp: secondsFromNow(++tokens < 4 ? 5 : 60) })
  const client = official(t, wsUrl, { getToken })
  const subscription = client.newSubscription('a')
  let cuts = 0
  client.on('connecting', ({ code }) => { if (code !== 0) cuts++ })
  subscription.subscribe()
  client.connect()
  await until(() => tokens === 4)
  await app.connections.publish('a', 'still there')
  t.match(await next(subscription, 'publication'), { data: 'still there' })
  t.equal(cuts, 0)
})

t.test('a bad refresh ends the connection', async (t) => {
  const { wsUrl } = await startSecure(t)
  for (const [token, expected] of [
    [await tokenOf({ ...ADA, exp: secondsFromNow(-60) }), { code: 3005 }],
    [await tokenOf(ADA, ANOTHER_SECRET), { code: 3500, reason: /signature/ }],
    [await tokenOf({ sub: 'bob' }), { code: 3500, reason: /another user/ }],
    [undefined, { code: 3500 }],
    ['x', { code: 3500 }]
  ] as const) {
    const client = await greet(t, wsUrl, { token: await tokenOf(ADA) })
    client.say({ refresh: { token } })
    t.match(await client.closed(), expected)
  }
  const { wsUrl: open } = await start(t)
  t.match(await (await greet(t, open)).ask({ refresh: { token: 'x' } }), { error: { code: 108 } }, 'there is nothing to refresh in open mode')
})

t.test('where hooks let connections go on, clients are not asked to', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  app.connections.addHook('onRefresh', ({ expiresAt }) => ({ expiresAt: expiresAt + 60_000 }))
  const end = secondsFromNow(4)
  const client = await greet(t, wsUrl, { token: await tokenOf({ ...ADA, exp: end }) })
  t.equal(client.greeting.connect.expires, undefined)
  await until(() => Date.now() > (end + 1) * 1000)
  client.say({ refresh: { token: await tokenOf(ADA) } })
  t.match(await client.closed(), { code: 3501, reason: /the server refreshes/ })
})

t.test('a subscription token opens one channel, for one user or one connection', async (t) => {
  const { wsUrl } = await startSecure(t)
  const client = await greet(t, wsUrl, { token: await tokenOf(ADA) })
  const id = client.greeting.connect.client as string
  t.match(await client.ask({ subscribe: { channel: '$room' } }), { error: { code: 103, message: /a token that names the channel/ } })
  const token = await tokenOf({ ...ADA, channel: '$room', client: id, info: { role: 'host' }, exp: undefined })
  t.match(await client.ask({ subscribe: { channel: '$room', token } }), { subscribe: { expires: undefined, positioned: true } })
  t.match(await client.ask({ presence: { channel: '$room' } }), { presence: { presence: { [id]: { user: 'ada', chan_info: { role: 'host' } } } } })
  t.match(await client.ask({ publish: { channel: '$room', data: 1 } }), { publish: {} })
  t.match(await client.isTold('pub'), { channel: '$room', pub: { data: 1, info: { user: 'ada', client: id, chan_info: { role: 'host' } } } })
})

t.test('a subscription token that is not for this is refused, or ends the connection', async (t) => {
  const { wsUrl } = await startSecure(t)
  const refused: [object, number][] = [[{ exp: secondsFromNow(-60) }, 109], [{ channel: undefined }, 103]]
  const client = await greet(t, wsUrl, { token: await tokenOf(ADA) })
  for (const [claims, code] of refused) {
    const token = await tokenOf({ ...ADA, channel: '$a', ...claims })
    t.match(await client.ask({ subscribe: { channel: '$a', token } }), { error: { code } })
  }
  t.match(await client.ask({ subscribe: { channel: '$a', token: await tokenOf({ ...ADA, channel: '$a' }, ANOTHER_SECRET) } }), { error: { code: 103, message: /signature/ } })
  for (const claims of [{ channel: '$b' }, { sub: 'bob' }, { client: 'another' }]) {
    const client = await greet(t, wsUrl, { token: await tokenOf(ADA) })
    client.say({ subscribe: { channel: '$a', token: await tokenOf({ ...ADA, channel: '$a', ...claims }) } })
    t.match(await client.closed(), { code: 3500, reason: /it is for another (channel|user|connection)/ }, JSON.stringify(claims))
  }
})

t.test('when a subscription token ends, that subscription ends, and no other', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const client = await greet(t, wsUrl, { token: await tokenOf(ADA) })
  await client.ask({ subscribe: { channel: 'b' } })
  const token = await tokenOf({ ...ADA, channel: '$a', exp: secondsFromNow(2) })
  t.match(await client.ask({ subscribe: { channel: '$a', token } }), { subscribe: { expires: true, ttl: 1 } })
  t.strictSame(await client.isTold('unsubscribe'), { channel: '$a', unsubscribe: { code: 2501, reason: 'subscription expired' } })
  await app.connections.publish('$a', 'too late')
  await app.connections.publish('b', 'goes on')
  t.match(await client.isTold('pub'), { channel: 'b', pub: { data: 'goes on' } })
  t.match(await client.ask({ subscribe: { channel: '$a' } }), { error: { code: 103 } }, 'what it had is no right any more')
})

t.test('sub_refresh lets a subscription go on', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const client = await greet(t, wsUrl, { token: await tokenOf(ADA) })
  const end = secondsFromNow(4)
  await client.ask({ subscribe: { channel: '$a', token: await tokenOf({ ...ADA, channel: '$a', exp: end }) } })
  t.match(await client.ask({ sub_refresh: { channel: '$a', token: await tokenOf({ ...ADA, channel: '$a' }) } }), { sub_refresh: { expires: true, ttl: Number } })
  t.match(await client.ask({ sub_refresh: { channel: 'b', token: 'x' } }), { error: { code: 103 } })
  await until(() => Date.now() > (end + 1) * 1000)
  await app.connections.publish('$a', 'still there')
  t.match(await client.isTold('pub'), { pub: { data: 'still there' } })
  client.say({ sub_refresh: { channel: '$a', token: await tokenOf({ ...ADA, channel: '$a', exp: secondsFromNow(-60) }) } })
  t.match(await client.closed(), { code: 3006 })
})

t.test('the official client gets subscription tokens by itself, and is told when there are none', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const client = official(t, wsUrl, { getToken: () => tokenOf(ADA) })
  let tokens = 0
  const getToken = async ({ channel }: { channel: string }): Promise<string> => {
    if (++tokens === 4) throw new UnauthorizedError('no more')
    return tokenOf({ ...ADA, channel, exp: secondsFromNow(5) })
  }
  const subscription = client.newSubscription('$a', { getToken })
  const ended = next<Told>(subscription, 'unsubscribed')
  subscription.subscribe()
  client.connect()
  await subscription.ready()
  await app.connections.publish('$a', 1)
  t.match(await next(subscription, 'publication'), { data: 1 })
  t.match(await ended, { code: 1 })
  t.equal(tokens, 4, 'it has refreshed twice')
})

t.test('channels that a token names are heard without asking', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const client = official(t, wsUrl, { getToken: () => tokenOf({ ...ADA, channels: ['$news'], subs: { sport: { info: { role: 'fan' } } } }) })
  const [subscribed, heard]: [Told[], Told[]] = [[], []]
  client.on('subscribed', (context) => subscribed.push(context))
  client.on('publication', (context) => heard.push(context))
  client.connect()
  await until(() => subscribed.length === 2)
  t.match(subscribed, [{ channel: '$news', recoverable: true, positioned: true, wasRecovering: false }, { channel: 'sport' }])
  t.match(Object.values((await client.presence('sport')).clients), [{ user: 'ada', chanInfo: { role: 'fan' } }])
  await app.connections.publish('$news', 1)
  await until(() => heard.length === 1)
  client.disconnect()
  await until(() => app.connections.count === 0)
  for (const data of [2, 3]) await app.connections.publish('$news', data)
  client.connect()
  await until(() => heard.length === 3)
  t.match(subscribed.slice(2), [{ channel: '$news', wasRecovering: true, recovered: true }, { channel: 'sport', wasRecovering: true, recovered: true }])
  t.strictSame(heard.map(({ data }) => data), [1, 2, 3])
})

t.test('more channels in a token than a connection may have', async (t) => {
  const { app, wsUrl } = await startSecure(t, { maxChannels: 2 })
  const client = await greet(t, wsUrl, { token: await tokenOf({ ...ADA, channels: ['a', 'b'] }) })
  t.match(await client.ask({ subscribe: { channel: 'c' } }), { error: { code: 106 } })
  const another = await greet(t, wsUrl, { token: await tokenOf(ADA) })
  for (const channel of ['a', 'b']) t.match(await another.ask({ subscribe: { channel } }), { subscribe: {} })
  t.match(await another.ask({ subscribe: { channel: 'c' } }), { error: { code: 106, message: /2 channels/ } })
  const { wsUrl: strict } = await startSecure(t, { maxChannels: 1 })
  const refused = await speak(t, strict)
  refused.say({ connect: { token: await tokenOf({ ...ADA, channels: ['a', 'b'] }) } })
  t.match(await refused.closed(), { code: 3505, reason: /channel limit/ })
  t.equal(app.connections.channelCount, 2)
})
