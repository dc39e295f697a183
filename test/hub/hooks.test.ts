import t from 'tap'
import { connect, refusal, start, until } from '../helper.ts'
import { apiOf, errorWith, KEY } from '../routes/api-client.ts'
import { answerOf, as, startSecure } from '../tokens.ts'

function refuse (facts: object, message = 'The reason'): never {
  throw Object.assign(new Error(message), facts)
}

t.test('onConnect says who somebody is, and sees what is asked for', async (t) => {
  const { app, url, wsUrl } = await startSecure(t)
  const seen: unknown[] = []
  app.connections
    .addHook('onConnect', async ({ caller, channels, headers }) => {
      seen.push({ ...caller, channels, key: headers['x-key'] })
      if (headers['x-key'] === 'right') return { user: 'ada', info: { name: 'Ada' }, meta: 1, grants: new Map([['$vip', { info: 'seat 7' }]]), expiresAt: Date.now() + 3000 }
    })
    .addHook('onConnect', ({ caller }) => { seen.push({ user: caller.user, info: caller.info }) })
  const client = await connect(t, `${wsUrl}?channel=$vip&channel=news&channel=news`, { headers: { 'x-key': 'right' } })
  t.match(seen, [{ user: '', address: '127.0.0.1', id: /^[\w-]{36}$/, channels: ['$vip', 'news'], key: 'right' }, { user: 'ada', info: { name: 'Ada' } }])
  await until(async () => (await app.connections.presence('$vip')).length === 1)
  t.match(await app.connections.presence('$vip'), [{ user: 'ada', info: { name: 'Ada' }, channelInfo: 'seat 7', client: (seen[0] as { id: string }).id }])
  t.equal((await client.closed()).code, 3005, 'when it said that it ends')
  t.equal((await refusal(wsUrl, { headers: { 'x-key': 'wrong' } })).status, 401, 'whom no hook knows needs a token')
  t.equal((await answerOf(`${url}/sse`)).status, 401)
})

t.test('onConnect hears of a guest that nobody has said who it is: of guests it heard the opposite', async (t) => {
  const { app, wsUrl } = await startSecure(t, { allowAnonymous: true, channels: [{ match: '*', allow: { subscribe: 'everyone' } }] })
  const seen: unknown[] = []
  app.connections
    .addHook('onConnect', ({ caller: { user }, identified, headers }) => {
      seen.push([user, identified])
      if (headers['x-key'] === 'right') return { user: 'bob' }
    })
    .addHook('onConnect', ({ caller: { user }, identified }) => { seen.push([user, identified]) })
  for (const options of [{}, { headers: { 'x-key': 'right' } }, await as('ada'), await as('')]) await connect(t, wsUrl, options)
  t.same(seen, [['', false], ['', false], ['', false], ['bob', true], ['ada', true], ['ada', true], ['', true], ['', true]])
})

t.test('onConnect and onSubscribe refuse with their status, code and message, before there is a connection', async (t) => {
  const { app, url, wsUrl } = await start(t)
  app.connections
    .addHook('onConnect', ({ headers }) => { if (headers['x-key'] === 'poor') refuse({ statusCode: 402, code: 'NO_MONEY' }, 'Pay first') })
    .addHook('onSubscribe', async ({ channel }) => { if (channel === 'team') refuse({ closeCode: 4403 }, 'Not in this team') })
    .addHook('onSubscribe', () => { throw new Error('never reached for team') })
  const poor = { 'x-key': 'poor' }
  const [websocket, sse] = [await refusal(wsUrl, { headers: poor }), await answerOf(`${url}/sse`, poor)]
  for (const { status, text } of [{ ...websocket, text: websocket.body }, sse]) {
    t.match({ status, body: JSON.parse(text) }, { status: 402, body: { code: 'NO_MONEY', message: 'Pay first' } })
  }
  t.match(await refusal(`${wsUrl}?channel=team`), { status: 403, body: /Not in this team/ })
  t.match(await answerOf(`${url}/sse?channel=team`), { status: 403, text: /Not in this team/ })
  t.match(await answerOf(`${url}/presence?channel=team`), { status: 200 }, 'in open mode everyone may see who is there')
  t.equal(app.connections.count, 0)
})

