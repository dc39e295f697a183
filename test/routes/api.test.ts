import t from 'tap'
import { connect, start, until } from '../helper.ts'
import { apiOf, errorWith, KEY, post } from './api-client.ts'

t.test('publish: who is there hears data as JSON, and b64data as binary; the reply is its position', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const client = await connect(t, `${wsUrl}?channel=orders`)
  const values = [{ id: 42, ä: ['\n', 0.1] }, 'hello', '', 7, true, null, []]
  const positions = []
  for (const data of values) positions.push(await api('publish', { channel: 'orders', data }))
  positions.push(await api('publish', { channel: 'orders', b64data: Buffer.from([0, 255]).toString('base64') }))
  t.strictSame((await client.hears(8)).slice(0, 7), values.map((value) => JSON.stringify(value)))
  t.same(client.heard.map(({ binary }) => binary), [...values.map(() => false), true])
  t.same(client.heard[7]?.data, Buffer.from([0, 255]))
  t.same(positions.map(({ offset }) => offset), [1, 2, 3, 4, 5, 6, 7, 8])
  t.equal(new Set(positions.map(({ epoch }) => epoch)).size, 1)
})

t.test('publish: skip_history gets no position, idempotency_key no second publication, and what is newer is ignored', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const client = await connect(t, `${wsUrl}?channel=a`)
  t.strictSame(await api('publish', { channel: 'a', data: 'past', skip_history: true }), {})
  const first = await api('publish', { channel: 'a', data: 1, idempotency_key: 'k', delta: true, version: 7, version_epoch: 'x', newer: {} })
  t.strictSame(await api('publish', { channel: 'a', data: 2, idempotency_key: 'k' }), first)
  t.equal((await api('publish', { channel: 'b', data: 3, idempotency_key: 'k' })).offset, 1, 'a key counts in its channel')
  await api('publish', { channel: 'a', data: 4, b64data: null, tags: null, skip_history: null, idempotency_key: '' })
  t.strictSame(await client.hears(3), ['"past"', '1', '4'])
  t.same((await api('history', { channel: 'a', limit: -1 })).publications, [{ data: 1, offset: 1 }, { data: 4, offset: 2 }])
})

t.test('broadcast: a response for each channel, in their order, failed or not', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const names = Array.from({ length: 1024 }, (_, number) => `c${number}`)
  const client = await connect(t, `${wsUrl}?channel=c0&channel=c1023`)
  const { responses } = await api('broadcast', { channels: names, data: { n: 1 } }) as { responses: { result: object }[] }
  t.equal(responses.filter(({ result }) => result).length, 1024)
  t.strictSame(await client.hears(2), ['{"n":1}', '{"n":1}'])
  await api('publish', { channel: 'c1', data: 2 })
  t.match(await api('broadcast', { channels: ['c1', '', 'c2'], data: 3 }), {
    responses: [{ result: { offset: 3 } }, errorWith(107, /A channel name/), { result: { offset: 2 } }]
  })
  t.match(await api('broadcast', { channels: [], data: 1 }), errorWith(107, /\/channels must NOT have fewer than 1/))
  t.match(await api('broadcast', { channels: [...names, 'x'], data: 1 }), errorWith(107, /\/channels must NOT have more than 1024/))
  t.match(await api('broadcast', { channels: ['c1', 7], data: 1 }), errorWith(107, '/channels/1 must be string'))
})

