import t, { type Test } from 'tap'
import { connect, start } from '../helper.ts'
import { apiOf, KEY } from './api-client.ts'

const KEYS = 1000
const SENDS = 5
const AT_ONCE = 50

/** Sends every key several times at once, to the servers in turn, which must publish it once, and counts what their subscribers hear. */
async function race (t: Test, servers: readonly { url: string, wsUrl: string }[]): Promise<void> {
  const channel = 'race'
  const clients = await Promise.all(servers.map(({ wsUrl }) => connect(t, `${wsUrl}?channel=${channel}`)))
  const apis = servers.map(({ url }) => apiOf(url))
  const publish = (turn: number, params: object): Promise<Record<string, unknown>> => (apis[turn % apis.length] as typeof apis[0])('publish', { channel, ...params })
  const positions = new Set<string>()
  const startedAt = performance.now()
  for (let first = 0; first < KEYS; first += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, async (_, index) => {
      const key = first + index
      const replies = await Promise.all(Array.from({ length: SENDS }, (_, send) => publish(send, { data: key, idempotency_key: `key ${key}` })))
      const different = new Set(replies.map(({ epoch, offset }) => `${String(epoch)}:${String(offset)}`))
      if (different.size !== 1) t.fail(`key ${key} got the positions ${[...different].join(' ')}`)
      for (const position of different) positions.add(position)
    }))
  }
  const seconds = (performance.now() - startedAt) / 1000
  t.equal((await publish(0, { data: 'end' })).offset, KEYS + 1)
  for (const client of clients) {
    const heard = await client.hears(KEYS + 1)
    t.equal(heard.length, KEYS + 1)
    t.equal(new Set(heard).size, KEYS + 1)
    t.equal(heard.at(-1), '"end"', 'nothing after it')
  }
  t.equal(positions.size, KEYS)
  t.comment(`${servers.length} node(s): ${KEYS} keys x ${SENDS} racing sends: ${positions.size} publications, ${Math.round(KEYS * SENDS / seconds)} requests/s`)
}

t.test('1,000 idempotency keys, each sent by 5 at once, give 1,000 publications', async (t) => {
  const { url, wsUrl } = await start(t, { apiKey: KEY })
  await race(t, [{ url, wsUrl }])
})
