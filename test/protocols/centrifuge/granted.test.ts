import t from 'tap'
import { connect, start, until } from '../../helper.ts'
import { apiOf, KEY } from '../../routes/api-client.ts'
import { secondsFromNow, startSecure, tokenOf } from '../../tokens.ts'
import { greet, type Told } from './client.ts'
import { emulate, Lines } from './lines.ts'

const inBase64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')

t.test('what a token says in base64 reached clients as base64, and data of channels did not reach them at all', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const token = await tokenOf({ sub: 'ada', b64info: inBase64({ name: 'Ada' }), subs: { a: { b64info: inBase64({ seat: 7 }), data: { hello: 1 } }, b: { b64data: inBase64([2]) }, c: { b64data: 'AAH/' } } })
  const client = await greet(t, wsUrl, { token })
  const { subs } = client.greeting.connect as { subs: Record<string, Told> }
  t.same([subs.a?.data, subs.b?.data, subs.c?.data], [{ hello: 1 }, [2], 'AAH/'])
  t.match(await app.connections.presence('a'), [{ user: 'ada', info: { name: 'Ada' }, channelInfo: { seat: 7 } }])
  const own = await tokenOf({ sub: 'ada', channel: '$own', data: { mine: true } })
  t.match(await client.ask({ subscribe: { channel: '$own', token: own } }), { subscribe: { data: { mine: true } } })
})

t.test('/api/subscribe gives info, data and an end to what it lets somebody hear; it ignored them', async (t) => {
  const { app, url, wsUrl } = await startSecure(t, { apiKey: KEY })
  const api = apiOf(url)
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  await api('subscribe', { user: 'ada', channel: 'a', info: { seat: 7 }, data: { hello: 1 }, expire_at: secondsFromNow(4) })
  t.match(await client.isTold('subscribe'), { channel: 'a', subscribe: { positioned: true, data: { hello: 1 } } })
  t.match(await app.connections.presence('a'), [{ user: 'ada', channelInfo: { seat: 7 } }])
  await api('subscribe', { user: 'ada', channel: 'b' })
  t.match(await client.isTold('unsubscribe'), { channel: 'a', unsubscribe: { code: 2501 } })
  t.strictSame(client.pushes.filter(({ subscribe }) => subscribe).map(({ channel }) => channel), ['a', 'b'], 'it does not come back')
  await api('publish', { channel: 'a', data: 'late' })
  await api('publish', { channel: 'b', data: 'on' })
  await client.isTold('pub')
  t.strictSame(client.heardData, ['on'])
})

t.test('what the server gives is no token: rules that want one refuse, and what a token says of a channel stays', async (t) => {
  const { app, url, wsUrl } = await startSecure(t, { apiKey: KEY, channels: [{ match: '*', allow: { publish: 'token' } }] })
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada', subs: { named: { info: { seat: 7 } } } }) })
  for (const channel of ['named', 'given']) await apiOf(url)('subscribe', { user: 'ada', channel, info: { seat: 8 } })
  t.match(await client.ask({ publish: { channel: 'given', data: 1 } }), { error: { code: 103 } })
  t.match(await client.ask({ publish: { channel: 'named', data: 1 } }), { publish: {} })
  t.match(await app.connections.presence('named'), [{ channelInfo: { seat: 7 } }])
  await client.ask({ unsubscribe: { channel: 'named' } })
  t.match(await client.ask({ subscribe: { channel: 'named' } }), { subscribe: {} })
})

t.test('a right that ends was for ever once its channel had been left and subscribed to again', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  app.connections.addHook('onConnect', () => ({ grants: new Map([['$room', { expiresAt: Date.now() + 3000 }]]) }))
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  await client.ask({ unsubscribe: { channel: '$room' } })
  t.match(await client.ask({ subscribe: { channel: '$room' } }), { subscribe: {} })
  t.match(await client.isTold('unsubscribe'), { channel: '$room', unsubscribe: { code: 2501 } })
})

t.test('what no rule lets anybody hear is not given by the server either', async (t) => {
  const { app, url, wsUrl } = await startSecure(t, { apiKey: KEY, channels: [{ match: 'vault:*', allow: { subscribe: 'none' } }] })
  await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  t.match(await apiOf(url)('subscribe', { user: 'ada', channel: 'vault:1' }), { error: { code: 103 } })
  await t.rejects(app.connections.addTo('vault:1', { user: 'ada' }), { code: 'FANFARE_FORBIDDEN' })
})

