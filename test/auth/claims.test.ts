import t from 'tap'
import { connect, refusal, until } from '../helper.ts'
import { ANOTHER_SECRET, answerOf, as, bearer, secondsFromNow, startSecure, tokenOf } from '../tokens.ts'
import { listenTo } from '../sse-client.ts'

t.test('channels and subs: a client that names no channel hears those of its token, and its first message goes to the first', async (t) => {
  const { app, url, wsUrl } = await startSecure(t)
  const claims = { channels: ['news', '$vip'], subs: { sport: { info: { seat: 7 } }, inbox: {} } }
  const client = await connect(t, wsUrl, await as('ada', claims))
  t.strictSame(Object.fromEntries(await app.connections.channels()), { news: 1, $vip: 1, sport: 1, inbox: 1 })
  client.ws.send('to the first')
  t.strictSame(await client.hears(1), ['to the first'])
  t.strictSame((await app.connections.history('news')).publications.length, 1)
  const stream = await listenTo(t, `${url}/sse?token=${await tokenOf({ sub: 'eve', ...claims })}`)
  await app.connections.publish('$vip', 'for those who are named')
  t.strictSame(await stream.hears(1), ['for those who are named'])
  await connect(t, `${wsUrl}?channel=news`, await as('bob', claims))
  t.equal((await app.connections.channels('$vip')).get('$vip'), 2, 'who names channels hears those')
})

t.test('sub, info and the info of a channel are what others see in presence; meta is for hooks alone', async (t) => {
  const { app, url, wsUrl } = await startSecure(t)
  const met: unknown[] = []
  app.connections.addHook('onConnect', ({ caller: { user, info, meta } }) => { met.push({ user, info, meta }) })
  const { headers } = await as('ada', { info: { name: 'Ada' }, meta: { plan: 'gold' }, subs: { news: { info: { seat: 7 } } } })
  await connect(t, wsUrl, { headers })
  t.strictSame(met, [{ user: 'ada', info: { name: 'Ada' }, meta: { plan: 'gold' } }])
  let answer = await answerOf(`${url}/presence?channel=news`, headers)
  await until(async () => (answer = await answerOf(`${url}/presence?channel=news`, headers)).json.clients === 1)
  t.match(answer.json, { users: 1, members: [{ user: 'ada', info: { name: 'Ada' }, channelInfo: { seat: 7 } }] })
  t.notMatch(answer.text, 'gold')
})

t.test('a token without sub is of nobody: it may do what everyone may', async (t) => {
  const { wsUrl } = await startSecure(t, { channels: [{ match: 'open', allow: { subscribe: 'everyone' } }] })
  const options = bearer(await tokenOf({}))
  t.match(await refusal(wsUrl, options), { status: 403, body: /a token with a user \(sub\) is needed/ })
  await connect(t, `${wsUrl}?channel=open`, options)
})

t.test('expire_at takes the place of exp: 0 is never, a time is that time', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const exp = secondsFromNow(1)
  const [never, sooner, bounded] = await Promise.all([
    connect(t, wsUrl, await as('never', { exp, expire_at: 0 })),
    connect(t, wsUrl, await as('sooner', { expire_at: exp })),
    connect(t, wsUrl, await as('bounded', { exp }))
  ])
  t.strictSame((await Promise.all([sooner.closed(), bounded.closed()])).map(({ code }) => code), [3005, 3005])
  await app.connections.publish('broadcast', 'still there')
  t.strictSame(await never.hears(1), ['still there'])
})

t.test('nobody is closed before the token ends', async (t) => {
  const { wsUrl } = await startSecure(t)
  const exp = secondsFromNow(1)
  const clients = await Promise.all(Array.from({ length: 5 }, async () => connect(t, wsUrl, await as('ada', { exp }))))
  const ends = await Promise.all(clients.map(async (client) => client.closed().then(() => Date.now())))
  for (const end of ends) t.ok(end >= exp * 1000 - 5, `${end - exp * 1000} ms after it`)
})

