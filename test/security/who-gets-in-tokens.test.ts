import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JWTPayload } from 'jose'
import t, { type Test } from 'tap'
import { WebSocket, type ClientOptions } from 'ws'
import { connect, refusal, start } from '../helper.ts'
import { addressOf, Speaker } from '../protocols/centrifuge/client.ts'
import { Lines } from '../protocols/centrifuge/lines.ts'
import { answerOf, as, bearer, secondsFromNow, SECRET, startSecure, tokenOf } from '../tokens.ts'
import { AUDIENCE, badTokensFor, ISSUER } from './bad-tokens.ts'
import { rawAnswer, UPGRADE } from './raw.ts'

/** The ways in which a token travels to an address. */
function ways (wsUrl: string, token: string): [way: string, url: string, options: ClientOptions, protocols: string[]][] {
  return [
    ['header', wsUrl, bearer(token), []],
    ['subprotocol', wsUrl, {}, ['fanfare', `fanfare.token.${token}`]],
    ['cookie', wsUrl, { headers: { cookie: `other=1; fanfare_token=${token}`, origin: wsUrl.replace('ws', 'http').replace('/ws', '') } }, []],
    ['query', `${wsUrl}?token=${token}`, {}, []]
  ]
}

/** What a bad token in a connect command is answered with: an error, or a close code. */
const closesWith: Record<string, number> = { FANFARE_TOKEN_EXPIRED: 109, FANFARE_TOKEN_INVALID: 3500, FANFARE_TOKEN_MISSING: 3501 }

/** What a client is told that brings a token in its connect command. */
async function commandedWith (wsUrl: string, token: string): Promise<{ accepted: boolean, code?: number, says: string }> {
  const speaker = new Speaker(addressOf(wsUrl))
  await once(speaker.ws, 'open')
  const [id] = speaker.say({ connect: { token } }, { subscribe: { channel: 'a' } })
  try {
    const { connect, error } = await speaker.finds(({ told }) => told.find((reply) => reply.id === id))
    return connect ? { accepted: true, says: '' } : { accepted: speaker.told.length > 1, code: error.code, says: error.message }
  } catch (close) {
    const { code, reason } = close as { code: number, reason: string }
    return { accepted: speaker.told.length > 0, code, says: reason }
  } finally {
    speaker.ws.terminate()
  }
}

/** The same in the first command of a stream over HTTP. */
async function streamedWith (t: Test, url: string, token: string): Promise<{ accepted: boolean, code?: number, says: string }> {
  const stream = await Lines.open(t, url, [{ id: 1, connect: { token } }, { id: 2, subscribe: { channel: 'a' } }])
  const [first] = [await stream.finds(() => true)]
  stream.leave()
  const { code, message, reason } = first.error ?? first.push?.disconnect ?? {}
  return { accepted: Boolean(first.connect), code, says: message ?? reason ?? '' }
}

t.test('about 40 bad tokens, each in 6 ways and to 3 more routes: 0 accepted, always 401 with a code and a sentence that tells no secret, or closed before anything is heard', async (t) => {
  let thefts = 0
  const thief = createServer((_request, response) => {
    thefts++
    response.end('{"keys":[]}')
  }).listen(0, '127.0.0.1')
  await once(thief, 'listening')
  t.teardown(() => thief.close())
  const { settings, good, bad } = await badTokensFor(`http://127.0.0.1:${(thief.address() as AddressInfo).port}/jwks`)
  const { url, wsUrl } = await start(t, settings)
  for (const token of good) {
    for (const [way, ...request] of ways(wsUrl, token)) t.match(await refusal(...request), { status: 101 }, `a good one as ${way}`)
    t.match(await commandedWith(wsUrl, token), { accepted: true }, 'a good one in a connect command')
    t.match(await streamedWith(t, url, token), { accepted: true }, 'a good one in a connect command over HTTP')
  }
  let accepted = 0
  let told = 0
  let requests = 0
  for (const [kind, { token, code = 'FANFARE_TOKEN_INVALID', says }] of Object.entries(bad)) {
    const answers: [way: string, status: number, body: string][] = []
    for (const [way, ...request] of ways(wsUrl, token)) {
      const { status, body } = await refusal(...request)
      answers.push([way, status, body])
    }
    for (const path of ['/sse', '/presence', '/position']) {
      const { status, text } = await answerOf(`${url}${path}`, bearer(token).headers)
      answers.push([path, status, text])
    }
    const secrets = [SECRET, ISSUER, AUDIENCE, settings.tokenPublicKey, ...token.split('.').filter((part) => part.length > 3), token.length > 3 ? token : '', 'root', 'stolen'].filter(Boolean)
    for (const commanded of [await commandedWith(wsUrl, token), await streamedWith(t, url, token)]) {
      requests++
      if (commanded.accepted) accepted++
      if (secrets.some((secret) => commanded.says.includes(secret))) told++
      if (commanded.code !== closesWith[code] || !(token === '' || says.test(commanded.says))) t.fail(`${kind}, connect command: ${commanded.code} ${commanded.says}`)
    }
    for (const [way, status, body] of answers) {
      requests++
      if (status < 400) accepted++
      if (secrets.some((secret) => body.includes(secret))) told++
      const { code: got, message } = JSON.parse(body || '{}') as { code?: string, message?: string }
      if (status !== 401 || got !== code || !says.test(message ?? '')) t.fail(`${kind}, ${way}: ${status} ${body}`)
    }
  }
  t.comment(`${Object.keys(bad).length} bad tokens in ${requests} requests (6 ways, 6 routes): ${accepted} accepted, ${told} answers told a secret, ${thefts} fetches of keys that a token named`)
  t.strictSame([accepted, told, thefts], [0, 0, 0])
})

