import t from 'tap'
import { replyCodes, replyErrorTable } from '../../src/reply-errors.ts'
import { connect, percentile, refusal, start } from '../helper.ts'
import { freePort, startProcess } from '../process.ts'
import { apiOf, errorWith, KEY, post, type Reply } from './api-client.ts'

t.test('only who has the key comes in, by either header; never by the query', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const right = [{ 'x-api-key': KEY }, { authorization: `apikey ${KEY}` }, { authorization: `ApiKey ${KEY}` }, { 'x-api-key': KEY, authorization: 'Bearer x' }]
  for (const headers of right) t.match(await post(`${url}/api/info`, '{}', headers as Record<string, string>), { status: 200 })
  const wrong = [
    {}, { 'x-api-key': '' }, { 'x-api-key': KEY.slice(0, -1) }, { 'x-api-key': `${KEY}x` }, { 'x-api-key': 'x'.repeat(8000) },
    { authorization: KEY }, { authorization: `Bearer ${KEY}` }, { authorization: 'apikey' }, { authorization: `apikey x${KEY}` }
  ]
  for (const path of ['/api/info', '/api/publish', '/api/nope', '/api', `/api/info?api_key=${encodeURIComponent(KEY)}`]) {
    for (const headers of wrong) t.match(await post(url + path, '{"channel":"a","data":1}', headers as Record<string, string>), { status: 401, text: '' }, `${path} ${JSON.stringify(headers)}`)
  }
  t.match(await refusal(wsUrl.replace('/ws', '/api/publish'), { headers: { 'x-api-key': KEY } }), { status: 404 }, 'there is no WebSocket')
})

t.test('a server without a key lets nobody in, also not with an empty one', async (t) => {
  const { url } = await start(t)
  for (const headers of [{}, { 'x-api-key': '' }, { 'x-api-key': 'x' }, { authorization: 'apikey ' }]) {
    t.match(await post(`${url}/api/info`, '{}', headers as Record<string, string>), { status: 401, text: '' })
  }
})

t.test('a key may have letters of all alphabets', async (t) => {
  const key = 'schlüssel ключ'
  const { url } = await start(t, { apiKey: key })
  t.match(await post(`${url}/api/info`, '{}', { 'x-api-key': Buffer.from(key).toString('latin1') }), { status: 200 })
})

t.test('who has no key is refused before the body is read', async (t) => {
  const { url } = await start(t, { apiKey: KEY })
  const body = new ReadableStream({ start: (controller) => { controller.enqueue(Buffer.from('{"channel":')) } })
  const answer = await fetch(`${url}/api/publish`, { method: 'POST', body, duplex: 'half' } as RequestInit)
  t.equal(answer.status, 401)
})

t.test('errors: 200 with an error, or their own status in the mode transport', async (t) => {
  const { url } = await start(t, { apiKey: KEY, presence: false, channels: [{ match: 'frozen', allow: { publish: 'none' } }] })
  const bad = JSON.stringify({ channel: 'a', since: { offset: 9, epoch: 'x' } })
  for (const [method, body, code] of [['nope', '{}', 104], ['publish', '{}', 107], ['presence', '{"channel":"a"}', 108], ['publish', '{"channel":"frozen","data":1}', 103], ['history', bad, 112]] as const) {
    const { status, json } = await post(`${url}/api/${method}`, body)
    t.match({ status, json }, { status: 200, json: errorWith(code) })
    const inTransport = await post(`${url}/api/${method}`, body, { 'x-api-key': KEY, 'x-centrifugo-error-mode': 'transport' })
    t.equal(inTransport.status, replyErrorTable[code][1])
    t.strictSame(inTransport.json, json.error)
  }
  t.match(Object.fromEntries(Object.entries(replyErrorTable).map(([code, [, status]]) => [code, status])), { 100: 500, 103: 403, 104: 404, 107: 400, 108: 400, 112: 416 })
})

t.test('errors of Fanfare keep their sentence', async (t) => {
  const schema = { type: 'object', required: ['id'] }
  const { url } = await start(t, { apiKey: KEY, channels: [{ match: 'orders', schema }] })
  const api = apiOf(url)
  t.match(await api('publish', { channel: 'orders', data: { id: 1 } }), { offset: 1 })
  t.match(await api('publish', { channel: 'orders', data: {} }), errorWith(107, /^Channel orders does not take this publication: .*'id'/))
  t.match(await api('publish', { channel: 'a\nb', data: {} }), errorWith(107, 'A channel name is 1 to 255 bytes of text without control characters; got 3 bytes'))
  t.equal(replyCodes.FANFARE_UNAVAILABLE, 100)
})