t.test('a subscription token opens one channel for one user', async (t) => {
  const { url, wsUrl } = await startSecure(t)
  const ada = await as('ada')
  const opens = (channel: string, token: string): string => `?channel=${channel}&subscriptionToken=${token}`
  const room = await tokenOf({ sub: 'ada', channel: '$room', info: { seat: 1 } })
  t.match(await refusal(`${wsUrl}?channel=$room`, ada), { status: 403, body: /FANFARE_FORBIDDEN.*a token that names the channel is needed/ })
  await connect(t, wsUrl + opens('$room', room), ada)
  const other = await tokenOf({ sub: 'ada', channel: '$other' })
  await connect(t, `${wsUrl}?channel=$room&channel=$other&subscriptionToken=${room}&subscriptionToken=${other}`, ada)
  await listenTo(t, `${url}/sse${opens('$room', room)}`, ada)
  t.equal((await answerOf(`${url}/position${opens('$room', room)}`, ada.headers)).status, 200)
  t.match(await refusal(wsUrl + opens('$third', room), ada), { status: 403 }, 'no other channel')
  t.match(await refusal(wsUrl + opens('$room', room), await as('bob')), { status: 401, body: /it is for another user \(sub\)/ })
  t.match(await refusal(wsUrl + opens('$room', room)), { status: 401 }, 'it is no connection token')
  t.match(await refusal(wsUrl + opens('$room', await tokenOf({ sub: 'ada', channels: ['$room'] })), ada), { status: 401, body: /channel/ }, 'a connection token is none')
  t.match(await refusal(wsUrl + opens('$room', await tokenOf({ sub: 'ada', channel: '$room' }, ANOTHER_SECRET)), ada), { status: 401, body: /signature/ })
  t.match(await refusal(wsUrl + opens('$room', await tokenOf({ sub: 'ada', channel: '$room', exp: secondsFromNow(-60) })), ada), { status: 401, body: /FANFARE_TOKEN_EXPIRED/ })
  t.match(await refusal(wsUrl + opens('$room', ''), ada), { status: 401 })
})

t.test('the end of a subscription token closes with 3006', async (t) => {
  const { wsUrl } = await startSecure(t)
  const token = await tokenOf({ sub: 'ada', channel: '$room', exp: secondsFromNow(1) })
  const client = await connect(t, `${wsUrl}?channel=$room&subscriptionToken=${token}`, await as('ada'))
  t.match(await client.closed(), { code: 3006, reason: 'subscription expired' })
})

t.test('ALLOW_ANONYMOUS lets those in who bring no token; a bad one is refused all the same', async (t) => {
  const channels = [{ match: 'open', allow: { subscribe: 'everyone', publish: 'everyone' } }] as const
  const { wsUrl } = await startSecure(t, { allowAnonymous: true, channels })
  const guest = await connect(t, `${wsUrl}?channel=open`)
  guest.ws.send('hello')
  t.strictSame(await guest.hears(1), ['hello'])
  t.equal((await refusal(wsUrl)).status, 403, 'what is not for everyone is not for them')
  t.match(await refusal(`${wsUrl}?channel=open`, bearer('bad')), { status: 401, body: /FANFARE_TOKEN_INVALID/ })
  const strict = await startSecure(t, { channels })
  const { status, body } = await refusal(`${strict.wsUrl}?channel=open`)
  t.match({ status, body }, { status: 401, body: /FANFARE_TOKEN_MISSING/ })
  t.equal((await fetch(`${strict.url}/sse?channel=open`)).headers.get('www-authenticate'), 'Bearer')
})

t.test('a token that was given twice, or with a space in it, was taken for none', async (t) => {
  const { wsUrl } = await startSecure(t, { allowAnonymous: true, channels: [{ match: 'open', allow: { subscribe: 'everyone' } }] })
  const good = await tokenOf({ sub: 'ada' })
  t.match(await refusal(`${wsUrl}?channel=open&token=${good}&token=${good}`), { status: 401, body: /FANFARE_TOKEN_INVALID/ })
  for (const authorization of [`Bearer ${good} x`, `Bearer x ${good}`]) {
    t.match(await refusal(`${wsUrl}?channel=open`, { headers: { authorization } }), { status: 401, body: /FANFARE_TOKEN_INVALID/ }, authorization.slice(0, 12))
  }
})
