import t from 'tap'
import { build, connect, listen, refusal } from '../helper.ts'
import { answerOf, SECRET, startSecure, tokenOf } from '../tokens.ts'

t.test('a cookie counts only with an Origin that may connect, or on a request of our own site', async (t) => {
  const { url, wsUrl } = await startSecure(t, { allowedOrigins: ['https://app.example'] })
  const cookie = `theme=dark; fanfare_token=${await tokenOf({ sub: 'ada' })}`
  await connect(t, wsUrl, { headers: { cookie, origin: 'https://app.example' } })
  t.match(await refusal(wsUrl, { headers: { cookie, origin: 'https://evil.example' } }), { status: 403 })
  t.match(await refusal(wsUrl, { headers: { cookie } }), { status: 403, body: /FANFARE_COOKIE_WITHOUT_ORIGIN/ })
  await connect(t, wsUrl.replace('/ws', '/connection/websocket'), { headers: { cookie } })
  const guests = await startSecure(t, { allowAnonymous: true, channels: [{ match: '*', allow: { subscribe: 'everyone' } }] })
  t.equal((await refusal(guests.wsUrl, { headers: { cookie } })).status, 403, 'nor is it a guest')
  await connect(t, guests.wsUrl, { headers: { cookie: 'theme=dark' } })
  for (const path of ['/presence', '/position', '/sse']) {
    t.equal((await answerOf(url + path, { cookie, origin: 'https://app.example' })).status, 200, path)
    t.equal((await answerOf(url + path, { cookie, 'sec-fetch-site': 'same-origin' })).status, 200, `${path}, of our own site`)
    t.equal((await answerOf(url + path, { cookie })).status, 401, `${path}, of nobody knows where`)
    for (const site of ['same-site', 'cross-site', 'none']) t.equal((await answerOf(url + path, { cookie, 'sec-fetch-site': site })).status, 401, `${path}, ${site}`)
  }
})

t.test('a cookie beside a hostile Origin counted on routes that open no connection', async (t) => {
  const app = await build(t, { tokenHmacSecret: SECRET })
  const done: (string | undefined)[] = []
  app.post('/orders', { preValidation: (...args) => app.identify(...args) }, async ({ peer }) => {
    done.push(peer?.user)
    return { user: peer?.user ?? null }
  })
  const { url } = await listen(app)
  const cookie = `fanfare_token=${await tokenOf({ sub: 'ada' })}`
  for (const origin of ['https://evil.example', 'null', `https://${new URL(url).host}`]) {
    t.equal((await answerOf(`${url}/presence`, { cookie, origin })).status, 401, origin)
    await fetch(`${url}/orders`, { method: 'POST', headers: { cookie, origin } })
  }
  t.strictSame(done, [undefined, undefined, undefined], 'nobody acted in her name (CSRF)')
  await fetch(`${url}/orders`, { method: 'POST', headers: { cookie, origin: url } })
  t.equal(done.at(-1), 'ada')
})

t.test('TOKEN_COOKIE names the cookie', async (t) => {
  const { url, wsUrl } = await startSecure(t, { tokenCookie: '__Host-session.v2' })
  const token = await tokenOf({ sub: 'ada' })
  await connect(t, wsUrl, { headers: { cookie: `__Host-session.v2=${token}`, origin: url } })
  t.equal((await refusal(wsUrl, { headers: { cookie: `fanfare_token=${token}`, origin: url } })).status, 401)
  t.equal((await refusal(wsUrl, { headers: { cookie: `__Host-session.v2=bad; __Host-session.v2=${token}`, origin: url } })).status, 401, 'of two the first counts')
})

t.test('another site cannot read what is answered to its page', async (t) => {
  const { url } = await startSecure(t, { allowedOrigins: ['https://app.example'] })
  const token = await tokenOf({ sub: 'ada' })
  for (const path of ['/presence', '/position', '/sse']) {
    const answer = await fetch(`${url}${path}?token=${token}`, { headers: { origin: 'https://evil.example' } })
    t.equal(answer.headers.get('access-control-allow-origin'), null, path)
    t.equal(answer.headers.get('access-control-allow-credentials'), null, path)
    await answer.body?.cancel()
  }
})