t.test('history: position alone, a part, all, backwards; text that is no JSON becomes a string, binary base64', async (t) => {
  const { app, url } = await start(t, { apiKey: KEY, historySize: 1000 })
  const api = apiOf(url)
  const data = ['plain text', '{"big": 12345678901234567890,\r\n"a":1}', Buffer.from([1, 2]), { json: true }]
  for (const value of data) await app.connections.publish('a', value)
  await api('publish', { channel: 'a', data: 'tagged', tags: { lang: 'de' } })
  const { text } = await post(`${url}/api/history`, '{"channel":"a","limit":-1}')
  const { epoch } = await api('history', { channel: 'a' }) as { epoch: string }
  t.equal(text, `{"result":{"publications":[{"data":"plain text","offset":1},{"data":{"big": 12345678901234567890,"a":1},"offset":2},{"b64data":"AQI=","offset":3},{"data":{"json":true},"offset":4},{"data":"tagged","offset":5,"tags":{"lang":"de"}}],"epoch":"${epoch}","offset":5}}`)

  const offsets = async (query: object): Promise<unknown> => {
    const { publications, ...rest } = await api('history', { channel: 'a', ...query }) as { publications?: { offset: number }[] }
    return publications ? publications.map(({ offset }) => offset) : rest
  }
  t.same(await api('history', { channel: 'a', limit: 0 }), { publications: [], epoch, offset: 5 })
  t.same(await offsets({ limit: 2 }), [1, 2])
  t.same(await offsets({ limit: 2, reverse: true }), [5, 4])
  t.same(await offsets({ limit: 10, since: { offset: 3, epoch } }), [4, 5])
  t.same(await offsets({ limit: 10, since: { offset: 3 } }), [4, 5])
  t.same(await offsets({ limit: 10, since: { offset: 3, epoch }, reverse: true }), [2, 1])
  t.same(await offsets({ limit: 10, since: { offset: 5, epoch } }), [])
  for (const since of [{ offset: 3, epoch: 'other' }, { offset: 6, epoch }]) {
    t.match(await offsets({ limit: 10, since }), errorWith(112, 'unrecoverable position'))
    t.match(await offsets({ limit: 0, since }), errorWith(112))
  }
  t.match(await offsets({ limit: -2 }), errorWith(107, '/limit must be >= -1'))
  t.match(await offsets({ limit: 1.5 }), errorWith(107, '/limit must be integer'))
  t.match(await offsets({ limit: 1, since: { epoch }, reverse: true }), errorWith(107, /\/since\/offset must be 1 or more/))

  t.strictSame(await api('history_remove', { channel: 'a' }), {})
  t.same(await api('history', { channel: 'a', limit: -1 }), { publications: [], epoch, offset: 5 })
  t.match(await offsets({ limit: 10, since: { offset: 3, epoch } }), errorWith(112), 'what came after it is gone')
  await Promise.all(Array.from({ length: 310 }, (_, number) => app.connections.publish('long', number)))
  for (const limit of [-1, 1000]) t.equal((await api('history', { channel: 'long', limit }) as { publications: object[] }).publications.length, 300)
})

t.test('history and presence are not available where the channel has none', async (t) => {
  const { url } = await start(t, { apiKey: KEY, channels: [{ match: 'none:*', historySize: 0, presence: false }, { match: 'zero:*', historyTtl: 0 }] })
  const api = apiOf(url)
  for (const channel of ['none:1', 'zero:1']) {
    t.match(await api('history', { channel }), errorWith(108, `Channel ${channel} keeps no history`))
    t.match(await api('history_remove', { channel }), errorWith(108))
  }
  t.match(await api('presence', { channel: 'none:1' }), errorWith(108, /does not keep who is in it/))
  t.match(await api('presence_stats', { channel: 'none:1' }), errorWith(108))
  t.strictSame(await api('presence_stats', { channel: 'zero:1' }), { num_clients: 0, num_users: 0 })
})

