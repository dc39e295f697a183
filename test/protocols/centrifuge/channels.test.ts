import { once } from 'node:events'
import t from 'tap'
import { connect, start, until } from '../../helper.ts'
import { startSecure, tokenOf } from '../../tokens.ts'
import { apiOf, KEY } from '../../routes/api-client.ts'
import { greet, next, official, speak, type Told } from './client.ts'

t.test('clients of both protocols hear each other', async (t) => {
  const { app, wsUrl } = await start(t)
  const plain = await connect(t, `${wsUrl}?channel=chat`)
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'chat' } })
  t.match(await client.ask({ publish: { channel: 'chat', data: { text: 'hello\nyou' } } }), { publish: {} })
  t.strictSame(await plain.hears(1), ['{"text":"hello\\nyou"}'])
  for (const [count, data] of ['text', '{"a":\n1}', '"quoted"', Buffer.from([1, 2, 3])].entries()) {
    plain.ws.send(data)
    await client.finds(({ heardData }) => heardData.length === count + 2 ? heardData : undefined)
  }
  t.strictSame(client.heardData, [{ text: 'hello\nyou' }, 'text', { a: 1 }, 'quoted', 'AQID'])
  await app.connections.publish('chat', { n: 1 }, { tags: { from: 'shop' } })
  await client.finds(({ heardData }) => heardData.length === 6 ? heardData : undefined)
  t.match(client.pushes.at(-1), { channel: 'chat', pub: { data: { n: 1 }, offset: 6, tags: { from: 'shop' }, info: undefined } })
  t.match(client.pushes.map(({ pub }) => pub.info), [{ user: '', client: client.greeting.connect.client }, { user: '', client: String }])
})

t.test('subscribing: the reply comes first, with where the channel stands; twice is error 105', async (t) => {
  const { app, wsUrl } = await start(t, { channels: [{ match: 'quiet', historySize: 0 }] })
  await app.connections.publish('a', 1)
  const { epoch, offset } = await app.connections.position('a')
  const client = await greet(t, wsUrl)
  t.strictSame((await client.ask({ subscribe: { channel: 'a' } })).subscribe, { recoverable: true, positioned: true, epoch, offset })
  t.match(await client.ask({ subscribe: { channel: 'a' } }), { error: { code: 105 } })
  t.strictSame((await client.ask({ subscribe: { channel: 'quiet' } })).subscribe, {}, 'what keeps nothing has no position')
  t.match(await client.ask({ subscribe: { channel: '' } }), { error: { code: 107 } })
  t.match(await client.ask({ subscribe: { channel: 'x'.repeat(256) } }), { error: { code: 107 } })
  t.match(await client.ask({ subscribe: { channel: 'm', type: 1 } }), { error: { code: 108 } })
  t.match(await client.ask({ subscribe: { channel: 'm', tf: { op: 'and' } } }), { error: { code: 107 } })
  t.strictSame((await client.ask({ unsubscribe: { channel: 'a' } })).unsubscribe, {})
  t.strictSame((await client.ask({ unsubscribe: { channel: 'never' } })).unsubscribe, {})
  await app.connections.publish('a', 2)
  await app.connections.publish('quiet', 3)
  t.match(await client.isTold('pub'), { channel: 'quiet' }, 'it has left the other')
})

