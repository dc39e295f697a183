import t, { type Test } from 'tap'
import { connect, refusal, until } from '../helper.ts'
import { runToEnd, startProcess, type ServerProcess } from '../process.ts'
import { KEY, post } from '../routes/api-client.ts'
import { greet } from '../protocols/centrifuge/client.ts'
import { emulate, Lines } from '../protocols/centrifuge/lines.ts'
import { listenTo } from '../sse-client.ts'
import { answerOf, as, bearer, encoded, SECRET, secondsFromNow, tokenOf } from '../tokens.ts'
import { rawAnswer, UPGRADE } from './raw.ts'

const SECRETS = { API_KEY: KEY, TOKEN_HMAC_SECRET: SECRET, TOKEN_HMAC_PREVIOUS_SECRET: 'the previous secret, which is not to be seen either' }

/** A real server at trace. */
async function talkative (t: Test): Promise<ServerProcess> {
  return startProcess(t, { ...SECRETS, LOG_LEVEL: 'trace', PING_INTERVAL: '1', MAX_CONNECTIONS_PER_IP: '20', CONNECT_RATE: '1000' })
}

/** What stands in a token and what logs could make of it. */
function formsOf (secret: string): string[] {
  const parts = secret.split('.')
  const bytes = Buffer.from(parts.at(-1)!)
  return [...parts, encodeURIComponent(secret), bytes.join(','), bytes.toString('hex'), bytes.toString('base64').slice(0, -4)].filter((form) => form.length > 12)
}

