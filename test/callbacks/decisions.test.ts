import t from 'tap'
import { connect, refusal, start, type Client } from '../helper.ts'
import { greet } from '../protocols/centrifuge/client.ts'
import { apiOf, errorWith, KEY, post } from '../routes/api-client.ts'
import { startBackEnd } from './test-back-end.ts'

const ADA = () => ({ result: { user: 'ada', meta: { plan: 'pro' }, channels: ['red'] } })

t.test('subscribe: the back end says who may hear a channel', async (t) => {
  const backEnd = await startBackEnd(t, {
    connect: ADA,
    subscribe: ({ body: { channel } }) => channel === 'red' ? { result: {} } : { error: { code: 103, message: 'members only' } }
  })
  const { url, wsUrl } = await start(t, { callbackUrl: backEnd.url, callbackEvents: ['connect', 'subscribe'], hookTimeout: 2 })
  await connect(t, `${wsUrl}?channel=red`)
  const [connected] = backEnd.of('connect')
  t.same(backEnd.of('subscribe')[0]?.body, { client: connected?.body.client, transport: 'websocket', protocol: 'plain', encoding: 'json', user: 'ada', meta: { plan: 'pro' }, channel: 'red' })
  t.match(await refusal(`${wsUrl}?channel=blue`), { status: 403, body: /members only \(103\)/ })
  t.equal((await fetch(`${url}/sse?channel=blue`)).status, 403)
  t.equal(backEnd.of('subscribe').at(-1)?.body.transport, 'sse')
  backEnd.answers.subscribe = () => undefined
  t.match(await refusal(`${wsUrl}?channel=red`), { status: 503, body: /FANFARE_HOOK_TIMEOUT/ })
  backEnd.answers.subscribe = () => 'yes'
  t.match(await refusal(`${wsUrl}?channel=red`), { status: 503, body: /FANFARE_CALLBACK_FAILED/ })
})

t.test('subscribe and connect: the back end says what clients are told, what others may see, and when it ends; that was ignored', async (t) => {
  const inBase64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')
  const backEnd = await startBackEnd(t, {
    connect: () => ({ result: { user: 'ada', data: { welcome: true } } }),
    subscribe: ({ body: { channel } }) => ({ result: channel === 'red' ? { info: { seat: 7 }, b64data: inBase64([1]), expire_at: Math.floor(Date.now() / 1000) + 4 } : { b64info: inBase64({ seat: 8 }), data: null, expire_at: 0 } })
  })
  const { app, wsUrl } = await start(t, { callbackUrl: backEnd.url, callbackEvents: ['connect', 'subscribe'] })
  const client = await greet(t, wsUrl)
  t.match(client.greeting.connect, { data: { welcome: true } })
  t.match(await client.ask({ subscribe: { channel: 'red' } }), { subscribe: { data: [1] } })
  t.notOk((await client.ask({ subscribe: { channel: 'blue' } })).subscribe.data)
  t.match(await app.connections.presence('red'), [{ user: 'ada', channelInfo: { seat: 7 } }])
  t.match(await app.connections.presence('blue'), [{ user: 'ada', channelInfo: { seat: 8 } }])
  t.match(await client.isTold('unsubscribe'), { channel: 'red', unsubscribe: { code: 2501 } })
  backEnd.answers.subscribe = () => ({ result: { expire_at: 'soon' } })
  t.match(await client.ask({ subscribe: { channel: 'red' } }), { error: { code: 100 } })
})

t.test('subscribe alone leaves the server open, and decides for those who ask over HTTP too', async (t) => {
  const backEnd = await startBackEnd(t, { subscribe: ({ body: { channel } }) => ({ [channel === 'red' ? 'result' : 'error']: { code: 1 } }) })
  const { url, wsUrl } = await start(t, { callbackUrl: backEnd.url, callbackEvents: ['subscribe'], channels: [{ match: '*', allow: { presence: 'subscribers' } }] })
  await connect(t, `${wsUrl}?channel=red`)
  t.equal((await fetch(`${url}/presence?channel=red`)).status, 200)
  t.match(backEnd.asked.at(-1)?.body, { transport: 'http', client: '', user: '' })
  t.equal((await fetch(`${url}/presence?channel=blue`)).status, 403)
})

