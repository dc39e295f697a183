import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import t from 'tap'
import { start, startReady, until } from '../helper.ts'
import { startRedis } from '../redis.ts'
import { EventStreamParser, listenTo } from '../sse-client.ts'

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, index) => String(from + index))

t.test('who comes back with Last-Event-ID has everything once, and is told so', async (t) => {
  const { app, url } = await start(t)
  const first = await listenTo(t, `${url}/sse`)
  for (const number of numbers(1, 5)) await app.connections.publish('broadcast', number)
  t.same(await first.hears(5), numbers(1, 5))
  t.same(first.reports, [], 'who did not ask to resume is not told of it')
  first.close()
  for (const number of numbers(6, 9)) await app.connections.publish('broadcast', number)
  const second = await listenTo(t, `${url}/sse`, { lastEventId: first.lastEventId })
  await app.connections.publish('broadcast', '10')
  t.same(await second.hears(5), numbers(6, 10))
  t.same(second.reports, [['recovered', { channel: 'broadcast' }]])

  const byQuery = await listenTo(t, `${url}/sse?lastEventId=${encodeURIComponent(first.lastEventId)}`)
  t.same(await byQuery.hears(5), numbers(6, 10))
  const byBoth = await listenTo(t, `${url}/sse?history=3&lastEventId=${encodeURIComponent(first.lastEventId)}`, { lastEventId: second.lastEventId })
  await app.connections.publish('broadcast', '11')
  t.same(await byBoth.hears(1), ['11'], 'the header is what EventSource heard last')
})

t.test('who was cut before its first event has missed nothing', async (t) => {
  const { app, url } = await start(t)
  const { lastEventId } = await listenTo(t, `${url}/sse?channel=a`)
  await app.connections.publish('a', '1')
  const back = await listenTo(t, `${url}/sse?channel=a`, { lastEventId })
  t.same(await back.hears(1), ['1'])
})

t.test('several channels: each goes on where this client was, whatever the others did meanwhile', async (t) => {
  const { app, url } = await start(t)
  const channels = ['a', 'b', 'ü&=%,'] as const
  const address = `${url}/sse?${channels.map((channel) => `channel=${encodeURIComponent(channel)}`).join('&')}`
  const publish = async (round: string): Promise<void> => { for (const channel of channels) await app.connections.publish(channel, `${channel} ${round}`) }
  await publish('0')
  const first = await listenTo(t, address)
  await publish('1')
  await first.hears(3)
  await app.connections.publish('b', 'b 2')
  await first.hears(4)
  first.close()
  await publish('3')
  const second = await listenTo(t, address, { lastEventId: first.lastEventId })
  await publish('4')
  await second.hears(6)
  for (const channel of channels) {
    t.same(second.texts.filter((text) => text.startsWith(channel)), [`${channel} 3`, `${channel} 4`])
    t.ok(second.reports.some(([type, data]) => type === 'recovered' && (data as { channel: string }).channel === channel))
  }
  t.equal(second.reports.length, 3)
})

t.test('wherever a stream is cut, its id says what has been dispatched: nothing is lost, nothing comes twice', async (t) => {
  const { app, url } = await start(t)
  for (const query of ['channel=a', 'channel=a&channel=b', 'channel=a&channel=b&history=2']) {
    for (const channel of ['a', 'b']) for (const number of numbers(1, 3)) await app.connections.publish(channel, `${channel}${number}`)
    const { position: before } = await app.connections.history('a', { limit: 0 })
    const { hostname, port } = new URL(url)
    const socket = connectTcp(Number(port), hostname)
    socket.write(`GET /sse?${query} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`)
    let raw = ''
    socket.on('data', (chunk: Buffer) => { raw += String(chunk) })
    await once(socket, 'data')
    for (const number of numbers(4, 6)) for (const channel of ['a', 'b']) await app.connections.publish(channel, `${channel}${number}`)
    const last = query.includes('channel=b') ? ['a6', 'b6'] : ['a6']
    await until(() => last.every((text) => raw.includes(`data: ${text}\n\n`)))
    socket.destroy()
    const body = raw.slice(raw.indexOf('\r\n\r\n') + 4)
    let wrong = 0
    for (let length = 0; length <= body.length; length++) {
      const parser = new EventStreamParser()
      parser.add(body.slice(0, length))
      const heard = parser.events.filter(({ data }) => data.startsWith('a')).length
      const offset = /a=[\w-]+:(\d+)/.exec(parser.lastEventId)?.[1]
      const begun = before.offset - (query.includes('history') ? 2 : 0)
      if (offset === undefined ? heard > 0 : Number(offset) !== begun + heard) wrong++
    }
    t.equal(wrong, 0, `${query}: ${body.length} places to cut at`)
  }
})

