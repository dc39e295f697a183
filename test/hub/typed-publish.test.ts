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

t.test('no data reaches such a hook that its schema does not describe: neither of another rule, nor of a hook before', async (t) => {
  const { app, wsUrl } = await start(t, { channels: [{ match: 'orders:drafts:*' }, orders] })
  const seen: unknown[] = []
  app.connections.addHook('onPublish', ({ channel }) => channel === 'orders:1' ? { data: { state: 'open' } } : undefined)
  app.connections.onPublish(orders, ({ channel, data }) => { seen.push([channel, data]) })

  const draft = await connect(t, `${wsUrl}?channel=orders:drafts:1`)
  draft.ws.send('anything')
  t.strictSame(await draft.hears(1), ['anything'], 'an earlier rule, which has no schema, is for this channel')

  const changed = await connect(t, `${wsUrl}?channel=orders:1`)
  changed.ws.send('{"state":"open","count":1}')
  t.match(await changed.closed(), { code: 3501, reason: /must have required property 'count'/ })
  t.strictSame(seen, [])
})

t.test('such a hook for a rule that there is not is refused: it would never be called', async (t) => {
  const { app } = await start(t)
  t.throws(() => app.connections.onPublish(orders, () => {}), { code: 'FANFARE_NO_RULE', message: /channel rule orders:\*/ })
})
