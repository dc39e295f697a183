// Event streams as they really travel: through a proxy, in a browser, between the nodes of a cluster.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { openBrowser, openPage } from '../browser.ts'
import { build, listen, percentile, start, startReady, until } from '../helper.ts'
import { startNginx } from '../nginx.ts'
import { freePort } from '../process.ts'
import { startRedis } from '../redis.ts'
import { listenTo } from '../sse-client.ts'

t.test('through nginx with its default settings: events come at once, and Last-Event-ID resumes', async (t) => {
  const { app, url } = await start(t)
  const proxied = await startNginx(t, `location / { proxy_pass ${url}; }`)
  const [opened, first, later]: [number[], number[], number[]] = [[], [], []]
  let lastEventId
  for (let number = 1; number <= 20;) {
    const from = performance.now()
    const client = await listenTo(t, `${proxied}/sse?history=1`)
    opened.push(performance.now() - from)
    for (const delays of [first, later, later, later]) {
      const text = String(number++)
      const published = performance.now()
      await app.connections.publish('broadcast', text)
      await client.until(() => client.texts.at(-1) === text)
      delays.push(performance.now() - published)
    }
    client.close()
    t.same(client.texts.slice(-4), [4, 3, 2, 1].map((before) => String(number - before)))
    lastEventId = client.lastEventId
  }
  const [open, arrives, follow] = [opened, first, later].map((times) => percentile(times, 0.5)) as [number, number, number]
  t.ok(Math.max(open, arrives, follow) < 100, `open after ${open.toFixed(1)} ms, the first event ${arrives.toFixed(1)} ms after publishing, others ${follow.toFixed(1)} ms (medians)`)
  await until(() => app.connections.count === 0)
  for (let number = 21; number <= 25; number++) await app.connections.publish('broadcast', String(number))
  const back = await listenTo(t, `${proxied}/sse?history=1`, { lastEventId })
  t.same(await back.hears(5), ['21', '22', '23', '24', '25'])
  t.same(back.reports, [['recovered', { channel: 'broadcast' }]])
  await app.connections.disconnect({ channel: 'broadcast' })
  await back.until(() => back.reports.length === 2)
  await back.ended
})

t.test('EventSource of a real browser comes back by itself, and has everything', async (t) => {
  const { app, url } = await start(t)
  const browser = await openBrowser(t)
  const { page } = await openPage(t, browser, `${url}/hello`)
  await page.evaluate(() => {
    const state = { heard: [] as unknown[], opened: 0 }
    Object.assign(globalThis, { state })
    const source = new EventSource('/sse?channel=a&channel=b')
    source.onopen = () => { state.opened++ }
    for (const type of ['message', 'binary', 'recovered', 'unrecovered', 'close']) {
      source.addEventListener(type, ({ data }) => { state.heard.push([type, data]) })
    }
  })
  const state = async (): Promise<{ heard: [string, string][], opened: number }> => page.evaluate('state')
  await until(() => app.connections.count === 1)
  await app.connections.publish('a', 'one\ntwo')
  await app.connections.publish('b', Buffer.from('b'))
  await until(async () => (await state()).heard.length === 2)
  await app.connections.disconnect({ channel: 'a' }, { code: 3008, reason: 'slow' })
  for (const [channel, data] of [['a', { missed: 1 }], ['b', 'missed 2']] as const) await app.connections.publish(channel, data)
  const from = performance.now()
  await until(() => app.connections.count === 1)
  t.comment(`it came back after ${((performance.now() - from) / 1000).toFixed(1)} s`)
  await app.connections.publish('a', 'live')
  await until(async () => (await state()).heard.length === 8)
  const { heard, opened } = await state()
  t.equal(opened, 2)
  t.same(heard.slice(0, 3), [['message', 'one\ntwo'], ['binary', 'Yg=='], ['close', '{"code":3008,"reason":"slow","reconnect":true}']])
  t.same(heard.slice(3).toSorted(), [['message', 'live'], ['message', 'missed 2'], ['message', '{"missed":1}'], ['recovered', '{"channel":"a"}'], ['recovered', '{"channel":"b"}']])
})

