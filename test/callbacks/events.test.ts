import t, { type Test } from 'tap'
import { Webhook } from 'standardwebhooks'
import type { FanfareOptions } from '../../src/app.ts'
import { EventQueue, type CallbackEvent } from '../../src/callbacks/event-queue.ts'
import { connect, connectMany, start, stopwatch, until, type Running } from '../helper.ts'
import { startBackEnd, type TestBackEnd, type Told } from './test-back-end.ts'

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

async function startWith (t: Test, backEnd: TestBackEnd, options: FanfareOptions = {}): Promise<Running> {
  return start(t, { callbackUrl: backEnd.url, callbackEvents: ['disconnect', 'unsubscribe', 'channel'], ...options })
}

t.test('the back end is told of who goes, in order, signed', async (t) => {
  const backEnd = await startBackEnd(t, { events: () => '' })
  const { wsUrl } = await startWith(t, backEnd, { callbackSecret: SECRET })
  const before = Date.now()
  const client = await connect(t, `${wsUrl}?channel=red`)
  await backEnd.when(() => backEnd.told.length === 1)
  client.ws.close(4001)
  await backEnd.when(() => backEnd.told.length === 4)
  const [occupied, unsubscribe, ...last] = backEnd.told
  t.match([occupied, unsubscribe], [{ type: 'occupied', channel: 'red' }, { type: 'unsubscribe', channel: 'red', user: '', client: /^[\w-]{36}$/ }])
  t.match(last.find(({ type }) => type === 'vacated'), { channel: 'red' })
  t.match(last.find(({ type }) => type === 'disconnect'), { user: '', client: unsubscribe?.client, code: 4001 })
  t.equal(new Set(backEnd.told.map(({ id }) => id)).size, 4)
  t.ok(backEnd.told.every(({ time }) => time >= before && time <= Date.now()))
  for (const { text, headers } of backEnd.asked) t.ok(new Webhook(SECRET).verify(text, headers as Record<string, string>))
})

t.test('only of what it wants to know', async (t) => {
  const backEnd = await startBackEnd(t)
  const { wsUrl } = await startWith(t, backEnd, { callbackEvents: ['disconnect'] })
  for (const channel of ['red', 'blue']) (await connect(t, `${wsUrl}?channel=${channel}`)).ws.close()
  await backEnd.when(() => backEnd.told.length === 2)
  t.same(backEnd.told.map(({ type }) => type), ['disconnect', 'disconnect'])
})

t.test('while it fails or is down nothing is lost: it is told again, with the same id, in order, one request at a time', async (t) => {
  let underWay = 0
  const backEnd = await startBackEnd(t)
  const answers = [500, 404, 200]
  backEnd.answers.events = () => {
    underWay++
    return answers.shift() ?? ''
  }
  const { wsUrl } = await startWith(t, backEnd, { callbackEvents: ['disconnect'] })
  const first = await connect(t, wsUrl)
  first.ws.close(4000)
  await backEnd.when(() => underWay === 1)
  for (const code of [4001, 4002, 4003]) {
    const client = await connect(t, wsUrl)
    client.ws.close(code)
    await client.closed()
  }
  await backEnd.when(() => backEnd.told.some(({ code }) => code === 4003))
  const ids = backEnd.asked.map(({ headers }) => headers['webhook-id'])
  t.equal(new Set(ids.slice(0, 3)).size, 1, 'the repeated batch has one id')
  t.same(new Set(backEnd.asked.slice(0, 3).map(({ text }) => text)).size, 1, 'and one content')
  const codes = backEnd.asked.slice(2).flatMap(({ body }) => (body.events as Told[]).map(({ code }) => code))
  t.same(codes, [4000, 4001, 4002, 4003])

  const { port } = backEnd
  await backEnd.close()
  const { length } = backEnd.asked
  const last = await connect(t, wsUrl)
  last.ws.close(4004)
  await last.closed()
  await backEnd.listen(port)
  await backEnd.when(() => backEnd.told.some(({ code }) => code === 4004))
  t.equal(backEnd.asked.length, length + 1)
})