t.test('while the broker is away publishing fails with 100 and the reason', async (t) => {
  const { url } = await start(t, { apiKey: KEY, redisUrl: `redis://127.0.0.1:${await freePort()}` })
  t.match(await apiOf(url)('publish', { channel: 'a', data: 1 }), errorWith(100, /^internal server error: The broker cannot be reached: ./))
  const { status } = await post(`${url}/api/publish`, '{"channel":"a","data":1}', { 'x-api-key': KEY, 'x-centrifugo-error-mode': 'transport' })
  t.equal(status, 500)
})

t.test('a fault of ours is 100 without details, and a line in the log', async (t) => {
  let log = ''
  const { app, url } = await start(t, { apiKey: KEY }, { logger: { level: 'warn', stream: { write: (line: string) => { log += line } } } })
  app.connections.publish = async () => { throw new TypeError('our fault') }
  t.strictSame(await apiOf(url)('publish', { channel: 'a', data: 1 }), errorWith(100, 'internal server error'))
  t.match(await apiOf(url)('broadcast', { channels: ['a', 'b'], data: 1 }), { responses: [errorWith(100), errorWith(100)] })
  t.match(log, /our fault/)
})

t.test('data and tags of a publication are bounded, whatever their form', async (t) => {
  const { url } = await start(t, { apiKey: KEY, maxMessageBytes: 1000 })
  const api = apiOf(url)
  const limit = errorWith(107, /^Data and tags of a publication may have 1000 bytes \(MAX_MESSAGE_BYTES\); got \d+$/)
  t.match(await api('publish', { channel: 'a', data: 'x'.repeat(998) }), { offset: 1 })
  t.match(await api('publish', { channel: 'a', b64data: Buffer.alloc(1000).toString('base64') }), { offset: 2 })
  for (const data of ['x'.repeat(999), 'ü'.repeat(500), Array(501).fill(1), { a: 'x'.repeat(1 << 20) }]) t.match(await api('publish', { channel: 'a', data }), limit)
  t.match(await api('publish', { channel: 'a', b64data: Buffer.alloc(1001).toString('base64') }), limit)
  t.match(await api('broadcast', { channels: ['a'], data: 1, tags: { a: 'x'.repeat(1000) } }), limit)
  t.match(await api('publish', { channel: 'a', data: 1, idempotency_key: 'x'.repeat(256) }), errorWith(107, /idempotency_key must NOT have more than 255/))
  t.match(await api('publish', { channel: 'a' }), errorWith(107, /has data \(any JSON value\) or b64data/))
  for (const b64data of ['AAE', 'not base64!', 'AA==\n']) t.match(await api('publish', { channel: 'a', b64data }), errorWith(107, /must be base64/))
  t.same((await api('history', { channel: 'a' })).offset, 2)
})

t.test('JSON may be nested 1,000 levels deep, in bodies and in messages with a schema; brackets in strings are none', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY, channels: [{ match: 'typed', schema: {} }] })
  const client = await connect(t, `${wsUrl}?channel=typed`)
  const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  const publish = async (data: string): Promise<Partial<Reply>> => post(`${url}/api/publish`, `{"channel":"typed","data":${data}}`)
  const brackets = JSON.stringify(`\\"${'['.repeat(2000)}`)
  const passing = [deep(998), brackets, `[${'[],'.repeat(2000)}0]`, `[${'{},'.repeat(2000)}${deep(900)}]`]
  for (const data of passing) t.match(await publish(data), { status: 200, text: /"result"/ }, data.slice(0, 10))
  t.strictSame(await client.hears(4), passing)
  const refused = [deep(1000), '['.repeat(2000), '{"a":'.repeat(1001), `[${brackets},${deep(1000)}]`]
  for (const data of refused) t.match(await publish(data), { status: 400, text: 'The body must be JSON: it is nested deeper than 1000 levels' }, data.slice(0, 10))
  client.ws.send(deep(1000))
  t.equal((await client.hears(5)).at(-1), deep(1000))
  const closed = client.closed()
  client.ws.send(deep(1001))
  t.match(await closed, { code: 3501, reason: /it is nested deeper than 1000 levels/ })
})