t.test('presence, presence_stats, channels and info tell who is where', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const [red] = await Promise.all([connect(t, `${wsUrl}?channel=chat:red`), connect(t, `${wsUrl}?channel=chat:red&channel=chat:blue`), connect(t, wsUrl)])
  await until(async () => (await api('presence_stats', { channel: 'chat:red' })).num_clients === 2)
  t.strictSame(await api('presence_stats', { channel: 'chat:red' }), { num_clients: 2, num_users: 1 })
  const { presence } = await api('presence', { channel: 'chat:red' }) as { presence: Record<string, { user: string, client: string }> }
  t.same(Object.entries(presence).map(([id, { user, client }]) => [user, client === id]), [['', true], ['', true]])
  t.strictSame((await api('channels')).channels, { broadcast: { num_clients: 1 }, 'chat:red': { num_clients: 2 }, 'chat:blue': { num_clients: 1 } })
  t.strictSame((await api('channels', { pattern: 'chat:r*' })).channels, { 'chat:red': { num_clients: 2 } })
  t.strictSame((await api('channels', { pattern: '{broadcast,*blue}' })).channels, { broadcast: { num_clients: 1 }, 'chat:blue': { num_clients: 1 } })
  t.match(await api('info'), { nodes: [{ uid: String, name: String, version: String, num_clients: 3, num_users: 1, num_subs: 4, num_channels: 3, uptime: Number }] })
  t.same((await post(`${url}/api/info`, undefined)).status, 200, 'no body is no parameters')
  red.ws.close()
  await until(async () => (await api('presence_stats', { channel: 'chat:red' })).num_clients === 1)
})

t.test('disconnect: closes those who are meant with the code and reason given, and spares the whitelist', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const clients = await Promise.all(['a', 'b', 'c'].map((channel) => connect(t, `${wsUrl}?channel=${channel}`)))
  const ids = await Promise.all(['a', 'b', 'c'].map(async (channel) => {
    const members = async (): Promise<string[]> => Object.keys((await api('presence', { channel })).presence as object)
    await until(async () => (await members()).length === 1)
    return (await members())[0]
  }))
  const closed = clients.map((client) => client.closed())
  t.strictSame(await api('disconnect', { client: ids[0], user: '', session: '' }), {})
  t.same(await closed[0], { code: 3503, reason: 'force disconnect' })
  t.strictSame(await api('disconnect', { session: ids[1], disconnect: { code: 4001, reason: 'out' } }), {})
  t.same(await closed[1], { code: 4001, reason: 'out' })
  t.strictSame(await api('disconnect', { client: ids[2], whitelist: [ids[2]] }), {})
  t.strictSame(await api('disconnect', { user: 'unknown', client: ids[2], disconnect: { code: 0, reason: '' } }), {})
  t.equal((await api('info') as { nodes: { num_clients: number }[] }).nodes[0]?.num_clients, 1)
  t.match(await api('disconnect', { whitelist: [ids[2]], channel: 'c' }), errorWith(107, /Say whose connections are meant/))
  for (const code of [999, 1001, 1005, 2999, 5000, -1]) {
    t.match(await api('disconnect', { client: ids[2], disconnect: { code } }), errorWith(107, new RegExp(`code must be 1000, or from 3000 to 4999; got ${code}`)))
  }
  t.match(await api('disconnect', { client: ids[2], disconnect: { reason: 'ü'.repeat(62) } }), errorWith(107, /reason may have 123 bytes; got 124/))
  t.strictSame(await api('disconnect', { client: ids[2], disconnect: { code: 1000 } }), {})
  t.same(await closed[2], { code: 1000, reason: '' })
})

t.test('batch: replies in the order of the commands, one after another or in parallel', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const client = await connect(t, `${wsUrl}?channel=a`)
  for (const parallel of [false, true]) {
    const commands = [{ publish: { channel: 'a', data: 1, skip_history: true } }, { history: { channel: 'new' } }, { nope: {} }, {}, { publish: { channel: '' } }, { batch: { commands: [] } }, { newer: 1, info: {} }]
    t.match(await api('batch', { commands, parallel }), {
      replies: [{ publish: {} }, { history: { offset: 0 } }, errorWith(104), errorWith(104), errorWith(107), errorWith(104), { info: { nodes: Array } }]
    })
  }
  const commands = Array.from({ length: 1024 }, (_, data) => ({ publish: { channel: 'a', data } }))
  t.equal((await api('batch', { commands }) as { replies: object[] }).replies.length, 1024)
  t.strictSame((await client.hears(1026)).slice(2), commands.map((_, number) => String(number)), 'in this order')
  t.strictSame(await api('batch', { commands: [] }), { replies: [] })
  t.match(await api('batch', { commands: [...commands, {}] }), errorWith(107, /\/commands must NOT have more than 1024/))
  t.match(await api('batch', { commands: [{}, 7] }), errorWith(107, '/commands/1 must be object'))
})

