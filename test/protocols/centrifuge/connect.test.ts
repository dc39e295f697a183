import t from 'tap'
import { connect, refusal, start, until } from '../../helper.ts'
import { ANOTHER_SECRET, as, secondsFromNow, startSecure, tokenOf } from '../../tokens.ts'
import { addressOf, greet, next, official, speak } from './client.ts'

t.test('connect comes first, and says what the client has to know', async (t) => {
  const { app, wsUrl } = await start(t)
  const client = await greet(t, wsUrl)
  const { connect: { client: id, ...rest } } = client.greeting
  t.match(id, /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
  t.match(rest, { version: /^fanfare \d+\.\d+\.\d+$/, ping: 25, pong: true })
  t.strictSame(Object.keys(rest).sort(), ['ping', 'pong', 'version'])
  t.strictSame([app.connections.count, app.connections.channelCount], [1, 0], 'it hears nothing by itself')
})

t.test('connect and what follows may come in one message, and are handled in order', async (t) => {
  const { wsUrl } = await start(t)
  const client = await speak(t, wsUrl)
  client.say({ connect: {} }, { subscribe: { channel: 'a' } }, { publish: { channel: 'a', data: 1 } }, { subscribe: { channel: 'b' } })
  await client.finds(({ told }) => told.length === 5 ? told : undefined)
  t.strictSame(client.told.filter(({ id }) => id).map(({ id, error }) => [id, error]).sort(), [[1, undefined], [2, undefined], [3, undefined], [4, undefined]])
  t.strictSame(client.heardData, [1])
})

t.test('what is no command, or no command yet, closes with 3501 and says why', async (t) => {
  const { wsUrl } = await start(t)
  const before: [string | Buffer, RegExp][] = [
    ['', /commands in JSON/], ['\n\n', /commands in JSON/], [Buffer.from('{"id":1,"connect":{}}'), /commands in JSON/], ['hello', /it is not JSON/], ['[]', /a command is one of/], ['1', /a command is an object/], ['null', /a command is an object/],
    ['{"id":1,"subscribe":{"channel":"a"}}', /connect comes first/], ['{"connect":{}}', /\/id must be/], ['{"id":0,"connect":{}}', /\/id must be/], ['{"id":-1,"connect":{}}', /\/id must be/], ['{"id":"1","connect":{}}', /\/id must be/],
    ['{"id":4294967296,"connect":{}}', /\/id must be/], ['{"id":1}', /a command is one of/], ['{"id":1,"connect":5}', /\/connect/], ['{"id":1,"connect":{"token":5}}', /\/connect\/token/], ['{}', /a pong without a ping/], [`{"id":1,"connect":${'['.repeat(2000)}`, /deeper than/]
  ]
  for (const [message, reason] of before) {
    const client = await speak(t, wsUrl)
    client.ws.send(message)
    t.match(await client.closed(), { code: 3501, reason }, String(message).slice(0, 40))
  }
  for (const [command, reason] of [[{ connect: {} }, /connected already/], [{ subscribe: {} }, /channel/], [{ subscribe: { channel: 5 } }, /\/subscribe\/channel/], [{ history: { channel: 'a', limit: 'x' } }, /\/history\/limit/], [{ nothing: {} }, /a command is one of/]] as const) {
    const client = await greet(t, wsUrl)
    client.say(command)
    t.match(await client.closed(), { code: 3501, reason }, JSON.stringify(command))
  }
  const client = await greet(t, wsUrl)
  client.ws.send('{"send":{"data":1}}')
  t.match(await client.closed(), { code: 3508, reason: /not available/ })
})

t.test('null and fields of newer clients are no mistakes', async (t) => {
  const { wsUrl } = await start(t)
  const client = await greet(t, wsUrl, { token: null, subs: null, name: 'js', version: '9', flag: 7, dict: 'x', headers: { a: 'b' }, profile: {} })
  t.match(client.greeting, { connect: { pong: true } })
  t.match(await client.ask({ subscribe: { channel: 'a', token: null, recover: null, flag: 1, join_leave: true, delta: 'fossil', positioned: true } }), { subscribe: { recoverable: true } })
})

t.test('a token in the connect command says who it is', async (t) => {
  const { app, url, wsUrl } = await startSecure(t)
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada', info: { name: 'Ada' } }) })
  t.match(client.greeting, { connect: { expires: true, ttl: Number } })
  t.match(await client.ask({ subscribe: { channel: 'a' } }), { subscribe: { positioned: true } })
  t.match(await client.ask({ presence: { channel: 'a' } }), { presence: { presence: { [client.greeting.connect.client]: { user: 'ada', conn_info: { name: 'Ada' } } } } })
  t.equal(await app.connections.disconnect({ user: 'ada' }), 1)
  t.match(await client.closed(), { code: 3503 })
  t.equal((await fetch(`${url}/health/ready`)).status, 200)
})

t.test('without a token, or with a bad one, nobody connects', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const bad: [object, object][] = [
    [{}, { code: 3501, reason: /A token is needed/ }],
    [{ token: '' }, { code: 3501, reason: /A token is needed/ }],
    [{ token: 'x' }, { code: 3500, reason: /invalid token: .*not a JWT/ }],
    [{ token: await tokenOf({ sub: 'ada' }, ANOTHER_SECRET) }, { code: 3500, reason: /its signature fits no key/ }],
    [{ token: await tokenOf({ sub: 'ada', channel: 'a' }) }, { code: 3500, reason: /for a subscription/ }],
    [{ token: 'x'.repeat(9000) }, { code: 3500, reason: /more than 8192 bytes/ }]
  ]
  for (const [params, expected] of bad) {
    const client = await speak(t, wsUrl)
    client.say({ connect: params }, { subscribe: { channel: 'a' } })
    t.match(await client.closed(), expected, JSON.stringify(params).slice(0, 50))
    t.strictSame(client.told, [])
  }
  await until(() => app.connections.count === 0)
})