t.test('permissions hold for each command', async (t) => {
  const { wsUrl } = await startSecure(t, {
    presence: true,
    channels: [
      { match: 'server', allow: { publish: 'server' } },
      { match: 'open', allow: { publish: 'authenticated', presence: 'everyone', history: 'everyone' } },
      { match: 'secret', allow: { subscribe: 'none', presence: 'server', history: 'none' } },
      { match: 'absent', presence: false },
      { match: 'forgets', historySize: 0 },
      { match: 'typed', schema: { type: 'object', required: ['n'], properties: { n: { type: 'integer' } } }, allow: { publish: 'everyone' } }
    ]
  })
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  const all: [object, number | undefined][] = [
    [{ publish: { channel: 'a', data: 1 } }, 103], [{ presence: { channel: 'a' } }, 103], [{ presence_stats: { channel: 'a' } }, 103], [{ history: { channel: 'a' } }, 103],
    [{ subscribe: { channel: 'a' } }, undefined],
    [{ publish: { channel: 'a', data: 1 } }, undefined], [{ presence: { channel: 'a' } }, undefined], [{ presence_stats: { channel: 'a' } }, undefined], [{ history: { channel: 'a' } }, undefined],
    [{ publish: { channel: 'a' } }, 107], [{ publish: { channel: '', data: 1 } }, 107],
    [{ subscribe: { channel: 'server' } }, undefined], [{ publish: { channel: 'server', data: 1 } }, 103],
    [{ publish: { channel: 'open', data: null } }, undefined], [{ presence: { channel: 'open' } }, undefined], [{ history: { channel: 'open', limit: 1 } }, undefined],
    [{ subscribe: { channel: 'secret' } }, 103], [{ presence: { channel: 'secret' } }, 103], [{ history: { channel: 'secret' } }, 103],
    [{ subscribe: { channel: 'inbox#bob' } }, 103], [{ subscribe: { channel: 'inbox#ada' } }, undefined], [{ history: { channel: 'inbox#bob' } }, 103],
    [{ subscribe: { channel: 'absent' } }, undefined], [{ presence: { channel: 'absent' } }, 108],
    [{ subscribe: { channel: 'forgets' } }, undefined], [{ history: { channel: 'forgets' } }, 108],
    [{ publish: { channel: 'typed', data: { n: 'x' } } }, 107], [{ publish: { channel: 'typed', data: { n: 1 } } }, undefined],
    [{ ping: {} }, 108], [{ rpc: { method: 'x' } }, 108]
  ]
  for (const [command, code] of all) t.equal((await client.ask(command)).error?.code, code, JSON.stringify(command))
})

t.test('presence and history are those of the server API', async (t) => {
  const { app, url, wsUrl } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'a' } })
  for (const data of [1, { two: 2 }, 'three']) await client.ask({ publish: { channel: 'a', data } })
  await app.connections.publish('a', Buffer.from([4]))
  t.strictSame((await client.ask({ presence: { channel: 'a' } })).presence, await api('presence', { channel: 'a' }))
  t.strictSame((await client.ask({ presence_stats: { channel: 'a' } })).presence_stats, await api('presence_stats', { channel: 'a' }))
  const { publications, ...position } = (await client.ask({ history: { channel: 'a', limit: -1 } })).history
  const info = { user: '', client: client.greeting.connect.client as string }
  t.strictSame(publications, [{ data: 1, info, offset: 1 }, { data: { two: 2 }, info, offset: 2 }, { data: 'three', info, offset: 3 }, { data: 'BA==', offset: 4 }])
  t.strictSame((await client.ask({ history: { channel: 'a' } })).history, { publications: [], ...position })
  t.match(await client.ask({ history: { channel: 'a', limit: 1, reverse: true } }), { history: { publications: [{ offset: 4 }] } })
  t.match(await client.ask({ history: { channel: 'a', limit: 9, since: { offset: 2, epoch: position.epoch } } }), { history: { publications: [{ offset: 3 }, { offset: 4 }] } })
  t.match(await client.ask({ history: { channel: 'a', since: { offset: 2, epoch: 'other' } } }), { error: { code: 112 } })
  t.match(await client.ask({ history: { channel: 'a', reverse: true, since: { offset: 0 } } }), { error: { code: 107 } })
})

t.test('a reply that would be too much at once is refused, and the connection goes on', async (t) => {
  const { app, wsUrl } = await start(t, { maxBufferedBytes: 200_000 })
  for (let count = 0; count < 10; count++) await app.connections.publish('a', 'x'.repeat(20_000))
  app.connections.rpc('much', () => 'x'.repeat(150_000))
  const client = await greet(t, wsUrl)
  for (const command of [{ history: { channel: 'a', limit: -1 } }, { rpc: { method: 'much' } }]) t.match(await client.ask(command), { error: { code: 106, message: /ask for less at once/ } })
  t.equal((await client.ask({ history: { channel: 'a', limit: 4 } })).history.publications.length, 4)
})