t.test('batch: the replies to one request are bounded, and what would not fit is not run', async (t) => {
  const { app, url } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  await Promise.all(Array.from({ length: 100 }, () => app.connections.publish('a', 'x'.repeat(65_000))))
  const commands = [...Array.from({ length: 6 }, () => ({ history: { channel: 'a', limit: -1 } })), { history: { channel: 'a' } }]
  for (const parallel of [false, true]) {
    const { replies } = await api('batch', { commands, parallel }) as { replies: { history?: object, error?: object }[] }
    t.same(replies.map(({ error }) => error !== undefined), [false, false, false, false, false, true, false], '5 times 6.5 MB')
    t.match(replies[5], errorWith(106, 'The replies to one request may have 33554432 bytes in all: ask for less at once'))
  }
})

t.test('POST /api takes the old form: one command in each line, and answers in lines', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const client = await connect(t, `${wsUrl}?channel=a`)
  client.ws.send('{"two":\n"lines"}')
  await client.hears(1)
  const commands = [
    { method: 'publish', params: { channel: 'a', data: 1 } }, { method: 'history', params: { channel: 'a', limit: 1 } },
    { method: 'info' }, { method: 'nope' }, { method: 'publish', params: {} }, { params: {} }, 7, { method: 'batch', params: { commands: [] } }
  ]
  const { status, text } = await post(`${url}/api`, `${commands.map((command) => JSON.stringify(command)).join('\n')}\n\n`)
  t.equal(status, 200)
  t.match(text.split('\n').map((line) => JSON.parse(line) as object), [
    { result: { offset: 2 } }, { result: { publications: [{ data: { two: 'lines' } }] } }, { result: { nodes: Array } },
    errorWith(104), errorWith(107, "/ must have required property 'channel'"), errorWith(107, "/ must have required property 'method'"), errorWith(107, '/ must be object'), errorWith(104)
  ])
  t.match((await post(`${url}/api`, JSON.stringify(commands[0], null, 2))).json, { result: { offset: 3 } }, 'one command may have several lines')
  for (const body of ['', '{"method":"info"}\n{', '{}\n'.repeat(1025), '"__proto__"\n{"__proto__":1}']) {
    t.match(await post(`${url}/api`, body), { status: 400, text: /^The body must be JSON: / })
  }
})

t.test('subscribe and unsubscribe: connections hear one more channel, or no more', async (t) => {
  const { url, wsUrl, app } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  const client = await connect(t, `${wsUrl}?channel=a`)
  const [{ client: id } = { client: '' }] = await app.connections.presence('a')
  t.strictSame(await api('subscribe', { client: id, channel: 'b' }), {})
  await api('publish', { channel: 'b', data: 1 })
  t.strictSame(await client.hears(1), ['1'])
  t.strictSame(await api('unsubscribe', { client: id, channel: 'b' }), {})
  await api('publish', { channel: 'b', data: 2 })
  await api('publish', { channel: 'a', data: 3 })
  t.strictSame(await client.hears(2), ['1', '3'])
  t.match(await api('subscribe', { client: id, channel: '' }), errorWith(107, /A channel name is/))
  t.match(await api('subscribe', { channel: 'b' }), errorWith(107, /Say whose connections are meant/))
})

t.test('rpc: calls a function of the app', async (t) => {
  const { url, app } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  app.connections.rpc('double', async (data) => Number(data) * 2).rpc('nothing', () => {})
  t.strictSame(await api('rpc', { method: 'double', params: 21 }), { data: 42 })
  t.strictSame(await api('rpc', { method: 'nothing' }), { data: null })
  t.match(await api('rpc', { method: 'other' }), errorWith(104, 'There is no method other'))
})

t.test('methods that are not known', async (t) => {
  const { url } = await start(t, { apiKey: KEY })
  const api = apiOf(url)
  for (const method of ['nope', 'constructor', '__proto__', 'PUBLISH', '']) t.strictSame(await api(method), errorWith(104, 'method not found'))
})
