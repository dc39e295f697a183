import t from 'tap'
import { connect, refusal, until } from '../helper.ts'
import { listenTo } from '../sse-client.ts'
import { dial, UPGRADE } from '../security/raw.ts'
import { ANOTHER_SECRET, as, bearer, startSecure, tokenOf } from '../tokens.ts'

const MANY = 100

t.test('of many who come at once each is who its own token says, and who brings a bad one is refused alone', async (t) => {
  const { app, url, wsUrl } = await startSecure(t)
  const met = new Set<string>()
  app.connections.addHook('onConnect', ({ caller: { user }, channels }) => { met.add(`${user} in ${channels.join()}`) })
  const refusals = await Promise.all(Array.from({ length: MANY }, async (_, index) => {
    const wanted = `?channel=room${index}`
    const secret = index % 5 === 0 ? ANOTHER_SECRET : undefined
    const options = bearer(await tokenOf({ sub: `user${index}` }, secret))
    if (secret) return refusal(wsUrl + wanted, options)
    await (index % 5 === 1 ? listenTo(t, `${url}/sse${wanted}`, options) : connect(t, wsUrl + wanted, options))
  }))
  const refused = refusals.filter((refusal) => refusal !== undefined)
  t.equal(refused.length, MANY / 5)
  for (const { status, body } of refused) t.match({ status, body }, { status: 401, body: /FANFARE_TOKEN_INVALID.*its signature fits no key/ })
  const letIn = Array.from({ length: MANY }, (_, index) => index).filter((index) => index % 5 !== 0)
  t.strictSame(met, new Set(letIn.map((index) => `user${index} in room${index}`)))
  t.equal(app.connections.count, letIn.length)
})

t.test('who leaves while it waits to go on with others is not counted, and holds up nobody', async (t) => {
  const { app, url, wsUrl } = await startSecure(t)
  const { headers } = await as('ada')
  const upgrade = `GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${headers.authorization}\r\n${UPGRADE}\r\n`
  const staying = Array.from({ length: MANY }, async (_, index) => {
    const leaving = dial(url)
    leaving.write(upgrade, () => index % 2 === 0 ? leaving.resetAndDestroy() : leaving.end())
    return connect(t, wsUrl, { headers })
  })
  const clients = await Promise.all(staying)
  await until(() => app.connections.count === MANY)
  await app.connections.publish('broadcast', 'hello')
  for (const client of clients) t.strictSame(await client.hears(1), ['hello'])
})

t.test('a server that stops while many wait answers each of them', async (t) => {
  const { app, wsUrl } = await startSecure(t)
  const options = await as('ada')
  let answers = 0
  const all = Promise.all(Array.from({ length: MANY }, async () => {
    await refusal(wsUrl, options).catch(() => {})
    answers++
  }))
  await until(() => app.connections.count > 0 || answers > 0)
  await app.close()
  await all
  t.equal(answers, MANY)
  t.equal(app.connections.count, 0)
})