t.test('an expired token is error 109: the client may get another one; nothing else is handled on this connection', async (t) => {
  const { wsUrl } = await startSecure(t)
  const client = await speak(t, wsUrl)
  client.say({ connect: { token: await tokenOf({ sub: 'ada', exp: secondsFromNow(-60) }) } }, { subscribe: { channel: 'a' } })
  t.strictSame((await client.hears(1)).map((text) => JSON.parse(text) as unknown), [{ id: 1, error: { code: 109, message: 'The token has expired; get a new one' } }])
  client.say({ connect: { token: await tokenOf({ sub: 'ada' }) } })
  t.match(await client.closed(), { code: 3501, reason: /was refused/ })
  t.equal(client.told.length, 1)
})

t.test('the official client asks for a new token when its own has expired', async (t) => {
  const { wsUrl } = await startSecure(t)
  const old = await tokenOf({ sub: 'ada', exp: secondsFromNow(-60) })
  const client = official(t, wsUrl, { token: old, getToken: () => tokenOf({ sub: 'ada' }) })
  const connected = next(client, 'connected')
  client.connect()
  t.match(await connected, { client: String })
})

t.test('a token of the request comes before one of the command; a bad one never gets so far', async (t) => {
  const { wsUrl } = await startSecure(t)
  const client = await greet(t, wsUrl, { token: await tokenOf({ sub: 'bob' }) }, await as('ada'))
  await client.ask({ subscribe: { channel: 'a' } })
  t.match(await client.ask({ presence: { channel: 'a' } }), { presence: { presence: { [client.greeting.connect.client]: { user: 'ada' } } } })
  t.match(await refusal(addressOf(wsUrl), { headers: { authorization: 'Bearer x' } }), { status: 401, body: /FANFARE_TOKEN_INVALID/ })
})

t.test('ALLOW_ANONYMOUS lets those in who bring no token', async (t) => {
  const { wsUrl } = await startSecure(t, { allowAnonymous: true, channels: [{ match: 'open', allow: { subscribe: 'everyone' } }] })
  const guest = await greet(t, wsUrl)
  t.match(await guest.ask({ subscribe: { channel: 'open' } }), { subscribe: { recoverable: true, positioned: true } })
  t.match(await guest.ask({ subscribe: { channel: 'closed' } }), { error: { code: 103 } })
  const ada = await greet(t, wsUrl, { token: await tokenOf({ sub: 'ada' }) })
  t.match(await ada.ask({ subscribe: { channel: 'closed' } }), { subscribe: { recoverable: true } })
})

t.test('limits hold before the upgrade, also for who has not said who it is', async (t) => {
  const { app, wsUrl } = await start(t, { maxConnections: 2 })
  const [first] = [await speak(t, wsUrl), await connect(t, wsUrl)]
  t.match(await refusal(addressOf(wsUrl)), { status: 503, body: /FANFARE_FULL/ })
  t.match(await first.ask({ connect: {} }), { connect: { pong: true } })
  first.ws.close()
  await until(() => app.connections.count === 1)
  t.match((await greet(t, wsUrl)).greeting, { connect: { pong: true } })
  t.match(await refusal(addressOf(wsUrl), { origin: 'https://example.com' }), { status: 403, body: /FANFARE_ORIGIN_REFUSED/ })
})

t.test('who is there when the server stops gets 1012', async (t) => {
  const { app, wsUrl } = await start(t)
  const client = await greet(t, wsUrl)
  const closed = client.closed()
  await app.close()
  t.match(await closed, { code: 1012 })
})
