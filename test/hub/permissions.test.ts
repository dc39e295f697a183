import { once } from 'node:events'
import t from 'tap'
import type { Action, Permission } from '../../src/hub/permissions.ts'
import { Client, connect, refusal, start, type Running } from '../helper.ts'
import { greet } from '../protocols/centrifuge/client.ts'
import { answerOf, as, bearer, startSecure, tokenOf } from '../tokens.ts'

const values: Permission[] = ['everyone', 'authenticated', 'subscribers', 'token', 'server', 'none']
const actions: Action[] = ['subscribe', 'publish', 'presence', 'history']
const OPEN = { subscribe: 'everyone', publish: 'everyone', presence: 'everyone', history: 'everyone' } as const

/** Who each value lets do something: a guest, a user, and one whose token names the channel. */
const expected: Record<Permission, { hears: string, does: string }> = {
  everyone: { hears: 'guest user named', does: 'guest user named' },
  authenticated: { hears: 'user named', does: 'user named' },
  // Nobody is in a channel before; a token that names it opens it for hearing.
  subscribers: { hears: 'named', does: 'guest user named' },
  token: { hears: 'named', does: 'named' },
  server: { hears: 'named', does: '' },
  none: { hears: '', does: '' }
}

type Headers = Record<string, string>

const attempts: Record<Action, (running: Running, channel: string, headers: Headers) => Promise<boolean>> = {
  subscribe: async ({ wsUrl }, channel, headers) => (await refusal(`${wsUrl}?channel=${channel}`, { headers })).status === 101,
  publish: async ({ wsUrl }, channel, headers) => publishes(wsUrl, channel, headers),
  presence: async ({ url }, channel, headers) => (await answerOf(`${url}/presence?channel=${channel}`, headers)).status === 200,
  history: async ({ url, wsUrl }, channel, headers) => {
    const [position, websocket] = [await answerOf(`${url}/position?channel=${channel}`, headers), await refusal(`${wsUrl}?channel=${channel}&history=1`, { headers })]
    return position.status === 200 && websocket.status === 101
  }
}

async function publishes (wsUrl: string, channel: string, headers: Headers): Promise<boolean> {
  const client = new Client(`${wsUrl}?channel=${channel}`, { headers })
  await once(client.ws, 'open')
  client.ws.send('hello')
  const heard = await Promise.race([client.hears(1).then(() => true), client.closed().then(() => false)])
  client.ws.terminate()
  return heard
}

t.test('each value of a rule, for each action: who may and who may not', async (t) => {
  const channels = values.flatMap((value) => actions.map((action) => ({ match: `${value}:${action}`, allow: { ...OPEN, [action]: value } })))
  const running = await startSecure(t, { allowAnonymous: true, channels })
  for (const value of values) {
    for (const action of actions) {
      const channel = `${value}:${action}`
      const callers: Record<string, Headers> = { guest: {}, user: (await as('ada')).headers, named: (await as('ada', { channels: [channel] })).headers }
      const may: string[] = []
      for (const [who, headers] of Object.entries(callers)) if (await attempts[action](running, channel, headers)) may.push(who)
      t.equal(may.join(' '), expected[value][action === 'subscribe' ? 'hears' : 'does'], channel)
    }
  }
})

t.test('what no rule says: with tokens users may hear, and publish where they are', async (t) => {
  const running = await startSecure(t, { allowAnonymous: true, channels: [{ match: 'half', allow: { publish: 'server' } }] })
  const { headers } = await as('ada')
  for (const action of actions) {
    t.ok(await attempts[action](running, 'any', headers), action)
    if (action !== 'publish') t.notOk(await attempts[action](running, 'any', {}), `${action}, by a guest`)
  }
  t.notOk(await attempts.publish(running, 'half', headers), 'what a rule leaves out is as where there is none')
  t.ok(await attempts.history(running, 'half', headers))
})

t.test('in open mode everyone may do everything that no rule forbids, and $ and # are letters', async (t) => {
  const running = await start(t, { channels: [{ match: 'news', allow: { publish: 'server' } }, { match: 'users', allow: { subscribe: 'authenticated' } }] })
  for (const channel of ['any', '$private', 'inbox%23ada']) for (const action of actions) t.ok(await attempts[action](running, channel, {}), `${action} ${channel}`)
  t.notOk(await attempts.publish(running, 'news', {}))
  t.notOk(await attempts.subscribe(running, 'users', {}), 'nobody is a user there')
  t.ok(await attempts.subscribe(running, 'any', bearer('nonsense').headers), 'tokens are not looked at')
})