t.test('publish: the back end lets pass, changes, keeps out of the history, and refuses', async (t) => {
  const backEnd = await startBackEnd(t)
  const { app, wsUrl } = await start(t, { callbackUrl: backEnd.url, callbackEvents: ['publish'], hookTimeout: 2 })
  const listener = await connect(t, `${wsUrl}?channel=red`)
  const client = await connect(t, `${wsUrl}?channel=red`)
  const says = [
    { result: {} },
    { result: { data: 'better' } },
    { result: { data: { better: 2 } } },
    { result: { b64data: Buffer.from([1, 2]).toString('base64'), data: null } },
    { result: { skip_history: true } },
    { result: {} }
  ]
  let next = 0
  backEnd.answers.publish = () => says[next++]
  for (const text of ['one', 'two', 'three', 'four', 'five']) client.ws.send(text)
  client.ws.send(Buffer.from('six'))
  t.same(await listener.hears(6), ['one', 'better', '{"better":2}', '\u0001\u0002', 'five', 'six'])
  t.same(backEnd.asked.map(({ body: { data, b64data } }) => data ?? b64data), ['one', 'two', 'three', 'four', 'five', Buffer.from('six').toString('base64')])
  t.match(backEnd.asked[0]?.body, { channel: 'red', user: '', transport: 'websocket' })
  t.equal(listener.heard[3]?.binary, true)
  t.same((await app.connections.history('red')).publications.map(({ data }) => String(data)), ['one', 'better', '{"better":2}', '\u0001\u0002', 'six'])

  backEnd.answers.publish = () => ({ error: { code: 1001, message: 'no links' } })
  client.ws.send('http://')
  t.same(await client.closed(), { code: 3507, reason: 'no links (1001)' })
  for (const [answer, close] of [
    [{ disconnect: { code: 4000, reason: 'spam' } }, { code: 4000, reason: 'spam' }],
    [{ disconnect: { code: 1000, reason: 'spam' } }, { code: 3507, reason: 'spam' }],
    [{ result: { b64data: '#' } }, { code: 1013, reason: /gives no answer/ }],
    [500, { code: 1013, reason: /gives no answer/ }],
    [undefined, { code: 1013, reason: /did not answer within 2 seconds/ }]
  ] as const) {
    const sender = await connect(t, `${wsUrl}?channel=red`)
    backEnd.answers.publish = () => answer
    sender.ws.send('x')
    t.match(await sender.closed(), close)
  }
  t.equal(listener.heard.length, 6)
  await backEnd.close()
  const sender = await connect(t, `${wsUrl}?channel=red`)
  sender.ws.send('x')
  t.match(await sender.closed(), { code: 1013, reason: /gives no answer/ })
  t.equal(listener.ws.readyState, listener.ws.OPEN)
})

