import t from 'tap'
import { connect, connectMany, refusal, start } from '../helper.ts'

t.test('what one sends, all get, the sender too, byte for byte and in one order', async (t) => {
  const { wsUrl } = await start(t)
  const clients = await connectMany(t, wsUrl, 5)
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  for (const [index, { ws }] of clients.entries()) {
    for (let number = 0; number < 20; number++) ws.send(`${index}:${number} ünï \u0000 𝄞`)
    ws.send(everyByte)
    ws.send('')
    ws.send(Buffer.alloc(0))
  }
  await Promise.all(clients.map((client) => client.hears(5 * 23)))
  for (const { heard } of clients) t.same(heard, clients[0]?.heard)
  const [first] = clients
  t.equal(first?.heard.filter(({ binary, data }) => binary && data.equals(everyByte)).length, 5)
  t.equal(first?.heard.filter(({ binary, data }) => binary && data.length === 0).length, 5)
  t.equal(first?.heard.filter(({ binary, data }) => !binary && data.length === 0).length, 5)
  const own = first?.texts.filter((text) => text.startsWith('3:'))
  t.same(own, Array.from({ length: 20 }, (_, number) => `3:${number} ünï \u0000 𝄞`))
})

t.test('messages of every frame size arrive whole', async (t) => {
  const { wsUrl } = await start(t, { compression: false, maxMessageBytes: 200_000 })
  const client = await connect(t, wsUrl)
  const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 150_000]
  for (const size of sizes) client.ws.send('x'.repeat(size))
  await client.hears(sizes.length)
  t.same(client.heard.map(({ data }) => data.length), sizes)
})

t.test('a channel is heard by those who are in it', async (t) => {
  const { app, wsUrl } = await start(t)
  const [red, blue, plain] = await Promise.all([connect(t, `${wsUrl}?channel=red`), connect(t, `${wsUrl}?channel=blue`), connect(t, wsUrl)])
  t.same(Object.fromEntries(await app.connections.channels()), { red: 1, blue: 1, broadcast: 1 })
  red.ws.send('to red')
  blue.ws.send('to blue')
  plain.ws.send('to all without a channel')
  await Promise.all([red.hears(1), blue.hears(1), plain.hears(1)])
  t.same([red.texts, blue.texts, plain.texts], [['to red'], ['to blue'], ['to all without a channel']])
})

t.test('several channels are heard over one connection, and what it sends goes to the first', async (t) => {
  const { wsUrl } = await start(t)
  const both = await connect(t, `${wsUrl}?channel=red&channel=blue&channel=red`)
  const [red, blue] = await Promise.all([connect(t, `${wsUrl}?channel=red`), connect(t, `${wsUrl}?channel=blue`)])
  both.ws.send('one')
  await red.hears(1)
  blue.ws.send('two')
  t.same(await both.hears(2), ['one', 'two'])
  t.same(await blue.hears(1), ['two'])
})

t.test('echo=false leaves the sender out, and nobody else', async (t) => {
  const { wsUrl } = await start(t)
  const silent = await connect(t, `${wsUrl}?echo=false`)
  const other = await connect(t, `${wsUrl}?echo=false`)
  const normal = await connect(t, wsUrl)
  silent.ws.send('from silent')
  other.ws.send('from other')
  await Promise.all([silent.hears(1), other.hears(1), normal.hears(2)])
  normal.ws.send('end')
  await Promise.all([silent.hears(2), other.hears(2), normal.hears(3)])
  t.same([silent.texts, other.texts], [['from other', 'end'], ['from silent', 'end']])
})

t.test('an early message is not lost', async (t) => {
  const { wsUrl } = await start(t)
  const listener = await connect(t, wsUrl)
  const early = await connect(t, wsUrl)
  early.ws.send('at once')
  early.ws.close(1000)
  t.same(await listener.hears(1), ['at once'])
})

t.test('query parameters that make no sense are refused before the 101', async (t) => {
  const { wsUrl } = await start(t, { maxChannels: 2 })
  const cases: [string, string][] = [
    ['?channel=', 'FANFARE_BAD_CHANNEL'],
    [`?channel=${'x'.repeat(256)}`, 'FANFARE_BAD_CHANNEL'],
    ['?channel=a%0Ab', 'FANFARE_BAD_CHANNEL'],
    ['?channel=a%E2%80%A8b', 'FANFARE_BAD_CHANNEL'],
    ['?channel=a&channel=b&channel=c', 'FANFARE_TOO_MANY_CHANNELS'],
    ['?echo=perhaps', 'FST_ERR_VALIDATION']
  ]
  for (const [query, code] of cases) {
    const { status, body } = await refusal(wsUrl + query)
    t.equal(status, 400, query)
    t.equal(JSON.parse(body).code, code, body)
  }
})

t.test('compressed and uncompressed clients hear the same', async (t) => {
  const { wsUrl } = await start(t)
  const [compressed, plain] = await Promise.all([connect(t, wsUrl), connect(t, wsUrl, { perMessageDeflate: false })])
  t.equal(compressed.ws.extensions, 'permessage-deflate')
  t.equal(plain.ws.extensions, '')
  // Around the threshold, around what the thread pool compresses, and small ones between that must not overtake.
  const messages = [10, 1023, 1024, 20_000, 5, 60_000, 6, 16_383, 16_384].map((size, index) => `${index}:`.padEnd(size, 'abc '))
  for (const message of messages) plain.ws.send(message)
  t.same(await compressed.hears(messages.length), messages)
  t.same(await plain.hears(messages.length), messages)
})

t.test('a client with a smaller window than ours is served uncompressed', async (t) => {
  const { wsUrl } = await start(t)
  const client = await connect(t, wsUrl, { perMessageDeflate: { serverMaxWindowBits: 9 } })
  const message = 'abc '.repeat(5000)
  client.ws.send(message)
  t.same(await client.hears(1), [message])
})

t.test('COMPRESSION=off offers none', async (t) => {
  const { wsUrl } = await start(t, { compression: false })
  const { ws } = await connect(t, wsUrl)
  t.equal(ws.extensions, '')
})
