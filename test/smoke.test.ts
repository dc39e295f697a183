import t from 'tap'
import { connect, start } from './helper.ts'

t.test('what one sends, all get', async (t) => {
  const { wsUrl, app } = await start(t)
  const [a, b] = await Promise.all([connect(t, wsUrl), connect(t, wsUrl)])
  a.ws.send('hello')
  b.ws.send(Buffer.from([1, 2, 3]))
  await Promise.all([a.hears(2), b.hears(2)])
  t.same(a.heard, b.heard)
  t.equal(app.connections.count, 2)
})
