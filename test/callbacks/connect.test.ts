import t, { type Test } from 'tap'
import { Webhook } from 'standardwebhooks'
import type { FanfareOptions } from '../../src/app.ts'
import { connect, refusal, start, type Running } from '../helper.ts'
import { startBackEnd, type TestBackEnd } from './test-back-end.ts'

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const TOKEN_SECRET = 'a-secret-of-32-bytes-or-more-please'

async function startWith (t: Test, backEnd: TestBackEnd, options: FanfareOptions = {}): Promise<Running> {
  return start(t, { callbackUrl: backEnd.url, callbackEvents: ['connect'], hookTimeout: 2, ...options })
}

async function token (claims: Record<string, unknown>): Promise<string> {
  const { SignJWT } = await import('jose')
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(TOKEN_SECRET))
}

t.test('the back end says who connects, and what it hears', async (t) => {
  const backEnd = await startBackEnd(t, {
    connect: () => ({ result: { user: 'ada', info: { name: 'Ada' }, channels: ['news'], subs: { $private: { info: 7 } }, meta: { plan: 'pro' }, expire_at: null } })
  })
  const { app, wsUrl } = await startWith(t, backEnd)
  const headers = { cookie: 'session=1', authorization: 'Bearer opaque', 'x-other': 'no', 'user-agent': 'test' }
  const client = await connect(t, wsUrl, { headers })
  const [asked] = backEnd.asked
  t.match(asked?.body, { client: /^[\w-]{36}$/, transport: 'websocket', protocol: 'plain', encoding: 'json', address: '127.0.0.1' })
  t.notHas(asked?.body, { channels: [] })
  t.match(asked?.headers, { authorization: 'Bearer opaque', 'user-agent': 'test', 'content-type': 'application/json' })
  t.notHas(asked?.headers, { 'x-other': '' })
  t.notHas(asked?.headers, { cookie: '' }, 'a cookie counts only with an Origin')
  const [member] = await app.connections.presence('$private')
  t.same(member, { client: asked?.body.client, user: 'ada', info: { name: 'Ada' }, channelInfo: 7 })
  await app.connections.publish('news', 'hello')
  t.same(await client.hears(1), ['hello'])
})

t.test('a cookie goes along if its Origin may connect, and so does what the settings name', async (t) => {
  const backEnd = await startBackEnd(t)
  const { url, wsUrl } = await startWith(t, backEnd, { callbackHeaders: ['Cookie', 'sec-websocket-protocol'], channels: [{ match: '*', allow: { subscribe: 'everyone' } }] })
  await connect(t, `${wsUrl}?channel=red`, { headers: { cookie: 'session=1', origin: url, authorization: 'x' } })
  t.match(backEnd.asked[0]?.headers, { cookie: 'session=1' })
  t.notHas(backEnd.asked[0]?.headers, { authorization: '' })
  t.match(backEnd.asked[0]?.body, { channels: ['red'] })
  t.equal((await refusal(wsUrl, { headers: { cookie: 'session=1', origin: 'https://evil.example' } })).status, 403)
  t.equal(backEnd.asked.length, 1, 'pages of others are refused before the back end is asked')
})

t.test('event streams ask too', async (t) => {
  const backEnd = await startBackEnd(t, { connect: ({ body }) => body.channels ? { result: { user: 'ada' } } : { error: { code: 4, message: 'say what' } } })
  const { url } = await startWith(t, backEnd)
  const stop = new AbortController()
  const stream = await fetch(`${url}/sse?channel=red`, { signal: stop.signal })
  t.equal(stream.status, 200)
  stop.abort()
  t.equal(backEnd.asked[0]?.body.transport, 'sse')
  const answer = await fetch(`${url}/sse`)
  t.match(await answer.json(), { statusCode: 403, code: 'FANFARE_CALLBACK_REFUSED', message: 'say what (4)' })
})