t.test('onSubscribe is asked before /presence and /position show a channel to those who may hear it', async (t) => {
  const { app, url } = await startSecure(t)
  app.connections.addHook('onSubscribe', ({ caller, channel }) => { if (channel === 'team' && caller.user !== 'ada') refuse({ statusCode: 403 }) })
  for (const path of ['/presence', '/position', '/sse']) {
    t.equal((await answerOf(`${url}${path}?channel=team`, (await as('ada')).headers)).status, 200, path)
    t.equal((await answerOf(`${url}${path}?channel=team`, (await as('bob')).headers)).status, 403, path)
  }
})

t.test('onPublish refuses with its close code and message, and nothing is published', async (t) => {
  const { app, wsUrl } = await start(t)
  app.connections.addHook('onPublish', async ({ caller, channel, data }) => {
    if (data === 'bad word') refuse({ closeCode: 4422 }, `Not in ${channel}, ${caller.id === '' ? 'nobody' : 'you'}: ${'x'.repeat(200)}`)
    if (data === 'forbidden') refuse({ statusCode: 403 })
    if (data === 'no code') refuse({ closeCode: 1 })
  })
  const listener = await connect(t, wsUrl)
  for (const [text, code, reason] of [['bad word', 4422, /^Not in broadcast, you: x{80,}…$/], ['forbidden', 3507, /^The reason$/], ['no code', 3507, /^The reason$/]] as const) {
    const client = await connect(t, wsUrl)
    client.ws.send(text)
    t.match(await client.closed(), { code, reason })
  }
  await app.connections.publish('broadcast', 'bad word')
  t.strictSame(await listener.hears(1), ['bad word'], 'what code publishes passes no hooks')
})

t.test('onPublish changes data: text, JSON and binary; each hook sees what the one before it made', async (t) => {
  const { app, wsUrl } = await start(t)
  app.connections
    .addHook('onPublish', async ({ data }) => {
      if (data === 'to json') return { data: { text: data } }
      if (data === 'to binary') return { data: Buffer.from([1, 2]) }
      if (Buffer.isBuffer(data)) return { data: `${data.length} bytes` }
    })
    .addHook('onPublish', ({ data }) => typeof data === 'string' ? { data: data.toUpperCase() } : undefined)
  const [sender, listener] = await Promise.all([connect(t, wsUrl), connect(t, wsUrl)])
  for (const data of ['to json', 'to binary', 'plain', Buffer.alloc(3)]) sender.ws.send(data)
  for (const client of [listener, sender]) {
    await client.hears(4)
    t.strictSame(client.heard.map(({ data, binary }) => binary ? data : String(data)), ['{"text":"to json"}', Buffer.from([1, 2]), 'PLAIN', '3 BYTES'])
  }
})

t.test('what hooks throw by mistake is not shown, and refuses; also what is no error', async (t) => {
  const { app, url, wsUrl } = await start(t)
  const mistakes: unknown[] = [new TypeError('secret of the database'), 'secret text', undefined, null, 42, Object.freeze({ secret: true })]
  let thrown: unknown
  let hook = ''
  const fail = (name: string) => async () => { if (name === hook) throw thrown }
  app.connections.addHook('onConnect', fail('onConnect')).addHook('onSubscribe', fail('onSubscribe')).addHook('onPublish', fail('onPublish'))
  for (thrown of mistakes) {
    for (hook of ['onConnect', 'onSubscribe']) {
      for (const { status, text } of [await refusal(wsUrl).then(({ status, body }) => ({ status, text: body })), await answerOf(`${url}/sse`)]) {
        t.match({ status, text }, { status: 403, text: /FANFARE_REFUSED.*The application refused this/ }, `${hook} throws ${String(thrown)}`)
        t.notMatch(text, 'secret')
      }
    }
    hook = 'onPublish'
    const client = await connect(t, wsUrl)
    client.ws.send('x')
    t.strictSame(await client.closed(), { code: 3507, reason: 'The application refused this' }, `onPublish throws ${String(thrown)}`)
  }
  t.strictSame((await app.connections.history('broadcast')).publications, [])
})

