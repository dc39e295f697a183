import { once } from 'node:events'
import t from 'tap'
import { Client, connect, refusal, start, until } from '../helper.ts'

/** A promise, and what resolves it. */
function gate (): { open: () => void, opened: Promise<void> } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { open, opened }
}

t.jobs = 3

t.test('a hook that takes longer than HOOK_TIMEOUT refuses, and nobody else waits', async (t) => {
  const { app, wsUrl } = await start(t, { hookTimeout: 6 })
  const never = new Promise<void>(() => {})
  app.connections
    .addHook('onConnect', async ({ headers }) => headers['x-slow'] === 'connect' ? never : undefined)
    .addHook('onSubscribe', async ({ channel }) => channel === 'slow' ? never : undefined)
    .addHook('onPublish', async ({ data }) => data === 'slow' ? never : undefined)
  const started = performance.now()
  const slow = [refusal(wsUrl, { headers: { 'x-slow': 'connect' } }), refusal(`${wsUrl}?channel=slow`)]
  const publisher = await connect(t, wsUrl)
  const closed = publisher.closed()
  let ended = 0
  for (const end of [...slow, closed]) end.then(() => { ended++ })
  publisher.ws.send('slow')
  const others = await Promise.all(Array.from({ length: 10 }, () => connect(t, wsUrl)))
  for (const { ws } of others) ws.send('fast')
  await Promise.all(others.map((client) => client.hears(10)))
  t.equal(ended, 0, '10 others have connected and heard each other, and the hooks still think')
  for (const answer of await Promise.all(slow)) t.match(answer, { status: 503, body: /FANFARE_HOOK_TIMEOUT.*did not answer within 6 seconds/ })
  t.match(await closed, { code: 1013, reason: 'The application (onPublish) did not answer within 6 seconds' }, 'it may come back')
  const took = performance.now() - started
  t.ok(took > 5950 && took < 14_000, `refused after ${Math.round(took)} ms`)
})

t.test('the order of messages is kept while hooks take their time, each another', async (t) => {
  const { app, wsUrl } = await start(t)
  const running = new Set<string>()
  let most = 0
  app.connections.addHook('onPublish', async ({ caller, data }) => {
    running.add(caller.id)
    most = Math.max(most, running.size)
    // The later ones answer sooner.
    await new Promise((resolve) => setTimeout(resolve, Number(String(data).split(' ')[1]) % 7 === 0 ? 7 : 0))
    running.delete(caller.id)
  })
  const listener = await connect(t, wsUrl)
  const senders = await Promise.all(['a', 'b', 'c'].map(async (name) => ({ name, client: await connect(t, wsUrl) })))
  for (let number = 0; number < 60; number++) for (const { name, client } of senders) client.ws.send(`${name} ${number}`)
  await listener.hears(180)
  for (const { name } of senders) t.strictSame(listener.texts.filter((text) => text.startsWith(name)), Array.from({ length: 60 }, (_, number) => `${name} ${number}`))
  t.equal(most, 3, 'connections do not wait for each other')
})

t.test('while a hook looks at a message nothing more is read from its connection', async (t) => {
  const { app, wsUrl } = await start(t, { maxMessageBytes: 1_000_000 })
  const { open, opened } = gate()
  let asked = 0
  app.connections.addHook('onPublish', async () => {
    asked++
    await opened
  })
  const flood = await connect(t, `${wsUrl}?echo=false`, { perMessageDeflate: false })
  const message = Buffer.alloc(500_000)
  for (let number = 0; number < 60; number++) flood.ws.send(message)
  await until(() => asked === 1)
  const waiting = flood.ws.bufferedAmount
  const other = await connect(t, wsUrl.concat('?channel=other'))
  const ping = once(other.ws, 'pong')
  other.ws.ping()
  await ping
  t.equal(asked, 1)
  t.ok(flood.ws.bufferedAmount > 15_000_000 && waiting > 0, `${Math.round(flood.ws.bufferedAmount / 1e6)} of 30 MB wait at the client`)
  open()
  await until(() => asked === 60)
})

t.test('a client that leaves while a hook looks at its message: the message is published, and nothing is left', async (t) => {
  const { app, wsUrl } = await start(t)
  const { open, opened } = gate()
  let asked = false
  app.connections.addHook('onPublish', async () => {
    asked = true
    await opened
  })
  const listener = await connect(t, wsUrl)
  const sender = await connect(t, wsUrl)
  sender.ws.send('last words')
  await until(() => asked)
  sender.ws.terminate()
  open()
  t.strictSame(await listener.hears(1), ['last words'])
  await until(() => app.connections.count === 1)
})

t.test('what a client had sent after a message that was refused was published all the same', async (t) => {
  const { app, wsUrl } = await start(t)
  app.connections.addHook('onPublish', async ({ data }) => {
    await new Promise((resolve) => setImmediate(resolve))
    if (data === 'bad') throw Object.assign(new Error('no'), { closeCode: 4000 })
  })
  const sender = await connect(t, wsUrl)
  for (const text of ['good', 'bad', 'after', 'after that']) sender.ws.send(text)
  t.equal((await sender.closed()).code, 4000)
  const listener = await connect(t, wsUrl)
  listener.ws.send('end')
  await listener.hears(1)
  t.strictSame((await app.connections.history('broadcast')).publications.map(({ data }) => String(data)), ['good', 'end'])
})

t.test('a connection whose message a slow hook held back was closed with 3012, though it answers pings', async (t) => {
  const { app, wsUrl } = await start(t, { pingInterval: 0.1, pongTimeout: 0.1, hookTimeout: 5 })
  const { open, opened } = gate()
  app.connections.addHook('onPublish', async () => opened)
  const [sender, listener] = await Promise.all([connect(t, wsUrl), connect(t, wsUrl)])
  let code = 0
  sender.ws.on('close', (closed) => { code = closed })
  sender.ws.send('late')
  // Five laps of the heartbeat, as another connection sees them.
  for (let lap = 0; lap < 5; lap++) await once(listener.ws, 'ping')
  open()
  t.strictSame(await listener.hears(1), ['late'])
  t.equal(code, 0)
  t.equal(sender.ws.readyState, sender.ws.OPEN)
})

t.test('the end of a token, or of the node, does not wait for hooks', async (t) => {
  const { app, wsUrl } = await start(t, { hookTimeout: 3 })
  app.connections.addHook('onPublish', async () => new Promise(() => {}))
  const clients = await Promise.all([connect(t, wsUrl), connect(t, wsUrl)]) as [Client, Client]
  for (const { ws } of clients) ws.send('never seen')
  const started = performance.now()
  const closed = clients[0].closed()
  await until(async () => (await app.connections.presence('broadcast')).length === 2)
  await app.connections.disconnect({ id: (await app.connections.presence('broadcast'))[0]!.client })
  const first = await Promise.race([closed, clients[1].closed()])
  t.equal(first.code, 3503)
  const ends = Promise.all(clients.map(async ({ ws }) => ws.readyState === ws.CLOSED || once(ws, 'close')))
  await app.close()
  await ends
  const ms = Math.round(performance.now() - started)
  t.ok(ms < 2000, `after ${ms} ms`)
})
