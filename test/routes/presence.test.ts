import t from 'tap'
import { build, connect, connectMany, start, until } from '../helper.ts'

interface Answer { channel: string, clients: number, users: number, members: { client: string, user: string }[] }

const ask = async (url: string, query = ''): Promise<Answer> => (await fetch(`${url}/presence${query}`)).json() as Promise<Answer>

t.test('GET /presence says who is in a channel, and follows them as they come and go', async (t) => {
  const { url, wsUrl } = await start(t)
  t.strictSame(await ask(url, '?channel=red'), { channel: 'red', clients: 0, users: 0, members: [] })
  const [red] = await Promise.all([connect(t, `${wsUrl}?channel=red`), connect(t, wsUrl)])
  await connect(t, `${wsUrl}?channel=red`)
  await until(async () => (await ask(url, '?channel=red')).clients === 2)
  const { members, ...counts } = await ask(url, '?channel=red')
  t.strictSame(counts, { channel: 'red', clients: 2, users: 1 })
  t.equal(new Set(members.map(({ client }) => client)).size, 2)
  t.ok(members.every(({ client, user }) => /^[\da-f-]{36}$/.test(client) && user === ''))
  t.equal((await ask(url)).channel, 'broadcast')
  t.equal((await ask(url)).clients, 1)
  red.ws.close()
  await until(async () => (await ask(url, '?channel=red')).clients === 1)
})

t.test('it names 100 at most, and counts all', async (t) => {
  const { url, wsUrl } = await start(t)
  await connectMany(t, wsUrl, 120)
  await until(async () => (await ask(url)).clients === 120)
  t.equal((await ask(url)).members.length, 100)
})

t.test('it refuses a bad name, and says where presence is off', async (t) => {
  const app = await build(t, { channels: [{ match: 'secret', presence: false }] })
  const cases: [string, number, string][] = [
    ['?channel=secret', 404, 'FANFARE_NO_PRESENCE'],
    ['?channel=', 400, 'FANFARE_BAD_CHANNEL'],
    [`?channel=${'x'.repeat(256)}`, 400, 'FANFARE_BAD_CHANNEL'],
    ['?channel=a%0Ab', 400, 'FANFARE_BAD_CHANNEL'],
    ['?channel=a&channel=b', 400, 'FST_ERR_VALIDATION']
  ]
  for (const [query, status, code] of cases) {
    const answer = await app.inject(`/presence${query}`)
    t.equal(answer.statusCode, status, query)
    t.equal(answer.json<{ code: string }>().code, code)
  }
  t.equal((await app.inject('/presence?channel=open')).statusCode, 200)
})

t.test('GET /position says where a channel stands', async (t) => {
  const app = await build(t)
  const first = (await app.inject('/position?channel=red')).json<{ channel: string, epoch: string, offset: number }>()
  t.match(first, { channel: 'red', epoch: /^[\w-]+$/, offset: 0 })
  await app.connections.publish('red', 'one')
  t.strictSame((await app.inject('/position?channel=red')).json(), { ...first, offset: 1 })
  t.equal((await app.inject('/position?channel=')).statusCode, 400)
})
