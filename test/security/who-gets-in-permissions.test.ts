import t, { type Test } from 'tap'
import type { ChannelRule } from '../../src/channel-rules.ts'
import { connect, refusal, type Running } from '../helper.ts'
import { errorWith, KEY, post } from '../routes/api-client.ts'
import { greet, type Told } from '../protocols/centrifuge/client.ts'
import { listenTo } from '../sse-client.ts'
import { answerOf, as, bearer, startSecure } from '../tokens.ts'

// Who asks: bob with a token that names nothing, and somebody without a token. Each channel is closed to one of them or both.
const rules: ChannelRule[] = [
  ...(['authenticated', 'token', 'server', 'none'] as const).flatMap((who) => (['subscribe', 'publish', 'presence', 'history'] as const).map((action): ChannelRule =>
    ({ match: `${who}:${action}`, allow: { subscribe: 'everyone', publish: 'everyone', presence: 'everyone', history: 'everyone', [action]: who } }))),
  { match: 'open', allow: { subscribe: 'everyone', publish: 'everyone', presence: 'everyone', history: 'everyone' } }
]
const closedTo = {
  bob: ['token', 'server', 'none'],
  nobody: ['authenticated', 'token', 'server', 'none']
}

async function server (t: Test): Promise<Running & { attempts: (action: string) => { channel: string, who: string, headers: Record<string, string> }[] }> {
  const running = await startSecure(t, { apiKey: KEY, allowAnonymous: true, channels: rules })
  const { headers } = await as('bob')
  const attempts = (action: string) => Object.entries(closedTo).flatMap(([who, values]) =>
    values.map((value) => ({ channel: `${value}:${action}`, who, headers: who === 'bob' ? headers : {} as Record<string, string> })))
  return { ...running, attempts }
}

/** Names that bob may not hear, whatever the rules say. */
const bound = ['$private', '$', '$bob', 'inbox#ada', 'talk#ada,eve', 'talk#', '#ada', 'inbox#bobby', 'inbox#ada,bobby', 'inbox#bob#ada', 'inbox#BOB', 'inbox#bob ']

t.test('subscribe without permission: 0 succeed, over WebSocket and SSE', async (t) => {
  const { url, wsUrl, attempts } = await server(t)
  const bob = (await as('bob')).headers
  const all = [...attempts('subscribe'), ...bound.map((channel) => ({ channel, who: 'bob', headers: bob as Record<string, string> }))]
  let succeeded = 0
  for (const { channel, who, headers } of all) {
    const query = `?channel=${encodeURIComponent(channel)}`
    for (const answer of [await refusal(`${wsUrl}${query}`, { headers }), await refusal(`${wsUrl}?channel=open&channel=${encodeURIComponent(channel)}`, { headers }), await answerOf(`${url}/sse${query}`, headers)]) {
      if (answer.status < 400) succeeded++
      t.match({ status: answer.status, text: 'body' in answer ? answer.body : answer.text }, { status: 403, text: /FANFARE_FORBIDDEN/ }, `${who} ${channel}`)
    }
  }
  t.comment(`subscribe: ${all.length * 3} attempts without permission, ${succeeded} succeeded`)
  t.equal(succeeded, 0)
  for (const channel of ['open', 'authenticated:subscribe', 'inbox#bob', 'talk#ada,bob']) await connect(t, `${wsUrl}?channel=${encodeURIComponent(channel)}`, { headers: bob })
  await listenTo(t, `${url}/sse?channel=open`)
})

t.test('publish without permission: 0 succeed, each closed with 3507, and by the server API too where nobody may', async (t) => {
  const { app, url, wsUrl, attempts } = await server(t)
  let succeeded = 0
  for (const { channel, who, headers } of attempts('publish')) {
    const client = await connect(t, `${wsUrl}?channel=${channel}`, { headers })
    const closed = client.closed()
    for (const data of ['text', Buffer.from('binary')]) client.ws.send(data)
    const { code, reason } = await closed
    t.match({ code, reason }, { code: 3507, reason: /^You may not publish to channel / }, `${who} ${channel}`)
    // Positions count what was published, also where history is not for everyone.
    if (!channel.startsWith('none') && (await app.connections.history(channel)).publications.length > 0) succeeded++
    if (client.heard.length > 0) succeeded++
  }
  const open = await connect(t, `${wsUrl}?channel=open`)
  open.ws.send('may')
  t.strictSame(await open.hears(1), ['may'])
  t.match((await post(`${url}/api/publish`, JSON.stringify({ channel: 'none:publish', data: 1 }))).json, errorWith(103))
  t.match((await post(`${url}/api/broadcast`, JSON.stringify({ channels: ['none:publish', 'server:publish'], data: 1 }))).json, { result: { responses: [errorWith(103), { result: {} }] } })
  t.comment(`publish: ${attempts('publish').length * 2} messages without permission, ${succeeded} succeeded`)
  t.equal(succeeded, 0)
})