t.test('what a hook says of a user and JSON cannot hold ended the process with the next publication: it is refused', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  app.connections.addHook('onConnect', ({ caller }) => caller.user === 'ada' ? { info: { id: 42n } } : undefined)
  const bob = await greet(t, wsUrl, { token: await tokenOf({ sub: 'bob' }) })
  t.match((await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })).greeting, { error: { code: 107 } })
  await t.rejects(app.connections.refresh({ user: 'bob' }, { info: 42n }), { code: 'FANFARE_BAD_DATA' })
  await t.rejects(app.connections.addTo('a', { user: 'bob' }, { info: 42n }), { code: 'FANFARE_BAD_DATA' })
  t.match(await bob.ask({ subscribe: { channel: 'b' } }), { subscribe: {} })
})

t.test('the server API finds who sends over HTTP by its session; it answered, and did nothing', async (t) => {
  const { app, url } = await start(t, { apiKey: KEY }, { forceCloseConnections: true })
  const api = apiOf(url)
  const streams = [await Lines.open(t, url, [{ id: 1, connect: {} }]), await Lines.open(t, url, [{ id: 1, connect: {} }])]
  const [first] = await Promise.all(streams.map((stream) => stream.connected()))
  await api('subscribe', { session: first?.session, channel: 'a' })
  t.match(await streams[0]?.finds(({ push }) => push), { push: { channel: 'a', subscribe: {} } })
  await api('disconnect', { session: first?.session })
  t.match(await streams[0]?.finds(({ push }) => push?.disconnect), { push: { disconnect: { code: 3503, reason: 'force disconnect' } } })
  await until(() => app.connections.count === 1)
})

t.test('what is published in base64 and is JSON is JSON for clients that have no bytes; it reached them as base64', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'a' } })
  for (const b64data of [inBase64({ b: 1 }), 'AAH/']) await apiOf(url)('publish', { channel: 'a', b64data })
  await client.finds(({ heardData }) => heardData.length === 2 || undefined)
  t.same(client.heardData, [{ b: 1 }, 'AAH/'])
})

t.test('an error of a hook keeps the code that it was given', async (t) => {
  const { app, wsUrl } = await start(t)
  app.connections.addHook('onPublish', () => { throw Object.assign(new Error('out of stock'), { code: 1001 }) })
  app.connections.addHook('onSubscribe', () => { throw Object.assign(new Error('a mistake'), { code: 23 }) })
  const client = await greet(t, wsUrl)
  t.match(await client.ask({ publish: { channel: 'a', data: 1 } }), { error: { code: 1001, message: 'out of stock' } })
  t.match(await client.ask({ subscribe: { channel: 'a' } }), { error: { code: 103, message: /The application refused/ } })
})

t.test('/emulation takes POST alone', async (t) => {
  const { url } = await start(t)
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const answer = await fetch(`${url}/emulation`, { method })
    t.equal(answer.status, 405, method)
    t.match([answer.headers.get('allow'), await answer.json()], ['POST, OPTIONS', { code: 'FANFARE_METHOD_NOT_ALLOWED' }])
  }
  t.equal((await emulate(url, '{')).status, 400)
})

t.test('onSubscribe gives info, data and an end to what it lets somebody hear; it could only refuse', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  let asked = 0
  app.connections
    .addHook('onSubscribe', ({ channel }) => { if (channel !== 'plain') return { info: { seat: 7 }, data: { hello: 1 }, ...asked++ === 0 && { expiresAt: Date.now() + 3000 } } })
    .addHook('onSubscribe', ({ channel }) => channel === 'plain' ? undefined : { info: { seat: 8 } })
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  const { subscribe } = await client.ask({ subscribe: { channel: 'room' } })
  t.match(subscribe, { data: { hello: 1 } })
  t.notOk(subscribe.expires, 'its client has no token to renew')
  t.match(await app.connections.presence('room'), [{ user: 'ada', channelInfo: { seat: 8 } }])
  t.match(await client.isTold('unsubscribe'), { channel: 'room', unsubscribe: { code: 2501 } })
  t.match(await client.ask({ subscribe: { channel: 'room' } }), { subscribe: { data: { hello: 1 } } }, 'and is asked about anew')
  t.equal(asked, 2)
  t.notOk((await client.ask({ subscribe: { channel: 'plain' } })).subscribe.data)
})