t.test('hostile bodies are refused, and the server goes on', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  const client = await connect(t, `${wsUrl}?channel=a`)
  const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  const long = JSON.stringify('x'.repeat(1 << 20))
  const many = `[${Array(300_000).fill('1').join(',')}]`
  const noJson = ['{', 'x', 'null{}', '{"a":1}{"b":2}', '\u0000', '\ufffd', '{"__proto__":{"x":1},"channel":"a","data":1}', '{"channel":"a","data":{"deep":[{"__proto__":1}]}}',
    '{"channel":"a","data":{"constructor":{"prototype":1}}}', '['.repeat(5_000_000), deep(100_000), `{"channel":"a","data":${deep(100_000)}}`]
  for (const body of noJson) t.match(await post(`${url}/api/publish`, body), { status: 400, text: /^The body must be JSON: / }, JSON.stringify(body.slice(0, 50)))
  const refused = [
    'null', '7', '"x"', '[]', many, `{"channel":"a","data":${many}}`, `{"channel":${long},"data":1}`,
    `{"channel":"a","data":${long}}`, `{"channel":"a","b64data":${long}}`, `{"channel":"a","data":1,"idempotency_key":${long}}`, `{"channel":"a","data":1,"tags":{"a":${long}}}`,
    '{"channel":["a"],"data":1}', '{"channel":{"toString":"x"},"data":1}', '{"channel":"a","data":1,"tags":["x"]}', '{"channel":"a","data":1,"tags":{"a":1}}',
    '{"channel":"a","data":1,"skip_history":"yes"}', '{"channel":"a","data":1,"idempotency_key":7}', '{"channel":"\\ud800\\u0000","data":1}'
  ]
  for (const body of refused) t.match((await post(`${url}/api/publish`, body)).json, errorWith(107), JSON.stringify(body.slice(0, 50)))
  const others = [
    ['broadcast', `{"channels":${many},"data":1}`], ['history', '{"channel":"a","limit":1e999}'], ['history', '{"channel":"a","since":{"offset":-1,"epoch":"x"}}'],
    ['history', `{"channel":${long},"limit":1}`], ['presence', `{"channel":${long}}`], ['channels', `{"pattern":${long}}`], ['channels', '{"pattern":"+(+(a)|a)b"}'],
    ['channels', '{"pattern":"*a*a*a*a*b"}'], ['channels', `{"pattern":"${'{a,aa}'.repeat(40)}"}`], ['disconnect', `{"user":"x","whitelist":${many}}`],
    ['batch', `{"commands":${many}}`], ['batch', `{"commands":${deep(900)}}`], ['batch', '{"commands":{}}']
  ] as const
  for (const [method, body] of others) t.match((await post(`${url}/api/${method}`, body)).json, errorWith(107), `${method} ${body.slice(0, 50)}`)
  t.match(await post(`${url}/api/publish`, 'x'.repeat(10_485_761)), { status: 413, text: /./ })
  t.match(await apiOf(url)('publish', { channel: 'a', data: 'alive' }), { offset: 1 })
  t.strictSame(await client.hears(1), ['"alive"'])
  t.equal(({} as { x?: number }).x, undefined)
})

t.test('while one request publishes very much, others are answered', async (t) => {
  const { url } = await startProcess(t, { API_KEY: KEY })
  const channels = Array.from({ length: 1024 }, (_, number) => `c${number}`)
  const body = JSON.stringify({ commands: Array.from({ length: 64 }, () => ({ broadcast: { channels, data: 'x'.repeat(1000) } })) })
  const waits: number[] = []
  const askOther = async (): Promise<true> => {
    const askedAt = performance.now()
    await (await fetch(`${url}/health/live`)).text()
    waits.push(performance.now() - askedAt)
    return true
  }
  const from = performance.now()
  const batch = post(`${url}/api/batch`, body)
  let ms = NaN
  const ended = batch.then(() => {
    ms = performance.now() - from
    return false
  })
  while (await Promise.race([ended, askOther()]));
  const { status, text } = await batch
  t.equal(status, 200)
  t.equal(text.match(/"offset"/g)?.length, 65_536)
  const wait = percentile(waits, 0.5)
  t.comment(`65,536 publications in one request: ${ms.toFixed(0)} ms, in which ${waits.length} other requests were answered in ${wait.toFixed(0)} ms each (median)`)
  t.ok(wait < ms / 10)
})

t.test('the key is in no line of the log, at any level, whatever is sent', async (t) => {
  const { url, output, child, exit } = await startProcess(t, { API_KEY: KEY, LOG_LEVEL: 'trace' })
  for (const headers of [{ 'x-api-key': KEY }, { authorization: `apikey ${KEY}` }, { 'x-api-key': `${KEY}x` }, {}]) {
    for (const path of ['info', 'nope', `info?api_key=${encodeURIComponent(KEY)}`, `info?api_key=${KEY.replaceAll(' ', '+')}`]) {
      for (const body of ['{}', '{']) await post(`${url}/api/${path}`, body, headers as Record<string, string>)
    }
  }
  child.kill('SIGTERM')
  await exit
  t.match(output(), /request refused/)
  t.notMatch(output().replaceAll('%20', ' ').replaceAll('+', ' '), KEY)
})