t.test('what comes together goes together', async (t) => {
  const backEnd = await startBackEnd(t)
  const { app, wsUrl } = await startWith(t, backEnd, { callbackEvents: ['disconnect', 'unsubscribe'] })
  await connectMany(t, `${wsUrl}?channel=red&channel=blue`, 300)
  await app.connections.disconnect({ channel: 'red' })
  await backEnd.when(() => backEnd.told.length === 900)
  const sizes = backEnd.asked.map(({ body, text }) => [(body.events as Told[]).length, text.length])
  t.ok(sizes.every(([events, bytes]) => Number(events) <= 500 && Number(bytes) <= 65_536), JSON.stringify(sizes))
  t.ok(sizes.length <= 6, `${sizes.length} requests`)
})

t.test('a node that stops tells the rest, and does not wait for long', async (t) => {
  const backEnd = await startBackEnd(t)
  const { app, wsUrl } = await startWith(t, backEnd)
  await connectMany(t, wsUrl, 3)
  await app.close()
  t.same(backEnd.told.map(({ type }) => type).sort(), ['disconnect', 'disconnect', 'disconnect', 'occupied', 'unsubscribe', 'unsubscribe', 'unsubscribe', 'vacated'])

  // While it pauses after a failure.
  let answer: string | number | undefined = 500
  backEnd.answers.events = () => answer
  const failing = await startWith(t, backEnd, { callbackEvents: ['disconnect'] })
  const { length } = backEnd.asked
  const client = await connect(t, failing.wsUrl)
  client.ws.close(4005)
  await backEnd.when(() => backEnd.asked.length > length)
  answer = ''
  await failing.app.close()
  t.equal(backEnd.told.at(-1)?.code, 4005)

  for (const [silent, most] of [[undefined, 2000], [500, 500]] as const) {
    const hanging = await startWith(t, backEnd, { callbackEvents: ['disconnect'] })
    answer = silent
    const { length } = backEnd.asked
    const other = await connect(t, hanging.wsUrl)
    other.ws.close(4006)
    await backEnd.when(() => backEnd.asked.length > length)
    const sinceClose = stopwatch()
    await hanging.app.close()
    const ms = Math.round(sinceClose())
    t.ok(ms < most, `ended after ${ms} ms`)
  }
})

t.test('what does not find room is counted, and the count stands where it is missing', async (t) => {
  const sent: string[] = []
  const warnings: [object, string][] = []
  let take: () => void = () => {}
  const queue = new EventQueue((body) => {
    sent.push(body)
    return new Promise<void>((resolve) => { take = resolve })
  }, { warn: (...line) => { warnings.push(line) } }, { maxEvents: 3, maxBytes: 1000 })
  const event = (code: number): CallbackEvent => ({ type: 'disconnect', user: '', client: '', code, time: 1 })
  const batches = (): unknown[][] => sent.map((body) => (JSON.parse(body) as { events: Told[] }).events.map(({ type, code, count }) => type === 'lost' ? `lost ${count}` : code))

  queue.add(event(1))
  await until(() => sent.length === 1)
  for (let code = 2; code <= 6; code++) queue.add(event(code))
  t.match(warnings, [[{ waiting: 3 }, /events are lost/]])
  take()
  await until(() => sent.length === 2)
  queue.add(event(7))
  take()
  await until(() => sent.length === 3)
  queue.add({ ...event(8), user: 'x'.repeat(900) } as CallbackEvent)
  queue.add(event(9))
  take()
  await until(() => sent.length === 4)
  take()
  await until(() => sent.length === 4)
  t.same(batches(), [[1], [2, 3, 'lost 3'], ['lost 1'], ['lost 1', 9]])
  queue.lose()
  await until(() => sent.length === 5)
  take()
  t.same(batches().at(-1), ['lost 1'])
})

t.test('what is lost at the end is said', async (t) => {
  const warnings: [object, string][] = []
  const queue = new EventQueue(() => Promise.reject(new Error('away')), { warn: (...line) => { warnings.push(line) } })
  for (let event = 0; event < 3; event++) queue.add({ type: 'vacated', channel: 'red', time: 1 })
  await until(() => warnings.length > 0)
  t.match(warnings, [[{ events: 3, attempts: 1, reason: 'away' }, 'events could not be delivered; they are sent again']])
  await queue.stop()
  t.match(warnings.slice(1), [[{ events: 3 }, 'the back end was not told of all that has happened']])
})
