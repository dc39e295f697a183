import t, { type Test } from 'tap'
import { start, until, type Running } from '../../helper.ts'
import { startRedis, type RedisServer } from '../../redis.ts'
import { greet, speak } from './client.ts'

const CLIENTS = 300

/** What is left of those who have gone. */
function leftIn ({ app }: Running): object {
  const { connections } = app
  return { connections: connections.count, channels: connections.channelCount, waiting: connections.waitingBytes }
}

async function leaveAtAnyMoment (t: Test, running: Running): Promise<void> {
  const { app, wsUrl } = running
  // Every step takes its time, so that some leave in the middle of each.
  for (const name of ['onConnect', 'onSubscribe', 'onPublish'] as const) app.connections.addHook(name, () => new Promise<void>((resolve) => setTimeout(resolve, Math.random() * 10)))
  await Promise.all(Array.from({ length: CLIENTS }, async (_, index) => {
    const client = await speak(t, wsUrl)
    client.say({ connect: {} }, ...['a', 'b', `own${index}`].map((channel) => ({ subscribe: { channel } })), { publish: { channel: 'a', data: index } }, { unsubscribe: { channel: 'b' } }, { subscribe: { channel: 'b', recover: true } })
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 60))
    client.ws.terminate()
  }))
  await until(() => app.connections.count === 0)
  await until(() => app.connections.channelCount === 0)
  t.strictSame(leftIn(running), { connections: 0, channels: 0, waiting: 0 })
  for (const channel of ['a', 'b', 'own0']) await until(async () => (await app.connections.presence(channel)).length === 0)
  const later = await greet(t, wsUrl)
  for (const channel of ['a', 'b']) t.match(await later.ask({ subscribe: { channel } }), { subscribe: { positioned: true } })
}

t.test(`${CLIENTS} clients that leave at any moment leave nothing behind`, async (t) => {
  await leaveAtAnyMoment(t, await start(t))
})

t.test('the same with Redis, where they leave no subscriptions either', async (t) => {
  const redis = await startRedis(t)
  await leaveAtAnyMoment(t, await start(t, { redisUrl: redis.url }))
  await until(() => channelsOf(redis).every((name) => !name.includes('own')))
})

t.test('who was taken out of a channel while hooks were asked about it was not told, if it had been in another one before', async (t) => {
  const { app, wsUrl } = await start(t)
  let asked: (() => void) | undefined
  app.connections.addHook('onSubscribe', ({ channel }) => channel === 'slow' ? new Promise((resolve) => { asked = resolve }) : undefined)
  const client = await greet(t, wsUrl)
  await client.ask({ subscribe: { channel: 'other' } })
  const answer = client.ask({ subscribe: { channel: 'slow' } })
  await until(() => asked !== undefined)
  await app.connections.removeFrom('slow', { id: client.greeting.connect.client })
  asked?.()
  t.match(await client.isTold('unsubscribe'), { channel: 'slow', unsubscribe: { code: 2000 } })
  t.match(await answer, { error: {} })
})

function channelsOf (redis: RedisServer): string[] {
  return redis.cli('pubsub', 'channels').split('\n')
}
