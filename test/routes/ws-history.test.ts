import t, { type Test } from 'tap'
import { connect, refusal, start, startReady, until, type Client } from '../helper.ts'
import { startRedis } from '../redis.ts'

interface Positioned { offset: number, epoch: string, data: unknown }

const positioned = (client: Client): Positioned[] => client.texts.map((text) => JSON.parse(text) as Positioned)

const stores = { memory: async () => ({}), Redis: async (t: Test) => ({ redisUrl: (await startRedis(t)).url }) }

for (const [store, optionsOf] of Object.entries(stores)) {
  t.test(`history with ${store}`, async (t) => {
    const { app, wsUrl } = await startReady(t, { ...await optionsOf(t), historySize: 10 })
    let number = 0
    const fresh = (): string => `channel ${++number}`
    const publish = async (channel: string, count: number): Promise<void> => {
      for (let index = 1; index <= count; index++) await app.connections.publish(channel, `m${index}`)
    }

    t.test('the last publications come first, then live ones', async (t) => {
      const channel = fresh()
      await publish(channel, 5)
      const client = await connect(t, `${wsUrl}?channel=${channel}&history=3`)
      await client.hears(3)
      await app.connections.publish(channel, 'live')
      t.same(await client.hears(4), ['m3', 'm4', 'm5', 'live'])
      const all = await connect(t, `${wsUrl}?channel=${channel}&history=1000`)
      t.same(await all.hears(6), ['m1', 'm2', 'm3', 'm4', 'm5', 'live'])
      const none = await connect(t, `${wsUrl}?channel=${channel}&history=0`)
      await app.connections.publish(channel, 'now')
      t.same(await none.hears(1), ['now'])
    })

    t.test('a position brings what was missed, once', async (t) => {
      const channel = fresh()
      const client = await connect(t, `${wsUrl}?channel=${channel}&positions=true`)
      await publish(channel, 1)
      await client.hears(1)
      client.ws.terminate()
      await publish(channel, 6)
      const [{ epoch, offset }] = positioned(client) as [Positioned]
      const again = await connect(t, `${wsUrl}?channel=${channel}&positions=true&since=${epoch}:${offset}`)
      await again.hears(6)
      await app.connections.publish(channel, 'live')
      await again.hears(7)
      t.same(positioned(again).map(({ offset }) => offset), [2, 3, 4, 5, 6, 7, 8])
      const upToDate = await connect(t, `${wsUrl}?channel=${channel}&since=${epoch}:8`)
      await app.connections.publish(channel, 'more')
      t.same(await upToDate.hears(1), ['more'])
    })

    t.test('positions wrap text, JSON and bytes', async (t) => {
      const channel = fresh()
      const client = await connect(t, `${wsUrl}?channel=${channel}&positions=true`)
      await app.connections.publish(channel, 'täxt "quoted"\n')
      await app.connections.publish(channel, { a: [1, null] })
      await app.connections.publish(channel, Buffer.from([0, 255]))
      await app.connections.publish(channel, 'passing', { skipHistory: true })
      await client.hears(4)
      const { epoch } = positioned(client)[0] as Positioned
      t.same(positioned(client), [
        { offset: 1, epoch, data: 'täxt "quoted"\n' },
        { offset: 2, epoch, data: { a: [1, null] } },
        { offset: 3, epoch, base64: true, data: 'AP8=' },
        { data: 'passing' }
      ])
      t.ok(client.heard.every(({ binary }) => !binary))
    })

    t.test('what cannot be had is told with 3010: a position too old, of another epoch, ahead', async (t) => {
      const channel = fresh()
      await publish(channel, 12)
      const { position: { epoch } } = await app.connections.history(channel, { limit: 0 })
      for (const since of [`${epoch}:1`, 'strange:12', `${epoch}:13`, `${epoch}:999999999999999`]) {
        const client = await connect(t, `${wsUrl}?channel=${channel}&since=${since}`)
        t.same(await client.closed(), { code: 3010, reason: 'insufficient state' }, since)
        t.same(client.texts, [], 'and nothing of it')
      }
    })

    t.test('a position was taken for one in each of several channels: what came before it in the others was missing without a word', async (t) => {
      const [one, two] = [fresh(), fresh()]
      await publish(one, 2)
      const { position: { epoch } } = await app.connections.history(one, { limit: 0 })
      t.match(await refusal(`${wsUrl}?channel=${one}&channel=${two}&since=${epoch}:1`), { status: 400, body: /FANFARE_SINCE_SEVERAL/ })
    })

    t.test('histories larger than what may wait for a client come whole to one that reads', async (t) => {
      const channel = fresh()
      const { app, wsUrl } = await startReady(t, { ...await optionsOf(t), historySize: 400, maxBufferedBytes: 100_000 })
      for (let index = 0; index < 400; index++) await app.connections.publish(channel, `${index} ${'x'.repeat(10_000)}`)
      const { position: { epoch } } = await app.connections.history(channel, { limit: 0 })
      const client = await connect(t, `${wsUrl}?channel=${channel}&since=${epoch}:0`)
      await client.hears(400)
      await app.connections.publish(channel, 'live')
      await client.hears(401)
      t.same(client.texts.map((text) => text.split(' ')[0]), [...Array.from({ length: 400 }, (_none, index) => String(index)), 'live'])
    })

    t.test('a client that is cut while its history waits for it leaves nothing behind', async (t) => {
      const channel = fresh()
      const { app, wsUrl } = await startReady(t, { ...await optionsOf(t), historySize: 400, maxBufferedBytes: 1_000_000, compression: false })
      for (let index = 0; index < 400; index++) await app.connections.publish(channel, Buffer.alloc(50_000))
      const client = await connect(t, `${wsUrl}?channel=${channel}&history=400`)
      await client.hears(1)
      client.ws.pause()
      t.same([app.connections.count, app.connections.channelCount], [1, 1])
      client.ws.terminate()
      await until(() => app.connections.count === 0 && app.connections.channelCount === 0)
    })

    t.test('echo=false leaves one\'s own out of the history of the moment too', async (t) => {
      const channel = fresh()
      await publish(channel, 2)
      const client = await connect(t, `${wsUrl}?channel=${channel}&history=5&echo=false`)
      client.ws.send('mine')
      await client.hears(2)
      await app.connections.publish(channel, 'theirs')
      t.same(await client.hears(3), ['m1', 'm2', 'theirs'])
    })
  })
}