t.test('a token of 100 KiB: 0 accepted, whichever way it comes', async (t) => {
  const { url, wsUrl } = await startSecure(t)
  const token = await tokenOf({ sub: 'ada', info: 'x'.repeat(75_000) })
  const { host } = new URL(url)
  const statuses = [await rawAnswer(url, `GET /ws?token=${token} HTTP/1.1\r\nHost: ${host}\r\n${UPGRADE}\r\n`)]
  for (const header of [`Authorization: Bearer ${token}`, `Sec-WebSocket-Protocol: fanfare.token.${token}`, `Origin: ${url}\r\nCookie: fanfare_token=${token}`]) {
    statuses.push(await rawAnswer(url, `GET /ws HTTP/1.1\r\nHost: ${host}\r\n${header}\r\n${UPGRADE}\r\n`))
  }
  for (const answer of statuses) t.match(answer, /^(HTTP\/1.1 431 |$)/, 'the HTTP parser refuses it before it is a token')
  t.comment(`a token of ${Math.round(token.length / 1024)} KiB in 4 ways: 0 accepted, ${statuses.filter((answer) => answer.includes('431')).length} times 431`)
  await connect(t, wsUrl, await as('ada'))
})

t.test('clocks may differ by 5 s, and by no more', async (t) => {
  const { wsUrl } = await startSecure(t)
  const statusOf = async (claims: JWTPayload): Promise<number> => (await refusal(wsUrl, await as('ada', claims))).status
  t.equal(await statusOf({ exp: secondsFromNow(-2) }), 101)
  t.equal(await statusOf({ exp: secondsFromNow(-8) }), 401)
  t.equal(await statusOf({ nbf: secondsFromNow(3) }), 101)
  t.equal(await statusOf({ nbf: secondsFromNow(9) }), 401)
})

t.test('a token is never echoed as subprotocol', async (t) => {
  const token = await tokenOf({ sub: 'ada' })
  for (const { wsUrl } of [await startSecure(t), await start(t)]) {
    const offers: [offered: string[], chosen: string][] = [
      [['fanfare', `fanfare.token.${token}`], 'fanfare'],
      [[`fanfare.token.${token}`, 'fanfare'], 'fanfare'],
      [[`fanfare.token.${token}`, 'chat'], 'chat']
    ]
    for (const [offered, chosen] of offers) {
      const ws = new WebSocket(wsUrl, offered)
      t.teardown(() => ws.terminate())
      await once(ws, 'open')
      t.equal(ws.protocol, chosen)
    }
    const { host } = new URL(wsUrl)
    const answer = await rawAnswer(wsUrl.replace('ws:', 'http:'), `GET /ws HTTP/1.1\r\nHost: ${host}\r\nSec-WebSocket-Protocol: fanfare.token.${token}\r\n${UPGRADE}\r\n`)
    t.match(answer, /^HTTP\/1.1 101 /)
    t.notMatch(answer, /sec-websocket-protocol/i, 'alone, it is no protocol to speak')
    t.notOk(answer.includes(token))
  }
})

t.test('the first way that brings a token counts: header, subprotocol, cookie, query', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const users: string[] = []
  app.connections.addHook('onConnect', ({ caller }) => { users.push(caller.user) })
  const [header, protocol, cookie, query] = await Promise.all(['header', 'protocol', 'cookie', 'query'].map((sub) => tokenOf({ sub })))
  const headers: Record<string, string> = { origin: wsUrl.replace('ws', 'http').replace('/ws', ''), cookie: `fanfare_token=${cookie}` }
  const protocols = ['fanfare', `fanfare.token.${protocol}`]
  const url = `${wsUrl}?token=${query}`
  await refusal(url, { headers: { ...headers, authorization: `Bearer ${header}` } }, protocols)
  await refusal(url, { headers }, protocols)
  await refusal(url, { headers })
  await refusal(url)
  t.strictSame(users, ['header', 'protocol', 'cookie', 'query'])
  t.match(await refusal(url, { headers: { ...headers, authorization: 'Bearer bad' } }, protocols), { status: 401 }, 'a bad one is not made good by another')
})
