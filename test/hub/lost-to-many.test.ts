import t from 'tap'
import { connect, connectMany, startReady } from '../helper.ts'
import { startRedis } from '../redis.ts'

t.test('publications are lost to many at once: all are closed in turns, and hear nothing more; 15,000 held up the loop for 0.8 s', async (t) => {
  const redis = await startRedis(t)
  const { app, wsUrl } = await startReady(t, { redisUrl: redis.url })
  // For the first one the node subscribes, which has its time.
  const clients = [await connect(t, wsUrl), ...await connectMany(t, wsUrl, 999)]
  await app.connections.publish('broadcast', 'before')
  await Promise.all(clients.map((client) => client.hears(1)))
  const closed = clients.map((client) => client.closed())
  let left: number | undefined
  app.connections.addHook('onDisconnect', () => { setImmediate(() => { left ??= app.connections.count }) })
  redis.cli('flushall')
  await app.connections.publish('broadcast', 'after')
  t.ok((await Promise.all(closed)).every(({ code }) => code === 3010))
  t.ok(clients.every(({ texts }) => texts.length === 1), 'nobody heard what came after the loss')
  t.ok(Number(left) > 500, `when the loop came to something else ${left} of 1,000 had not had their turn`)
})