t.test('functions are called, by clients too, and their errors keep their codes', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  app.connections.rpc('whoami', (data, caller) => ({ data, user: caller?.user, protocol: caller?.protocol }))
  app.connections.rpc('nothing', () => {})
  app.connections.rpc('own', () => { throw Object.assign(new Error('out of stock'), { code: 1001 }) })
  app.connections.rpc('refuses', () => { throw Object.assign(new Error('not yours'), { statusCode: 403 }) })
  app.connections.rpc('breaks', () => { throw new Error('secret of the database') })
  app.connections.rpc('ends', () => { throw Object.assign(new Error('go away'), { closeCode: 4001 }) })
  const client = official(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  const ended = next<Told>(client, 'disconnected')
  client.connect()
  t.strictSame(await client.rpc('whoami', { n: 1 }), { data: { data: { n: 1 }, user: 'ada', protocol: 'json' } })
  t.strictSame(await client.rpc('nothing', null), { data: undefined })
  await t.rejects(client.rpc('own', {}), { code: 1001, message: 'out of stock' })
  await t.rejects(client.rpc('refuses', {}), { code: 103, message: 'not yours' })
  await t.rejects(client.rpc('breaks', {}), { code: 100, message: 'internal server error', temporary: true })
  await t.rejects(client.rpc('unknown', {}), { code: 104 })
  t.match([await client.rpc('ends', {}).catch(() => 'ended'), client.state], ['ended', 'connecting'])
  client.disconnect()
  t.match(await ended, { code: 0 })
})

t.test('hooks are told what clients say of themselves, and decide', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const seen: unknown[] = []
  app.connections.addHook('onConnect', ({ caller: { id, protocol }, identified, channels, name, version, data }) => {
    seen.push({ protocol, identified, channels, name, version, data })
    if (name === 'banned') throw Object.assign(new Error('banned'), { closeCode: 4403 })
    if (name === 'broke') throw Object.assign(new Error('pay first'), { code: 402, statusCode: 402 })
    return { user: `user of ${id}`, info: { name } }
  })
  app.connections.addHook('onSubscribe', ({ channel, data }) => {
    seen.push({ channel, data })
    if (channel === 'ends') throw Object.assign(new Error('not here'), { closeCode: 4404 })
    if (channel !== 'a') throw Object.assign(new Error('not here'), { statusCode: 403 })
  })
  app.connections.addHook('onPublish', ({ data }) => ({ data: { seen: data } }))
  const client = await greet(t, wsUrl, { name: 'js', version: '5', data: { lang: 'de' } })
  const id = client.greeting.connect.client as string
  t.match(await client.ask({ subscribe: { channel: 'a', data: { since: 'today' } } }), { subscribe: {} })
  t.match(await client.ask({ subscribe: { channel: 'b' } }), { error: { code: 103, message: 'not here' } })
  t.strictSame(seen, [{ protocol: 'json', identified: false, channels: [], name: 'js', version: '5', data: { lang: 'de' } }, { channel: 'a', data: { since: 'today' } }, { channel: 'b', data: undefined }])
  await client.ask({ publish: { channel: 'a', data: 1 } })
  t.match(await client.isTold('pub'), { pub: { data: { seen: 1 }, info: { user: `user of ${id}`, client: id, conn_info: { name: 'js' } } } })
  client.say({ subscribe: { channel: 'ends' } })
  t.match(await client.closed(), { code: 4404, reason: 'not here' })
  t.match((await greet(t, wsUrl, { name: 'broke' })).greeting, { error: { code: 402, message: 'pay first' } })
  await t.rejects(greet(t, wsUrl, { name: 'banned' }), { code: 4403, reason: 'banned' })
})