t.test('who is not let in gets 403 and the reason', async (t) => {
  const backEnd = await startBackEnd(t)
  const { wsUrl } = await startWith(t, backEnd)
  for (const [answer, message] of [
    [{ error: { code: 1000, message: 'banned' } }, 'banned (1000)'],
    [{ error: { code: 1000 }, result: null }, 'refused (1000)'],
    [{ disconnect: { code: 4501, reason: 'go away' } }, 'go away'],
    [{ disconnect: { code: 4501 } }, 'refused']
  ] as const) {
    backEnd.answers = { connect: () => answer }
    const { status, body } = await refusal(wsUrl)
    t.match({ status, ...JSON.parse(body) as object }, { status: 403, code: 'FANFARE_CALLBACK_REFUSED', message })
  }
  backEnd.answers = { connect: () => ({ result: {} }) }
  t.match(await refusal(wsUrl), { status: 403, body: /FANFARE_FORBIDDEN/ }, 'without a user the rules say what may be heard')
})

t.test('a back end that gives no answer, or a bad one, refuses with 503, and nothing else happens', async (t) => {
  const backEnd = await startBackEnd(t)
  const { app, wsUrl } = await startWith(t, backEnd)
  const answers = [
    500, 204, 302, '', 'null', '[]', '{"result":', '"text"', '{}', '{"result":null}', '{"result":7}', '{"result":{"user":7}}', '{"result":{"user":"ada","expire_at":-1}}',
    '{"result":{"channels":"news"}}', '{"error":{"code":"x"}}', '{"error":7}', '{"disconnect":{"code":1.5}}', '{"result":{"__proto__":{"user":"ada"}}}', `"${'x'.repeat(1_100_000)}"`
  ]
  for (const answer of answers) {
    backEnd.answers = { connect: () => answer }
    const { status, body } = await refusal(wsUrl)
    t.match({ status, body }, { status: 503, body: /FANFARE_CALLBACK_FAILED/ }, String(answer).slice(0, 50))
  }
  t.equal(app.connections.count, 0)
  backEnd.answers = { connect: () => ({ result: { user: 'ada' } }) }
  await connect(t, wsUrl)
})

t.test('a slow back end refuses after HOOK_TIMEOUT, one that is down at once', async (t) => {
  const backEnd = await startBackEnd(t, { connect: () => undefined })
  const { wsUrl } = await startWith(t, backEnd)
  const started = performance.now()
  t.match(await refusal(wsUrl), { status: 503, body: /FANFARE_HOOK_TIMEOUT/ })
  const ms = Math.round(performance.now() - started)
  t.ok(ms >= 1990 && ms < 2700, `refused after ${ms} ms`)
  const { port } = backEnd
  await backEnd.close()
  t.match(await refusal(wsUrl), { status: 503, body: /FANFARE_CALLBACK_FAILED/ })
  backEnd.answers = { connect: () => ({ result: { user: 'ada' } }) }
  await backEnd.listen(port)
  await connect(t, wsUrl)
})

t.test('who has a token is not asked about, who has none is, also beside ALLOW_ANONYMOUS', async (t) => {
  const backEnd = await startBackEnd(t, { connect: () => ({ result: { user: 'bob' } }) })
  const { app, url, wsUrl } = await startWith(t, backEnd, { tokenHmacSecret: TOKEN_SECRET, allowAnonymous: true })
  await connect(t, wsUrl, { headers: { authorization: `Bearer ${await token({ sub: 'ada' })}` } })
  t.equal(backEnd.asked.length, 0)
  await connect(t, wsUrl)
  t.equal(backEnd.asked.length, 1)
  t.same((await app.connections.presence('broadcast')).map(({ user }) => user).sort(), ['ada', 'bob'])
  t.match(await refusal(wsUrl, { headers: { authorization: 'Bearer no.such.token' } }), { status: 401 }, 'a bad token is refused all the same')
  t.equal((await fetch(`${url}/presence`)).status, 403, 'who only asks something is anonymous')
  t.equal(backEnd.asked.length, 1)
})

t.test('callbacks are signed, as any library of Standard Webhooks can verify', async (t) => {
  const backEnd = await startBackEnd(t, { connect: () => ({ result: { user: 'ada' } }) })
  const { wsUrl } = await startWith(t, backEnd, { callbackSecret: SECRET })
  await connect(t, wsUrl)
  await connect(t, wsUrl)
  const webhook = new Webhook(SECRET)
  for (const { text, headers } of backEnd.asked) t.ok(webhook.verify(text, headers as Record<string, string>))
  const [{ text, headers }] = backEnd.asked as [typeof backEnd.asked[0]]
  t.throws(() => webhook.verify(`${text} `, headers as Record<string, string>))
  t.equal(new Set(backEnd.asked.map(({ headers }) => headers['webhook-id'])).size, 2)
})