t.test('history without permission: 0 succeed, over WebSocket, SSE, /position, and by coming back', async (t) => {
  const { app, url, wsUrl, attempts } = await server(t)
  let succeeded = 0
  let count = 0
  for (const { channel, who, headers } of attempts('history')) {
    const { epoch, offset } = channel.startsWith('none') ? { epoch: 'abc', offset: 1 } : await app.connections.publish(channel, 'secret of the past')
    const position = `${epoch}:${offset - 1}`
    const answers = [
      await refusal(`${wsUrl}?channel=${channel}&history=10`, { headers }),
      await refusal(`${wsUrl}?channel=${channel}&since=${position}`, { headers }),
      await answerOf(`${url}/sse?channel=${channel}&history=10`, headers),
      await answerOf(`${url}/position?channel=${channel}`, headers)
    ]
    for (const { status } of answers) {
      count++
      if (status < 400) succeeded++
      t.equal(status, 403, `${who} ${channel}`)
    }
    if (channel.startsWith('none')) continue
    const back = await listenTo(t, `${url}/sse?channel=${channel}`, { headers, lastEventId: position })
    await app.connections.publish(channel, 'now')
    count++
    if ((await back.hears(1))[0] !== 'now') succeeded++
    t.strictSame(back.reports, [['unrecovered', { channel }]], `${who} ${channel}: what it missed is lost to it`)
  }
  await app.connections.publish('open', 'for all')
  t.strictSame(await (await connect(t, `${wsUrl}?channel=open&history=1`)).hears(1), ['for all'])
  t.equal((await answerOf(`${url}/position?channel=open`)).status, 200)
  for (const method of ['history', 'history_remove']) t.match((await post(`${url}/api/${method}`, '{"channel":"none:history"}')).json, errorWith(103))
  t.comment(`history: ${count} attempts without permission, ${succeeded} succeeded`)
  t.equal(succeeded, 0)
})

t.test('presence without permission: 0 succeed', async (t) => {
  const { url, wsUrl, attempts } = await server(t)
  const bob = (await as('bob')).headers
  await connect(t, `${wsUrl}?channel=open`, { headers: bob })
  const more = ['$private', 'inbox#ada'].map((channel) => ({ channel, who: 'bob', headers: bob as Record<string, string> }))
  const all = [...attempts('presence'), ...more]
  let succeeded = 0
  for (const { channel, who, headers } of all) {
    const { status, json } = await answerOf(`${url}/presence?channel=${encodeURIComponent(channel)}`, headers)
    if (status < 400) succeeded++
    t.match({ status, json }, { status: 403, json: { code: 'FANFARE_FORBIDDEN' } }, `${who} ${channel}`)
  }
  t.match((await answerOf(`${url}/presence?channel=open`)).json, { clients: 1, members: [{ user: 'bob' }] })
  for (const method of ['presence', 'presence_stats']) t.match((await post(`${url}/api/${method}`, '{"channel":"none:presence"}')).json, errorWith(103))
  t.comment(`presence: ${all.length} attempts without permission, ${succeeded} succeeded`)
  t.equal(succeeded, 0)
})

t.test('the server API without its key: 0 of 14 methods answer, a token of a user is no key', async (t) => {
  const { url, wsUrl } = await server(t)
  const { headers } = await as('ada', { admin: true })
  const client = await connect(t, wsUrl.replace('/ws', '/ws?channel=open'), { headers })
  const methods = ['publish', 'broadcast', 'history', 'history_remove', 'presence', 'presence_stats', 'channels', 'info', 'disconnect', 'refresh', 'subscribe', 'unsubscribe', 'rpc', 'batch']
  let succeeded = 0
  for (const method of methods) {
    for (const wrong of [{}, headers, bearer(KEY).headers, { 'x-api-key': `${KEY} ` + '1' }]) {
      const { status, text } = await post(`${url}/api/${method}`, JSON.stringify({ channel: 'open', user: 'ada', data: 'x' }), wrong as Record<string, string>)
      if (status !== 401) succeeded++
      t.match({ status, text }, { status: 401, text: '' }, method)
    }
  }
  t.comment(`server API: ${methods.length * 4} calls without the key, ${succeeded} succeeded`)
  t.equal(succeeded, 0)
  t.match((await post(`${url}/api/publish`, '{"channel":"open","data":"by the server"}')).json, { result: { offset: 1 } })
  t.strictSame(await client.hears(1), ['"by the server"'])
})

t.test('commands of the Centrifuge protocol without permission: 0 succeed, and the connection goes on', async (t) => {
  const { app, wsUrl, attempts } = await server(t)
  const bob = await greet(t, wsUrl, {}, await as('bob'))
  const clients = { bob, nobody: await greet(t, wsUrl) }
  const commandsOf = {
    subscribe: (channel: string) => [{ subscribe: { channel } }, { subscribe: { channel, recover: true, offset: 0 } }],
    publish: (channel: string) => [{ publish: { channel, data: 1 } }],
    presence: (channel: string) => [{ presence: { channel } }, { presence_stats: { channel } }],
    history: (channel: string) => [{ history: { channel, limit: 10 } }, { history: { channel } }]
  }
  let [count, succeeded] = [0, 0]
  const attempt = async (client: typeof bob, command: object): Promise<void> => {
    const { error } = await client.ask(command)
    count++
    if (!error) succeeded++
    t.match(error, { code: 103 }, JSON.stringify(command))
  }
  for (const [action, commands] of Object.entries(commandsOf)) {
    for (const { channel, who } of attempts(action)) for (const command of commands(channel)) await attempt(clients[who as keyof typeof clients], command)
    // Who is not in a channel is no subscriber, and who may not hear it sees nothing of it.
    for (const channel of bound) for (const command of commands(channel)) await attempt(bob, command)
  }
  for (const channel of ['token:publish', 'server:publish', 'authenticated:publish']) t.strictSame((await app.connections.history(channel)).publications, [])
  for (const channel of ['token:history', 'server:history']) {
    await app.connections.publish(channel, 'secret of the past')
    t.match(await bob.ask({ subscribe: { channel, recover: true, offset: 0 } }), { subscribe: { recovered: false, publications: undefined } as Told }, 'coming back is reading')
  }
  t.comment(`${count} commands without permission, ${succeeded} succeeded`)
  t.equal(succeeded, 0)
  t.match(await bob.ask({ subscribe: { channel: 'talk#ada,bob' } }), { subscribe: {} })
})