t.test('docs/sse.md: the example comes back from a refusal too, and stays away when it should', async (t) => {
  const app = await build(t)
  const refuse: number[] = []
  app.addHook('onRequest', async (request, reply) => {
    if (request.url.startsWith('/sse') && refuse.pop()) await reply.code(503).send()
  })
  const { url } = await listen(app)
  const browser = await openBrowser(t)
  const { page } = await openPage(t, browser, `${url}/hello`)
  const printed: string[] = []
  page.on('console', (message) => { if (message.type() === 'log') printed.push(message.text()) })
  const [, example = ''] = /```js\n([^]*?)```/.exec(readFileSync('docs/sse.md', 'utf8')) ?? []
  await page.evaluate('sources = []; EventSource = class extends EventSource { constructor (url) { super(url); sources.push(this) } }')
  await page.addScriptTag({ content: example })
  await until(() => app.connections.count === 1)
  await app.connections.publish('news', '1')
  await until(() => printed.length === 1)
  refuse.push(503)
  await app.connections.disconnect({ channel: 'news' }, { code: 3008, reason: 'slow' })
  await app.connections.publish('news', '2')
  await until(() => printed.length === 2)
  t.same(printed, ['1', '2'])
  t.same(refuse, [])
  await app.connections.disconnect({ channel: 'news' })
  await page.waitForFunction('sources.at(-1).readyState === EventSource.CLOSED')
  t.equal(await page.evaluate('sources.length'), 2)
})

t.test('a stream resumes on any node, and says when Redis has lost what it missed', async (t) => {
  const redis = await startRedis(t)
  const [one, two] = await Promise.all([1, 2].map(() => startReady(t, { redisUrl: redis.url })))
  if (!one || !two) return
  const query = '/sse?channel=a&channel=b'
  const first = await listenTo(t, `${one.url}${query}`)
  await two.app.connections.publish('a', 'a1')
  await one.app.connections.publish('b', 'b1')
  await first.hears(2)
  first.close()
  await one.app.connections.publish('a', 'a2')
  const second = await listenTo(t, `${two.url}${query}`, { lastEventId: first.lastEventId })
  await one.app.connections.publish('b', 'b2')
  t.same((await second.hears(2)).toSorted(), ['a2', 'b2'])
  t.same(second.reports.map(([type]) => type), ['recovered', 'recovered'])
  second.close()
  redis.cli('flushall')
  const third = await listenTo(t, `${one.url}${query}`, { lastEventId: second.lastEventId })
  await third.until(() => third.reports.length === 2)
  t.same(third.reports.map(([type]) => type), ['unrecovered', 'unrecovered'])
  await two.app.connections.publish('a', 'new')
  t.same(await third.hears(1), ['new'])
})

t.test('a running stream hears that publications are lost to it', async (t) => {
  const redis = await startRedis(t)
  const { app, url } = await startReady(t, { redisUrl: redis.url, historySize: 5 })
  const [one, two] = await Promise.all(['a', 'a&channel=b'].map((channels) => listenTo(t, `${url}/sse?channel=${channels}`)))
  if (!one || !two) return
  await app.connections.publish('a', '1')
  await Promise.all([one.hears(1), two.hears(1)])
  redis.cli('flushall')
  await app.connections.publish('a', 'after')
  for (const client of [one, two]) {
    await client.until(() => client.reports.length > 0)
    t.same(client.reports, [['unrecovered', { channel: 'a' }]])
  }
  const { lastEventId } = one
  const { position } = await app.connections.history('a', { limit: 0 })
  t.equal(lastEventId, `a=${position.epoch}:${position.offset}`)
})

t.test('without Redis a new stream is refused with 503', async (t) => {
  const { url } = await start(t, { redisUrl: `redis://127.0.0.1:${await freePort()}` })
  for (const lastEventId of ['', 'a=Zx81kQpL:7']) {
    const from = performance.now()
    t.match(await listenTo(t, `${url}/sse?channel=a`, { lastEventId }).catch((error: Error) => error), { status: 503, message: /FANFARE_UNAVAILABLE/ })
    t.comment(`after ${((performance.now() - from) / 1000).toFixed(1)} s`)
  }
})