t.test('while Redis is away connections stay, who sends is told with 1013, readiness says why, and it all comes back', async (t) => {
  const redis = await startRedis(t)
  const { app, wsUrl, url } = await startReady(t, { redisUrl: redis.url })
  const [listener, sender] = [await connect(t, wsUrl), await connect(t, wsUrl)]
  await redis.kill()
  await until(() => app.connections.trouble !== undefined)
  const ready = await fetch(`${url}/health/ready`)
  t.equal(ready.status, 503)
  t.match(await ready.json(), { status: 'unavailable', reason: /^Redis is away: / })
  const started = performance.now()
  sender.ws.send('lost')
  t.same(await sender.closed(), { code: 1013, reason: 'message could not be published' })
  t.ok(performance.now() - started <= 1000, `told after ${Math.round(performance.now() - started)} ms`)
  t.equal(app.connections.count, 1)
  const told = listener.closed()
  await redis.restart()
  await until(() => app.connections.publish('broadcast', 'back').then(() => true, () => false))
  await until(async () => (await fetch(`${url}/health/ready`)).ok)
  // Redis has come back empty: the channel goes on in another epoch, and who was there may have missed something.
  t.equal((await told).code, 3010)
})

t.test('rules by name of channel: history, presence, slow receivers and schema', async (t) => {
  const schema = { type: 'object', required: ['state'], properties: { state: { enum: ['open', 'shipped'] } }, additionalProperties: false }
  const { app, wsUrl } = await start(t, {
    channels: [
      { match: 'orders:*', schema, historySize: 1 },
      { match: 'fleeting/**', historySize: 0, presence: false }
    ]
  })
  const { connections } = app
  await connections.publish('orders:7', { state: 'open' })
  await connections.publish('orders:7', { state: 'shipped' })
  t.same((await connections.history('orders:7')).publications.map(({ data }) => String(data)), ['{"state":"shipped"}'])
  await t.rejects(connections.publish('orders:7', { state: 'lost' }), { code: 'FANFARE_REFUSED_DATA', message: /\/state must be equal to one of the allowed values/ })
  await t.rejects(connections.publish('orders:7', 'text'), { message: /it is not JSON/ })
  await t.rejects(connections.publish('orders:7', Buffer.from('{}')), { message: /it is binary/ })
  await connections.publish('fleeting/a/b', 'x')
  t.same((await connections.history('fleeting/a/b')).publications, [])
  await t.rejects(connections.presence('fleeting/a/b'), { code: 'FANFARE_NO_PRESENCE' })
  const client = await connect(t, `${wsUrl}?channel=orders:7`)
  client.ws.send('{"state":"open"}')
  t.same(await client.hears(1), ['{"state":"open"}'])
  client.ws.send('{"state":"open","more":1}')
  t.match(await client.closed(), { code: 3501, reason: /orders:7.*additional/ })
})

t.test('wrong rules stop the start with a sentence', async (t) => {
  for (const [channels, sentence] of [
    [[{ match: '' }], /channels takes a list of rules.*\/0\/match/],
    // One name of 255 bytes took more than a second, and clients make them up.
    [[{ match: '*:*:*:*:events' }], /channels has a rule for \*:\*:\*:\*:events, which may hold 3 of/],
    [[{ match: '+(a|aa)' }], /which may hold/],
    [[{ match: 'x', historysize: 1 }], /must NOT have additional properties: historysize/],
    [[{ match: 'x', schema: { type: 'nothing' } }], /channels has a schema for x that is none/]
  ] as const) await t.rejects(start(t, { channels: channels as never }), { code: 'FANFARE_BAD_SETTING', message: sentence })
  await start(t, { channels: [{ match: '{a,b}:*' }, { match: 'c++' }, { match: '*:*:*:*' }] })
  await t.rejects(start(t, { channelsFile: '/does/not/exist.json' }), { message: /^CHANNELS_FILE takes the path of a JSON file: ENOENT/ })
})