t.test('rpc: what no function of the app does, the back end does', async (t) => {
  const backEnd = await startBackEnd(t)
  const { app, url } = await start(t, { callbackUrl: backEnd.url, callbackEvents: ['rpc'], hookTimeout: 2, apiKey: KEY })
  const api = apiOf(url)
  app.connections.rpc('own', () => 'mine')
  backEnd.answers.rpc = ({ body: { data } }) => ({ result: { data: { got: data } } })
  t.same(await api('rpc', { method: 'own' }), { data: 'mine' })
  t.equal(backEnd.asked.length, 0)
  t.same(await api('rpc', { method: 'sum', params: [1, 2] }), { data: { got: [1, 2] } })
  t.same(backEnd.asked[0]?.body, { method: 'sum', data: [1, 2] })
  const caller = { id: 'c', user: 'ada', meta: 7, address: '::1', transport: 'websocket' } as const
  t.same(await app.connections.call('sum', 1, caller), { got: 1 })
  t.same(backEnd.asked[1]?.body, { client: 'c', transport: 'websocket', protocol: 'plain', encoding: 'json', user: 'ada', meta: 7, method: 'sum', data: 1 })
  backEnd.answers.rpc = () => ({ result: { b64data: 'AAA=' } })
  t.same(await api('rpc', { method: 'sum' }), { data: 'AAA=' })
  backEnd.answers.rpc = () => ({ error: { code: 404, message: 'no such method' } })
  t.match(await api('rpc', { method: 'none' }), errorWith(404, 'no such method'))
  backEnd.answers.rpc = () => 502
  t.match(await api('rpc', { method: 'sum' }), errorWith(100, /gives no answer now/))
  backEnd.answers.rpc = () => undefined
  t.match(await api('rpc', { method: 'sum' }), errorWith(100, /did not answer/))
  t.equal((await post(`${url}/api/info`, '{}')).status, 200)
})

t.test('without such a hook an unknown function is an error, and the last hook that answers counts', async (t) => {
  const { app } = await start(t)
  await t.rejects(app.connections.call('none', 1), { code: 'FANFARE_NO_METHOD' })
  const backEnd = await startBackEnd(t)
  const other = await start(t, { callbackUrl: backEnd.url, callbackEvents: ['rpc', 'connect'] })
  other.app.connections.addHook('onRpc', ({ answer }) => answer && { data: [answer.data] })
  t.same(await other.app.connections.call('x', 1), [undefined])
})

t.test('refresh: who may go on does, until later; who may not ends with the token, or at once if the back end says so', async (t) => {
  const end = Math.floor(Date.now() / 1000) + 8
  const said: Record<string, object | number | undefined> = {
    forever: { result: { expire_at: 0, info: 2 } },
    later: { result: { expire_at: end + 3 } },
    same: { result: { expire_at: end } },
    expired: { result: { expired: true } },
    nothing: { result: {} },
    error: { error: { code: 1 } },
    down: 500,
    late: undefined,
    out: { disconnect: { code: 4009, reason: 'out' } }
  }
  const users = Object.keys(said)
  const backEnd = await startBackEnd(t, {
    connect: () => ({ result: { user: users.shift(), expire_at: end, info: 1, meta: 'm' } }),
    refresh: ({ body: { user } }) => said[String(user)]
  })
  const { app, wsUrl } = await start(t, { callbackUrl: backEnd.url, callbackEvents: ['connect', 'refresh'], hookTimeout: 2 })
  const clients = new Map<string, Client>()
  const closed = new Map<string, Promise<{ code: number, seconds: number }>>()
  for (const user of Object.keys(said)) {
    const client = await connect(t, wsUrl)
    clients.set(user, client)
    closed.set(user, client.closed().then(({ code }) => ({ code, seconds: Date.now() / 1000 - end })))
  }
  await backEnd.when(() => backEnd.of('refresh').length >= 9)
  t.ok(Date.now() < end * 1000, 'they were asked about before the end')
  t.same(backEnd.of('refresh').find(({ body }) => body.user === 'forever')?.body, { client: backEnd.asked[0]?.body.client, transport: 'websocket', protocol: 'plain', encoding: 'json', user: 'forever', meta: 'm' })
  for (const user of Object.keys(said).slice(1)) {
    const { code, seconds } = await closed.get(user) as { code: number, seconds: number }
    const [least, most] = user === 'out' ? [-2.3, 0] : user === 'later' ? [2.9, 5] : [-0.1, 0.9]
    t.equal(code, user === 'out' ? 4009 : 3005, user)
    t.ok(seconds >= least && seconds < most, `${user}: closed ${seconds} s after the end`)
  }
  t.equal(clients.get('forever')?.ws.readyState, 1)
  t.equal(app.connections.count, 1)
  t.equal(backEnd.of('refresh').filter(({ body }) => body.user === 'later').length, 2, 'who was renewed is asked about again')
})