t.test('tokens in URL, header, cookie or subprotocol: 0 in all that the server prints at trace, and in all that it answers', async (t) => {
  const server = await talkative(t)
  const { url, wsUrl } = server
  const { host } = new URL(url)
  const tokens: string[] = []
  const make = async (claims: object, secret?: string): Promise<string> => {
    const token = await tokenOf({ jti: crypto.randomUUID(), ...claims }, secret)
    tokens.push(token)
    return token
  }
  const good = await make({ sub: 'ada' })
  const bad = [await make({ sub: 'ada' }, 'a wrong secret that is long enough'), await make({ sub: 'ada', exp: secondsFromNow(-60) }), await make({ sub: 1 as unknown as string }), `${encoded('{"alg":"none"}')}.${encoded('{"sub":"root of all"}')}.`, `${good}x`]
  tokens.push(...bad)
  const subscription = await make({ sub: 'ada', channel: '$room' })
  const answers: string[] = []
  const paths = ['/ws', '/ws/', '/nowhere', '/nowhere/deep?x=1', '/sse', '/presence', '/position', '/api/info', '/', '/index.html', '/health/live', '/%00', '//evil', '/ws%2f..', '/sse?history=-1', '/sse?channel=%01', '/ws?since=nonsense', '/ws?channel=$no']
  for (const token of [good, bad[0]!, bad[3]!]) {
    const origin = `http://${host}`
    for (const path of paths) {
      const query = `${path}${path.includes('?') ? '&' : '?'}token=${token}&subscriptionToken=${token}`
      for (const [target, headers] of [[query, {}], [path, { authorization: `Bearer ${token}` }], [path, { cookie: `fanfare_token=${token}`, origin }], [path, { authorization: `Bearer ${token} ${token}` }]] as [string, Record<string, string>][]) {
        answers.push((await answerOf(url + target, headers)).text)
        const raw = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
        answers.push(await rawAnswer(url, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${raw}${UPGRADE}\r\n`))
      }
      answers.push(await rawAnswer(url, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nSec-WebSocket-Protocol: fanfare, fanfare.token.${token}\r\n${UPGRADE}\r\n`))
      answers.push((await post(`${url}${query}`, JSON.stringify({ token }), { 'x-api-key': token, 'content-type': 'application/json' })).text)
    }
    for (const method of ['OPTIONS', 'PUT', 'DELETE', 'HEAD', 'TRACE']) answers.push(await rawAnswer(url, `${method} /ws?token=${token} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n\r\n`))
  }
  for (const token of bad) answers.push((await refusal(wsUrl, bearer(token))).body, (await answerOf(`${url}/sse?token=${token}`)).text)
  // Connections that live, publish, fall behind with what they may, and are closed by either side.
  const client = await connect(t, `${wsUrl}?token=${good}&channel=$room&subscriptionToken=${subscription}`)
  const stream = await listenTo(t, `${url}/sse?token=${good}`)
  client.ws.send('hello')
  answers.push(...await client.hears(1))
  for (const [method, params] of [['presence', { channel: '$room' }], ['info', {}], ['channels', {}], ['refresh', { user: 'ada', expire_at: secondsFromNow(60) }], ['nothing', { token: good }]] as const) {
    answers.push((await post(`${url}/api/${method}`, JSON.stringify(params))).text)
  }
  const commanding = await greet(t, wsUrl, { token: good })
  for (const token of [...bad, good]) answers.push(JSON.stringify(await commanding.ask({ subscribe: { channel: '$room', token } }).catch((close: Error) => close.message)))
  for (const command of [{ refresh: { token: good } }, { sub_refresh: { channel: '$room', token: subscription } }, { subscribe: { channel: '$room', token: subscription } }]) {
    const another = await greet(t, wsUrl, { token: good })
    answers.push(JSON.stringify([another.greeting, await another.ask(command)]))
  }
  for (const token of [good, ...bad]) {
    const connect = { id: 1, connect: { token } }
    const commands = encodeURIComponent(JSON.stringify(connect))
    for (const query of [`cf_connect=${commands}`, `cf_connect=${commands}&cf_connect=${commands}`]) answers.push((await answerOf(`${url}/connection/sse?${query}`)).text)
    const lines = await Lines.open(t, url, [connect])
    answers.push(JSON.stringify(await lines.finds(() => true)))
    lines.leave()
    for (const body of [{ session: token, node: token, data: token }, { session: token, node: 1, data: token }, token]) answers.push(await (await emulate(url, body)).text())
  }
  for (const token of bad) answers.push(JSON.stringify(await greet(t, wsUrl, { token }).then(({ greeting }) => greeting, (close: Error) => close.message)))
  const closed = client.closed()
  await post(`${url}/api/disconnect`, '{"user":"ada"}')
  await closed
  await stream.ended
  // The last line of the log has been printed when the server has ended.
  server.child.kill('SIGTERM')
  await server.exit
  const printed = server.output()
  t.match(printed, /"msg":"connection opened"/)
  t.match(printed, /"code":"FANFARE_TOKEN_INVALID"/)
  t.match(printed, /"level":20,/, 'it is as talkative as can be')
  let inLogs = 0
  let inAnswers = 0
  for (const form of [...tokens, ...Object.values(SECRETS)].flatMap(formsOf)) {
    if (printed.includes(form)) inLogs++
    if (answers.some((answer) => answer.includes(form))) inAnswers++
  }
  t.comment(`${tokens.length} tokens in ${answers.length} requests: ${inLogs} of their parts in ${Math.round(printed.length / 1024)} KiB of logs, ${inAnswers} in the answers`)
  t.strictSame([inLogs, inAnswers], [0, 0])
})

t.test('the answer to a URL that cannot be decoded repeated it, with its token', async (t) => {
  const { url } = await talkative(t)
  const token = await tokenOf({ sub: 'ada' })
  for (const path of ['/%zz', '/ws%']) {
    const { status, text } = await answerOf(`${url}${path}?token=${token}`)
    t.equal(status, 400)
    t.notOk(text.includes(token), text)
  }
})

t.test('a request that is no HTTP was printed byte by byte at trace, with its token', async (t) => {
  const server = await talkative(t)
  const { url } = server
  const token = await tokenOf({ sub: 'ada' })
  for (const request of [
    `GET /ws?token=${token} HTTP/9.9\r\nHost: x\r\n\r\n`,
    `BREW /ws?token=${token} HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nbad header\r\n\r\n`,
    `GET /ws?token=${token}${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`
  ]) t.match(await rawAnswer(url, request), /^HTTP\/1.1 4\d\d /)
  server.child.kill('SIGTERM')
  await server.exit
  t.match(server.output(), '"msg":"client error"')
  const found = formsOf(token).filter((form) => server.output().includes(form))
  t.strictSame(found, [])
})

t.test('settings with secrets that are wrong stop the start without telling them', async (t) => {
  const wrong: Record<string, string> = { TOKEN_PUBLIC_KEY: '-----BEGIN PUBLIC KEY-----\\nsecret stuff\\n-----END PUBLIC KEY-----', REDIS_URL: 'rediss//:secret stuff@host' }
  for (const [name, value] of Object.entries(wrong)) {
    const { code, output } = await runToEnd(t, { [name]: value })
    t.equal(code, 1)
    t.match(output, name)
    t.notMatch(output, 'secret stuff')
  }
})

t.test('log injection: 0 forged lines', async (t) => {
  const server = await talkative(t)
  const { url, wsUrl } = server
  const { host } = new URL(url)
  const forged = '{"level":60,"msg":"forged"}'
  const injections = ['\n', '\r\n', '\u2028', '\u0085', '\u001b[2K\r', '"}\n', '\\n'].map((end) => `x${end}${forged}`)
  let requests = 0
  for (const text of injections) {
    const inUrl = encodeURIComponent(text)
    for (const path of [`/ws?channel=${inUrl}`, `/sse?channel=${inUrl}`, `/${inUrl}`, `/presence?channel=${inUrl}`, `/ws?token=${inUrl}`]) {
      requests += 2
      await answerOf(url + path, (await as(`ada${text}`)).headers)
      await rawAnswer(url, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${await tokenOf({ sub: `eve${text}` })}\r\n${UPGRADE}\r\n`)
    }
    // Bytes as they are, which clients with a library cannot send.
    for (const header of ['Origin', 'User-Agent', 'X-Forwarded-For', 'Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions', 'Last-Event-ID', 'Host']) {
      requests++
      await rawAnswer(url, `GET /ws HTTP/1.1\r\nHost: ${host}\r\n${header}: ${text.replaceAll('\n', '\u000b')}\r\n${UPGRADE}\r\n`)
    }
    const client = await connect(t, wsUrl, await as(`mallory${text}`))
    const closed = client.closed()
    client.ws.send(text)
    await client.hears(1)
    await post(`${url}/api/disconnect`, JSON.stringify({ user: `mallory${text}`, disconnect: { code: 4000, reason: text.slice(0, 60) } }))
    await closed
    client.ws.terminate()
  }
  await until(async () => ((await answerOf(`${url}/health/ready`)).json.connections) === 0)
  server.child.kill('SIGTERM')
  await server.exit
  const lines = server.output().trimEnd().split('\n')
  const broken = lines.filter((line) => !/^\{"level":(10|20|30|40),"time":\d+,.*\}$/s.test(line) || (JSON.parse(line) as { msg: string }).msg === 'forged')
  t.comment(`${requests} requests with forged lines: ${broken.length} forged or broken lines of ${lines.length}`)
  for (const line of broken) t.fail(encodeURI(line))
  t.ok(lines.length > 100)
})