t.test('onOccupied, onUnsubscribe, onDisconnect and onVacated tell what has happened; who throws there harms nobody', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const told: string[] = []
  app.connections
    .addHook('onOccupied', ({ channel }) => { told.push(`occupied ${channel}`) })
    .addHook('onUnsubscribe', ({ caller, channel }) => { told.push(`${caller.user} left ${channel}`) })
    .addHook('onDisconnect', ({ caller, code, seconds }) => { told.push(`${caller.user} gone ${code} ${seconds >= 0 && seconds < 5}`) })
    .addHook('onVacated', ({ channel }) => { told.push(`vacated ${channel}`) })
  for (const name of ['onOccupied', 'onUnsubscribe', 'onDisconnect', 'onVacated'] as const) app.connections.addHook(name, async () => { throw new Error('mistake') })
  const ada = await connect(t, `${wsUrl}?channel=red`, await as('ada'))
  const bob = await connect(t, `${wsUrl}?channel=red&channel=blue`, await as('bob'))
  t.equal(await app.connections.removeFrom('blue', { user: 'bob' }), 1)
  t.strictSame(told, ['occupied red', 'occupied blue', 'bob left blue', 'vacated blue'])
  ada.ws.close(4000)
  await until(() => app.connections.count === 1)
  t.strictSame(told.slice(4), ['ada left red', 'ada gone 4000 true'])
  const closed = bob.closed()
  await app.connections.disconnect({ user: 'bob' })
  await closed
  t.strictSame(told.slice(6), ['bob left red', 'vacated red', 'bob gone 3503 true'])
})

t.test('rpc: the server API calls functions of the app by name', async (t) => {
  const { app, url } = await start(t, { apiKey: KEY, hookTimeout: 0.2 })
  app.connections
    .rpc('sum', async (numbers, caller) => ({ sum: (numbers as number[]).reduce((a, b) => a + b), caller: caller ?? null }))
    .rpc('nothing', () => {})
    .rpc('mistake', () => { throw new Error('secret of the database') })
    .rpc('never', async () => new Promise(() => {}))
    .rpc('__proto__', () => 'own')
  const call = async (method: string, params?: unknown): Promise<unknown> => apiOf(url)('rpc', { method, params })
  t.strictSame(await call('sum', [1, 2]), { data: { sum: 3, caller: null } })
  t.strictSame(await call('nothing'), { data: null })
  t.strictSame(await call('__proto__'), { data: 'own' })
  for (const name of ['unknown', 'constructor', 'toString', '']) t.match(await call(name), errorWith(104, `There is no method ${name}`))
  t.strictSame(await call('mistake'), errorWith(100, 'internal server error'))
  t.match(await call('never'), errorWith(100, /did not answer within 0.2 seconds/))
})

t.test('a hook that there is not, or that is no function, is an error at once', async (t) => {
  const { app } = await start(t)
  const add = app.connections.addHook.bind(app.connections) as (name: string, hook: unknown) => void
  t.throws(() => add('onMessage', () => {}), { code: 'FANFARE_BAD_HOOK', message: /There is no hook onMessage; there are onConnect, / })
  t.throws(() => add('onConnect', 'text'), { code: 'FANFARE_BAD_HOOK' })
  t.throws(() => add('__proto__', () => {}), { code: 'FANFARE_BAD_HOOK' })
})

t.test('whatever hooks and functions throw, also nothing, ends neither the node nor another: null ended the process', async (t) => {
  const { app, url, wsUrl } = await start(t, { apiKey: KEY })
  const thrown = [null, undefined, 'a string', 42, Object.create(null) as object, Symbol('x')]
  for (const [index, value] of thrown.entries()) {
    app.connections.rpc(`f${index}`, () => Promise.reject(value))
    app.connections.addHook('onDisconnect', () => Promise.reject(value))
  }
  const call = apiOf(url)
  for (const index of thrown.keys()) t.match(await call('rpc', { method: `f${index}` }), errorWith(100))
  app.connections.addHook('onConnect', () => Promise.reject(thrown.shift()))
  for (let round = 0; round < 6; round++) t.match(await refusal(wsUrl), { status: 403, body: /FANFARE_REFUSED/ })
})

t.test('what a hook still looked at when its connection was ended was published after that', async (t) => {
  const { app, wsUrl } = await start(t)
  const asked = new Promise<() => void>((resolve) => {
    app.connections.addHook('onPublish', () => new Promise<void>((_resolve) => resolve(_resolve)))
  })
  const client = await connect(t, wsUrl)
  client.ws.send('x')
  const answer = await asked
  const closed = client.closed()
  await app.connections.disconnect({ channel: 'broadcast' })
  answer()
  t.match(await closed, { code: 3503 })
  await new Promise(setImmediate)
  t.equal((await app.connections.position('broadcast')).offset, 0)
})
