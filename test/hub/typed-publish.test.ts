import t from 'tap'
import { Type } from 'typebox'
import { connect, start } from '../helper.ts'

const orders = { match: 'orders:*', schema: Type.Object({ state: Type.String(), count: Type.Integer() }) }

t.test('a hook for the channels of a rule gets data of the type that its schema describes, and only what satisfies it', async (t) => {
  const { app, wsUrl } = await start(t, { channels: [orders] })
  const seen: [string, number][] = []
  app.connections.onPublish(orders, ({ data }) => {
    // @ts-expect-error: the schema has no such property
    const none: unknown = data.other
    t.equal(none, undefined)
    seen.push([data.state.toUpperCase(), data.count])
    return { data: { ...data, count: data.count + 1 } }
  })
  const client = await connect(t, `${wsUrl}?channel=orders:1`)
  client.ws.send('{"state":"open","count":1}')
  t.strictSame(await client.hears(1), ['{"state":"open","count":2}'])

  const other = await connect(t, `${wsUrl}?channel=other`)
  other.ws.send('{"state":1}')
  t.strictSame(await other.hears(1), ['{"state":1}'], 'other channels are not of its concern')

  const closed = client.closed()
  client.ws.send('{"state":"open","count":"many"}')
  t.match(await closed, { code: 3501, reason: /\/count must be integer/ })
  t.strictSame(seen, [['OPEN', 1]])
})
