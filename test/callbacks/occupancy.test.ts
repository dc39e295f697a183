import t, { type Test } from 'tap'
import { connect, start, startReady, until, type Client, type Running } from '../helper.ts'
import { startRedis, type RedisServer } from '../redis.ts'
import { startBackEnd, type TestBackEnd } from './test-back-end.ts'

interface TwoNodes { one: Running, two: Running, backEnd: TestBackEnd, redis: RedisServer }

async function twoNodes (t: Test, redisArgs: readonly string[] = []): Promise<TwoNodes> {
  const redis = await startRedis(t, redisArgs)
  const backEnd = await startBackEnd(t, { events: () => '' })
  const options = { redisUrl: redis.url, callbackUrl: backEnd.url, callbackEvents: ['channel' as const] }
  const one = await startReady(t, options)
  const two = await start(t, options)
  await until(() => [one, two].every(({ app }) => app.connections.nodes().length === 2))
  return { one, two, backEnd, redis }
}

const at = (node: Running, channel: string): string => `${node.wsUrl}?channel=${encodeURIComponent(channel)}`

// What a node tells comes in order: once this has come, all from before has.
let markers = 0
async function allFrom (t: Test, node: Running, backEnd: TestBackEnd): Promise<string[]> {
  const marker = `marker ${++markers}`
  await connect(t, at(node, marker))
  await backEnd.when(() => backEnd.told.some(({ channel }) => channel === marker))
  return backEnd.told.filter(({ channel }) => !channel?.startsWith('marker')).map(({ type, channel }) => `${type} ${channel}`)
}

async function leave (client: Client): Promise<void> {
  client.ws.close()
  await client.closed()
}

t.test('a channel is occupied by the first and vacated by the last of all nodes', async (t) => {
  const { one, two, backEnd } = await twoNodes(t)
  const first = await connect(t, at(one, 'red'))
  t.same(await allFrom(t, one, backEnd), ['occupied red'])
  const second = await connect(t, at(two, 'red'))
  t.same(await allFrom(t, two, backEnd), ['occupied red'])
  await leave(first)
  t.same(await allFrom(t, one, backEnd), ['occupied red'])
  await leave(second)
  t.same(await allFrom(t, two, backEnd), ['occupied red', 'vacated red'])
  await connect(t, at(one, 'red'))
  t.same(await allFrom(t, one, backEnd), ['occupied red', 'vacated red', 'occupied red'])
})

t.test('names are names, whatever characters they hold', async (t) => {
  const { one, two, backEnd } = await twoNodes(t)
  const names = ['chat:1', 'chat:*', '*', '**', '{chat:1,x}', '[c]hat:1', '!chat:1', '"chat:1"', 'chat\\:1', '@(chat:1)', '__proto__', 'ä/b']
  for (const name of names) await connect(t, at(one, name))
  await connect(t, at(two, 'chat:2'))
  t.same(new Set(await allFrom(t, one, backEnd)), new Set(names.map((name) => `occupied ${name}`)).add('occupied chat:2'))
  for (const name of names) await connect(t, at(two, name))
  t.equal((await allFrom(t, two, backEnd)).length, names.length + 1)
})

t.test('whatever comes at the same time, the latest that is told is true', async (t) => {
  const { one, two, backEnd } = await twoNodes(t)
  const latest = (channel: string): string | undefined => backEnd.told.filter((event) => event.channel === channel).sort((a, b) => a.time - b.time).at(-1)?.type
  const channels = Array.from({ length: 20 }, (_, index) => `c${index}`)
  for (let round = 0; round < 3; round++) {
    const clients = await Promise.all(channels.flatMap((channel) => [connect(t, at(one, channel)), connect(t, at(two, channel))]))
    await allFrom(t, one, backEnd)
    await allFrom(t, two, backEnd)
    t.same(channels.map(latest), channels.map(() => 'occupied'), `round ${round}`)
    await Promise.all(clients.map(leave))
    await allFrom(t, one, backEnd)
    await allFrom(t, two, backEnd)
    t.same(channels.map(latest), channels.map(() => 'vacated'), `round ${round}`)
  }
})

t.test('while the other nodes cannot be asked nothing is told that may be wrong', async (t) => {
  // One that came back empty would close who hears a channel, and so vacate it.
  const { one, two, backEnd, redis } = await twoNodes(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const red = await connect(t, at(one, 'red'))
  const blue = await connect(t, at(one, 'blue'))
  await allFrom(t, one, backEnd)
  const other = await connect(t, at(two, 'blue'))
  await allFrom(t, two, backEnd)
  await redis.kill()
  await leave(red)
  await leave(blue)
  await until(() => one.app.connections.trouble !== undefined)
  await redis.restart()
  await backEnd.when(() => backEnd.told.some(({ type }) => type === 'vacated'))
  await until(() => [one, two].every(({ app }) => app.connections.trouble === undefined))
  t.same((await allFrom(t, two, backEnd)).filter((event) => event.startsWith('vacated')), ['vacated red'])
  t.same((await allFrom(t, one, backEnd)).filter((event) => event.startsWith('vacated')), ['vacated red'])
  t.equal(other.ws.readyState, other.ws.OPEN)
})

t.test('what is not known when a node stops is told as lost', async (t) => {
  const { one, two, backEnd, redis } = await twoNodes(t)
  await connect(t, at(one, 'red'))
  await allFrom(t, one, backEnd)
  await redis.kill()
  const started = performance.now()
  await one.app.close()
  const ms = Math.round(performance.now() - started)
  t.ok(ms < 4000, `ended after ${ms} ms`)
  t.match(backEnd.told.at(-1), { type: 'lost', count: 2 })
  t.equal(two.app.connections.count, 0)
})
