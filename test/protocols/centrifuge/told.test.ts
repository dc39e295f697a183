import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { start, startReady, until } from '../../helper.ts'
import { startRedis } from '../../redis.ts'
import { startSecure, tokenOf } from '../../tokens.ts'
import { addressOf, greet } from './client.ts'

t.test('whom the server API put into a channel hears on when publications are lost: it came back without the channel', async (t) => {
  const redis = await startRedis(t)
  const { app, wsUrl } = await startReady(t, { redisUrl: redis.url })
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'own' } })
  await app.connections.addTo('news', { channel: 'own' })
  await app.connections.publish('news', 'before')
  const { subscribe: { epoch } } = await client.isTold('subscribe')
  await client.isTold('pub')
  await redis.kill()
  await redis.restart()
  const again = await client.finds(({ pushes }) => pushes.find((push) => push.channel === 'news' && push.subscribe && push.subscribe.epoch !== epoch))
  t.match(again, { subscribe: { positioned: true, recoverable: true } })
  t.strictSame(client.pushes.filter(({ channel }) => channel === 'news').map((push) => Object.keys(push)[1]), ['subscribe', 'pub', 'unsubscribe', 'subscribe'])
  await until(() => app.connections.publish('news', 'on').then(() => true, () => false))
  await client.finds(({ heardData }) => heardData.includes('on') || undefined)
  t.equal(app.connections.count, 1)
})

t.test('what somebody may not read is not called recoverable, however it came to it', async (t) => {
  const { app, wsUrl } = await start(t, { channels: [{ match: 'sealed', allow: { history: 'server' } }] })
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'own' } })
  await app.connections.addTo('sealed', { channel: 'own' })
  t.strictSame((await client.isTold('subscribe')).subscribe, { positioned: true, ...await app.connections.position('sealed') })
})

t.test('a publication says what is known of a guest, too', async (t) => {
  const { wsUrl } = await startSecure(t, { allowAnonymous: true, channels: [{ match: 'x', allow: { publish: 'everyone' } }] })
  const guest = await greet(t, wsUrl, { token: await tokenOf({ sub: '', info: { name: 'guest' }, subs: { x: { info: { seat: 7 } } } }) })
  await guest.ask({ publish: { channel: 'x', data: 1 } })
  t.match(await guest.isTold('pub'), { pub: { info: { user: '', conn_info: { name: 'guest' }, chan_info: { seat: 7 } } } })
})

t.test('the subprotocol that is chosen is the one that is spoken', async (t) => {
  const { wsUrl } = await start(t)
  for (const [offered, code] of [[['centrifuge-json', 'centrifuge-protobuf'], undefined], [['centrifuge-protobuf', 'centrifuge-json'], 3501]] as const) {
    const ws = new WebSocket(addressOf(wsUrl), Array.from(offered))
    t.teardown(() => ws.terminate())
    await once(ws, 'open')
    t.equal(ws.protocol, offered[0])
    ws.send('{"id":1,"connect":{}}')
    t.equal(await Promise.race([once(ws, 'message').then(() => undefined), once(ws, 'close').then(([code]) => code as number)]), code)
  }
})

t.test('compression: what is large comes compressed, for who offers it', async (t) => {
  const { app, wsUrl } = await start(t)
  const client = await greet(t, wsUrl, {}, { perMessageDeflate: true })
  await client.ask({ subscribe: { channel: 'a' } })
  const data = 'x'.repeat(50_000)
  await app.connections.publish('a', { data })
  t.strictSame((await client.isTold('pub')).pub.data, { data })
  t.ok((client.ws as unknown as { _socket: { bytesRead: number } })._socket.bytesRead < 5000)
})

t.test('injectWS: tests of routes can speak it, too', async (t) => {
  const { app } = await start(t)
  const ws = await app.injectWS('/connection/websocket')
  const heard: string[] = []
  ws.on('message', (data: Buffer) => heard.push(String(data)))
  ws.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}')
  await until(() => heard.length === 2)
  await app.connections.publish('a', 1)
  await until(() => heard.length === 3)
  t.match(heard[2], /"pub":\{"data":1,"offset":1\}/)
  ws.terminate()
})