t.test('what hooks say of channels that a token names, or an address, counts as well, and is no token', async (t) => {
  const { app, wsUrl } = await startSecure(t, { channels: [{ match: '*', allow: { publish: 'token' } }] })
  app.connections
    .addHook('onConnect', () => ({ data: { welcome: true } }))
    .addHook('onSubscribe', () => ({ info: { seat: 7 } }))
  const named = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada', subs: { named: { data: 1 } } }) })
  t.match(named.greeting.connect, { data: { welcome: true }, subs: { named: { data: 1 } } })
  t.match(await named.ask({ publish: { channel: 'named', data: 1 } }), { publish: {} })
  await connect(t, `${wsUrl}?channel=asked&token=${await tokenOf({ sub: 'bob' })}`)
  t.match(await app.connections.presence('named'), [{ user: 'ada', channelInfo: { seat: 7 } }])
  await until(async () => (await app.connections.presence('asked')).length === 1)
  t.match(await app.connections.presence('asked'), [{ user: 'bob', channelInfo: { seat: 7 } }])
  await named.ask({ subscribe: { channel: 'asked' } })
  t.match(await named.ask({ publish: { channel: 'asked', data: 1 } }), { error: { code: 103 } })
})

t.test('what a token would override of a channel it does not: nobody is hidden, or given more than rules say, by that', async (t) => {
  const { app, wsUrl } = await startSecure(t, { channels: [{ match: '*', historySize: 0, allow: { publish: 'none' } }] })
  const override = { presence: { value: false }, history: { value: true }, force_positioning: { value: true } }
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada', subs: { a: { override } } }) })
  await client.ask({ subscribe: { channel: '$b', token: await tokenOf({ sub: 'ada', channel: '$b', override }) } })
  for (const channel of ['a', '$b']) {
    t.match(await app.connections.presence(channel), [{ user: 'ada' }])
    t.match(await client.ask({ publish: { channel, data: 1 } }), { error: { code: 103 } })
    t.match(await client.ask({ history: { channel, limit: 1 } }), { error: { code: 108 } })
  }
})

t.test('what a hook has limited goes on for no token, and what a token gives is left when that ends', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  let asked = 0
  app.connections.addHook('onSubscribe', () => asked++ === 0 ? { info: { seat: 7 }, data: { hello: 1 }, expiresAt: Date.now() + 4000 } : undefined)
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada', channels: ['$elsewhere'] }) })
  t.match(client.greeting.connect.subs, { $elsewhere: { data: { hello: 1 } } })
  t.match(await app.connections.presence('$elsewhere'), [{ channelInfo: { seat: 7 } }])
  await client.ask({ unsubscribe: { channel: '$elsewhere' } })
  const { subscribe } = await client.ask({ subscribe: { channel: '$elsewhere' } })
  t.notOk(subscribe.data, 'the hook has said that once')
  t.notOk((await app.connections.presence('$elsewhere'))[0]?.channelInfo)

  asked = 0
  const token = await tokenOf({ sub: 'ada', channel: '$own' })
  await client.ask({ subscribe: { channel: '$own', token } })
  t.match(await client.ask({ sub_refresh: { channel: '$own', token } }), { sub_refresh: { expires: true } })
  t.match(await app.connections.presence('$own'), [{ channelInfo: { seat: 7 } }])
  t.match(await client.isTold('unsubscribe'), { channel: '$own', unsubscribe: { code: 2501 } })
  t.equal(app.connections.count, 1)
})

t.test('what onRefresh says of a user reaches those who look who is there; a number in `code` is a close code for every hook', async (t) => {
  const { app, wsUrl } = await startSecure(t, { hookTimeout: 3 })
  app.connections
    .addHook('onRefresh', ({ caller }) => {
      if (caller.user === 'bob') throw Object.assign(new Error('banned'), { code: 4001 })
      return { expiresAt: Date.now() + 60_000, info: { fresh: true } }
    })
    .rpc('fail', () => { throw Object.assign(new Error('no more'), { code: 4002 }) })
  const exp = secondsFromNow(5)
  const ada = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada', exp, channels: ['a'] }) })
  const bob = await greet(t, wsUrl, { token: await tokenOf({ sub: 'bob', exp }) })
  t.match(await bob.closed(), { code: 4001, reason: 'banned' })
  await until(async () => JSON.stringify(await app.connections.presence('a')).includes('"fresh":true'))
  ada.say({ rpc: { method: 'fail' } })
  t.match(await ada.closed(), { code: 4002, reason: 'no more' })
})