t.test('nobody is told that somebody has gone who had left before hooks let it in', async (t) => {
  const { app, wsUrl } = await start(t)
  const [told, answers]: [string[], (() => void)[]] = [[], []]
  app.connections.addHook('onConnect', () => new Promise<void>((resolve) => { answers.push(resolve) }))
  app.connections.addHook('onDisconnect', ({ caller: { id } }) => { told.push(id) })
  const early = await speak(t, wsUrl)
  early.say({ connect: {} })
  await until(() => answers.length === 1)
  early.ws.terminate()
  await until(() => app.connections.count === 0)
  const late = await speak(t, wsUrl)
  late.say({ connect: {} })
  await until(() => answers.length === 2)
  for (const answer of answers) answer()
  const { connect: { client } } = await late.finds(({ told }) => told[0])
  late.ws.close()
  await until(() => told.length > 0)
  t.strictSame(told, [client])
})

t.test('the server API puts clients into channels, takes them out, and tells them', async (t) => {
  const { app, url, wsUrl } = await startSecure(t, { apiKey: KEY })
  const api = apiOf(url)
  const client = official(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  client.connect()
  const subscription = client.newSubscription('own')
  subscription.subscribe()
  await subscription.ready()
  const subscribed = next<Told>(client, 'subscribed')
  t.strictSame(await api('subscribe', { user: 'ada', channel: 'news' }), {})
  t.match(await subscribed, { channel: 'news', recoverable: true, positioned: true })
  const heard = next<Told>(client, 'publication')
  await api('publish', { channel: 'news', data: 'hello' })
  t.match(await heard, { channel: 'news', data: 'hello' })
  const left = next<Told>(client, 'unsubscribed')
  await api('unsubscribe', { user: 'ada', channel: 'news' })
  t.match(await left, { channel: 'news' })
  const ended = next<Told>(subscription, 'unsubscribed')
  await api('unsubscribe', { user: 'ada', channel: 'own' })
  t.match(await ended, { code: 2000, reason: 'server unsubscribe' })
  t.equal(app.connections.channelCount, 0)
  const gone = next<Told>(client, 'disconnected')
  await api('disconnect', { user: 'ada' })
  t.match(await gone, { code: 3503 })
})

t.test('pings are commands; who does not answer is closed with 3012', async (t) => {
  const { wsUrl } = await start(t, { pingInterval: 0.2, pongTimeout: 0.1 })
  const client = official(t, wsUrl)
  let cuts = 0
  client.on('connecting', ({ code }) => { if (code !== 0) cuts++ })
  client.connect()
  await client.ready()
  const silent = await greet(t, wsUrl)
  silent.answers = false
  t.match(silent.greeting, { connect: { ping: 1, pong: true } })
  t.match(await silent.closed(), { code: 3012 })
  t.match(silent.told.at(-1), {})
  t.equal(cuts, 0, 'the official client answers')
  const eager = await greet(t, wsUrl)
  eager.answers = false
  await eager.finds(({ texts }) => texts.includes('{}') || undefined)
  eager.ws.send('{}\n{}')
  t.match(await eager.closed(), { code: 3501, reason: /a pong without a ping/ })
})

t.test('tools may ask for pings of WebSocket frames', async (t) => {
  const { wsUrl } = await start(t, { pingInterval: 0.2, pongTimeout: 0.1 })
  const tool = await speak(t, wsUrl, '?cf_ws_frame_ping_pong=true')
  t.match(await tool.ask({ connect: {} }), { connect: { ping: undefined, pong: undefined } })
  for (let count = 0; count < 3; count++) await once(tool.ws, 'ping')
  t.equal(tool.told.length, 1)
})

t.test('commands count for MESSAGE_RATE and USER_MESSAGE_RATE: above it they wait, none is lost', async (t) => {
  for (const options of [{ messageRate: 10 }, { userMessageRate: 10 }]) {
    const { wsUrl } = await startSecure(t, { ...options, channels: [{ match: '*', allow: { publish: 'everyone' } }] })
    const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
    const begin = Date.now()
    const ids = client.say(...Array.from({ length: 20 }, (_, index) => index % 2 ? { publish: { channel: 'a', data: index } } : { subscribe: { channel: `c${index}` } }))
    await client.finds(({ told }) => ids.every((id) => told.some((reply) => reply.id === id)) || undefined)
    t.ok(Date.now() - begin > 800, `20 commands took ${Date.now() - begin} ms`)
    t.notOk(client.told.some(({ error }) => error))
  }
})