t.test('what cannot be recovered is said, with an id that goes on from there', async (t) => {
  const { app, url } = await start(t, { historySize: 3 })
  for (const number of numbers(1, 5)) await app.connections.publish('a', number)
  const { position: { epoch } } = await app.connections.history('a', { limit: 0 })
  const ids = [
    'a=other123:2', `a=${epoch}:6`, `a=${epoch}:999999999999999`, `a=${epoch}:1`, // of another epoch, of the future, forgotten
    'garbage', '%', 'a', 'a=', '=', '&', `a=${epoch}:-1`, `a=${epoch}:1e3`, `a=${epoch}:9999999999999999`, `a=${epoch}`, `%ff=${epoch}:5`, `a=${epoch}:5&`, '__proto__=x', 'x'.repeat(12_000),
    Array.from({ length: 129 }, (_, index) => `c${index}=${epoch}:5`).join('&')
  ]
  for (const lastEventId of ids) {
    const client = await listenTo(t, `${url}/sse?channel=a`, { lastEventId })
    await client.until(() => client.events.length > 0)
    t.same(client.events, [{ type: 'unrecovered', data: '{"channel":"a"}', lastEventId: `a=${epoch}:5` }], lastEventId.slice(0, 40))
    client.close()
  }
  const several = await listenTo(t, `${url}/sse?channel=a&channel=b`, { lastEventId: `a=${epoch}:4&b=lost:7` })
  await several.until(() => several.events.length === 3)
  t.same(several.reports.toSorted(), [['recovered', { channel: 'a' }], ['unrecovered', { channel: 'b' }]])
  t.same(several.texts, ['5'])
  t.match(several.lastEventId, new RegExp(`a=${epoch}:5&b=[\\w-]{8}:0|b=[\\w-]{8}:0&a=${epoch}:5`))
})

t.test('channels that the request does not name are ignored; those that the id does not name begin afresh', async (t) => {
  const { app, url } = await start(t)
  for (const channel of ['a', 'b', 'c']) await app.connections.publish(channel, `${channel}1`)
  const { lastEventId } = await listenTo(t, `${url}/sse?channel=a&channel=b`)
  for (const channel of ['a', 'b', 'c']) await app.connections.publish(channel, `${channel}2`)
  const client = await listenTo(t, `${url}/sse?channel=b&channel=c&history=1`, { lastEventId })
  t.same((await client.hears(2)).toSorted(), ['b2', 'c2'])
  t.same(client.reports, [['recovered', { channel: 'b' }]])
  t.notMatch(client.lastEventId, /a=/)
  t.equal((await listenTo(t, `${url}/sse`, { lastEventId: '' })).events.length, 0, 'an empty id is none')
})

t.test('what is published past the history has no id', async (t) => {
  const { app, url } = await start(t)
  const clients = await Promise.all(['a', 'a&channel=b'].map((query) => listenTo(t, `${url}/sse?channel=${query}`)))
  await app.connections.publish('a', '1')
  await app.connections.publish('a', 'passing', { skipHistory: true })
  await app.connections.publish('a', '2')
  for (const client of clients) {
    t.same(await client.hears(3), ['1', 'passing', '2'])
    t.same(client.events.map(({ lastEventId }) => /a=[\w-]+:(\d+)/.exec(lastEventId)?.[1]), ['1', '1', '2'])
  }
})

t.test('a new stream of a busy channel without a history has lost nothing: it was told so', async (t) => {
  const { app, url } = await startReady(t, { historySize: 0, redisUrl: (await startRedis(t)).url })
  const load = { goesOn: true }
  const published = (async () => {
    for (let number = 0; load.goesOn; number++) await Promise.all([app.connections.publish('a', String(number)), new Promise(setImmediate)])
  })()
  for (let round = 0; round < 20; round++) {
    const client = await listenTo(t, `${url}/sse?channel=a`)
    await client.hears(3)
    t.same(client.reports, [])
    client.close()
  }
  load.goesOn = false
  await published
})