t.test('names with $ and #: only whom they name, or whose token names them', async (t) => {
  const { url, wsUrl } = await startSecure(t, { allowAnonymous: true, channels: [{ match: '*', allow: { subscribe: 'everyone' } }] })
  const ada = (await as('ada')).headers
  const cases: [channel: string, user: string, may: boolean][] = [
    ['inbox#ada', 'ada', true], ['inbox#ada', 'bob', false], ['talk#ada,bob', 'bob', true], ['talk#ada,bob', 'eve', false], ['#ada', 'ada', true],
    ['talk#', '', false], ['talk#,', '', false], ['$room', 'ada', false], ['$inbox#ada', 'ada', false], ['a$b', 'bob', true], ['inbox#ada#bob', 'bob', false], ['inbox#ada#bob', 'ada#bob', true]
  ]
  for (const [channel, user, may] of cases) {
    const { status } = await refusal(`${wsUrl}?channel=${encodeURIComponent(channel)}`, user ? await as(user) : {})
    t.equal(status, may ? 101 : 403, `${user || 'a guest'} in ${channel}`)
    if (user) t.equal((await answerOf(`${url}/sse?channel=${encodeURIComponent(channel)}`, (await as(user)).headers)).status, may ? 200 : 403)
  }
  const token = await tokenOf({ sub: 'eve', channels: ['inbox#ada', '$inbox#ada'] })
  for (const channel of ['inbox%23ada', '$inbox%23ada']) t.equal((await refusal(`${wsUrl}?channel=${channel}`, bearer(token))).status, 101, 'the issuer says so')
  for (const path of ['/presence', '/position']) {
    t.equal((await answerOf(`${url}${path}?channel=inbox%23ada`, ada)).status, 200)
    t.equal((await answerOf(`${url}${path}?channel=inbox%23bob`, ada)).status, 403)
  }
})

t.test('who was put into a channel by the server may publish there, and no more when it was taken out', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const client = await connect(t, wsUrl, await as('ada'))
  client.ws.send('one')
  await client.hears(1)
  t.equal(await app.connections.removeFrom('broadcast', { user: 'ada' }), 1)
  const closed = client.closed()
  client.ws.send('two')
  t.match(await closed, { code: 3507, reason: 'You may not publish to channel broadcast: only who is in the channel may' })
})

t.test('who asked for much history could not publish before all of it had come', async (t) => {
  const { app, wsUrl } = await startSecure(t, { compression: false })
  for (let number = 0; number < 100; number++) await app.connections.publish('broadcast', String(number).padEnd(60_000))
  const listener = await connect(t, wsUrl, await as('bob'))
  const client = await connect(t, `${wsUrl}?history=100`, await as('ada'))
  const gone = new Promise<number>((resolve) => { app.connections.addHook('onDisconnect', ({ code }) => resolve(code)) })
  client.ws.pause()
  client.ws.send('hello')
  t.strictSame(await Promise.race([listener.hears(1), gone]), ['hello'])
  client.ws.resume()
  await client.hears(101)
})

t.test('a rule that shows everyone who is in a channel showed that of private channels, and of those of some users', async (t) => {
  const { url } = await startSecure(t, { channels: [{ match: '*', allow: { presence: 'everyone', history: 'authenticated' } }] })
  const { headers } = await as('eve')
  for (const path of ['presence', 'position']) {
    for (const channel of ['$vip', 'inbox#ada']) t.equal((await answerOf(`${url}/${path}?channel=${encodeURIComponent(channel)}`, headers)).status, 403, `${path} of ${channel}`)
    for (const channel of ['news', 'inbox#eve']) t.equal((await answerOf(`${url}/${path}?channel=${encodeURIComponent(channel)}`, headers)).status, 200, `${path} of ${channel}`)
  }
})

t.test('a rule for all channels holds for all names: globs left out what looks like a path', async (t) => {
  const none = { subscribe: 'none', publish: 'none', presence: 'none', history: 'none' } as const
  for (const match of ['*', '**']) {
    const { wsUrl } = await start(t, { channels: [{ match, allow: none }] })
    for (const name of ['x', '.', '..', './x', '../x', 'a/../b', 'a/./b', 'chat:x/../y', '.hidden', '/', 'a/', '!x']) {
      t.equal((await refusal(`${wsUrl}?channel=${encodeURIComponent(name)}`)).status, 403, `${match}: ${name}`)
    }
  }
  const { wsUrl } = await start(t, { channels: [{ match: 'chat:*', allow: none }, { match: '{news,room-{1..3}}/*', allow: none }] })
  for (const name of ['chat:x/../y', 'news/../y', 'room-2/x']) t.equal((await refusal(`${wsUrl}?channel=${encodeURIComponent(name)}`)).status, 403, name)
  for (const name of ['chat', 'room-4/x', 'news']) t.equal((await refusal(`${wsUrl}?channel=${encodeURIComponent(name)}`)).status, 101, name)
})

t.test('channels of some users, and private ones: who may not hear them may not publish there, whatever a rule says', async (t) => {
  const { wsUrl, app } = await startSecure(t, { channels: [{ match: '**', allow: OPEN }] })
  const eve = await greet(t, wsUrl, { token: await tokenOf({ sub: 'eve' }) })
  for (const channel of ['inbox#ada', '$team']) t.match(await eve.ask({ publish: { channel, data: 1 } }), { error: { code: 103 } }, channel)
  t.match(await eve.ask({ publish: { channel: 'inbox#ada,eve', data: 1 } }), { publish: {} })
  t.equal((await app.connections.position('inbox#ada')).offset, 0)
})
