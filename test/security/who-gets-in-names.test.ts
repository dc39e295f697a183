import t from 'tap'
import { connect, refusal, start, startReady, until } from '../helper.ts'
import { startRedis } from '../redis.ts'
import { apiOf, errorWith, KEY, post } from '../routes/api-client.ts'
import { answerOf, as, bearer, handmade, SECRET, startSecure } from '../tokens.ts'
import { rawAnswer } from './raw.ts'

t.test('path traversal: 0 files but those of the page', async (t) => {
  const { url } = await start(t)
  const { host } = new URL(url)
  const up = ['../', '..%2f', '%2e%2e/', '%2e%2e%2f', '..%5c', '..\\', '....//', '..;/', '%252e%252e%252f', '..%c0%af', '.%00./']
  const targets = ['package.json', 'src/server.ts', 'etc/passwd', '.env']
  const paths = up.flatMap((step) => targets.flatMap((target) => [`/${step}${target}`, `/${step.repeat(12)}${target}`, `/vendor/uplot/${step.repeat(3)}${target}`, `/vendor/uplot/${step.repeat(12)}${target}`]))
  paths.push('/package.json', '/.env', '/.git/config', '/src/server.ts', '//etc/passwd', '/vendor/uplot/../../package.json', '/index.html%00.js', '/vendor/', '/node_modules/ws/package.json', 'file:///etc/passwd', `http://${host}/../package.json`)
  let leaked = 0
  for (const path of paths) {
    const answer = await rawAnswer(url, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    if (!/^HTTP\/1.1 (4\d\d|30\d) /.test(answer) || /"dependencies"|root:x:|import fastify|\[core\]/.test(answer)) {
      leaked++
      t.fail(`${path}: ${answer.slice(0, 200)}`)
    }
  }
  t.comment(`${paths.length} paths that lead out of the page: ${leaked} answered with a file`)
  t.equal(leaked, 0)
  t.match(await rawAnswer(url, `GET /index.html HTTP/1.1\r\nHost: ${host}\r\n\r\n`), /^HTTP\/1.1 200 /)
})

t.test('prototype pollution: 0 objects changed, by query, headers, API, tokens and names', async (t) => {
  const { app, url, wsUrl } = await startSecure(t, { apiKey: KEY })
  const { headers } = await as('ada')
  const before = Object.getOwnPropertyNames(Object.prototype).length
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__']
  const api = apiOf(url)
  for (const name of names) {
    for (const query of [`${name}=x`, `${name}[polluted]=x`, `channel[${name}][polluted]=x`, `channel=${name}&${name}.polluted=x`]) {
      await answerOf(`${url}/presence?${query}`, headers)
      await refusal(`${wsUrl}?${query}`, { headers })
    }
    const client = await connect(t, `${wsUrl}?channel=${name}`, await as(name))
    client.ws.send(name)
    t.strictSame(await client.hears(1), [name], `a channel and a user of the name ${name} are like any other`)
    await until(async () => (await answerOf(`${url}/presence?channel=${name}`, headers)).json.clients === 1)
    const channels = Object.entries((await api('channels', { pattern: name })).channels as object)
    t.strictSame(channels, [[name, { num_clients: 1 }]])
    const closed = client.closed()
    await api('disconnect', { user: name })
    t.equal((await closed).code, 3503)
    await answerOf(`${url}/presence`, { cookie: `${name}=x; fanfare_token=${name}`, origin: url })
    t.match(await api(name), errorWith(104), 'no method')
  }
  const bodies = ['{"channel":"a","data":1,"__proto__":{"polluted":1}}', '{"channel":"a","data":{"__proto__":{"polluted":1}}}', '{"channel":"a","data":1,"constructor":{"prototype":{"polluted":1}}}', '{"__proto__":{"channel":"a","data":1}}']
  for (const body of bodies) t.match((await post(`${url}/api/publish`, body)).status, 400, body)
  const claims = '{"sub":"ada","__proto__":{"polluted":1,"sub":"root"},"subs":{"__proto__":{"info":{"polluted":1}}}}'
  t.equal((await refusal(wsUrl, bearer(handmade({ alg: 'HS256' }, claims)))).status, 401)
  t.equal((await refusal(wsUrl, bearer(handmade({ alg: 'HS256' }, { sub: 'ada', channels: ['__proto__'], subs: { constructor: {} } })))).status, 101)
  const changed = [({} as { polluted?: unknown }).polluted, Object.getOwnPropertyNames(Object.prototype).length - before].filter(Boolean).length
  t.comment(`${names.length} names and ${bodies.length} bodies: ${changed} objects changed`)
  t.equal(changed, 0)
  await until(() => app.connections.count === 0)
})

t.test('a channel name meant to reach another Redis key: 0 keys of others read or changed', async (t) => {
  const redis = await startRedis(t)
  const { app, wsUrl } = await startReady(t, { redisUrl: redis.url, tokenHmacSecret: SECRET })
  const victim = await connect(t, `${wsUrl}?channel=victim`, await as('ada'))
  await app.connections.publish('victim', 'secret', { idempotencyKey: 'k' })
  await victim.hears(1)
  await until(async () => (await app.connections.presence('victim')).length === 1)
  const keysOf = (): string[] => redis.cli('keys', '*').split('\n').sort()
  const own = keysOf().filter((key) => key.includes('victim'))
  const dump = (): string[] => own.filter((key) => !/members|facts/.test(key)).map((key) => redis.cli('dump', key))
  const before = dump()
  t.ok(own.length >= 4, own.join(' '))
  const names = [
    'victim}:stream', 'victim}:meta', 'victim}:key:k', '{victim}', '}{victim}', 'x}:{victim', 'fanfare:{victim}', 'fanfare:{victim}:stream', 'fanfare:0:{victim}', 'fanfare:0:control', 'victim%7D:stream', '%7Dvictim', 'victim ', 'Victim', 'victim*', 'vict?m', '[v]ictim', 'victim\\', '../victim', 'victim:stream', 'victim,victim', 'victim"', "victim'; FLUSHALL; '"
  ]
  const others = await Promise.all(names.map(async (name) => connect(t, `${wsUrl}?channel=${encodeURIComponent(name)}`, await as('mallory'))))
  let reached = 0
  for (const [index, name] of names.entries()) {
    const { publications } = await app.connections.history(name)
    if (publications.length > 0) reached++
    const { offset } = await app.connections.publish(name, name, { idempotencyKey: 'k' })
    if (offset !== 1) reached++
    t.strictSame(await others[index]!.hears(1), [name])
    if (index % 2 === 0) await app.connections.removeHistory(name)
  }
  // Written past the channel, as somebody could who found out how names are made.
  await app.connections.publish('victim', 'last')
  t.strictSame(await victim.hears(2), ['secret', 'last'], 'it heard nobody else')
  for (const [index, other] of others.entries()) if (other.heard.length !== 1) t.fail(`${names[index]} heard ${other.texts.join()}`)
  t.strictSame((await app.connections.history('victim')).publications.map(({ data }) => String(data)), ['secret', 'last'])
  t.equal((await app.connections.presence('victim')).length, 1)
  const now = keysOf()
  const prefix = /^fanfare:\{[^{}]*(\{[^}]*)?\}:(meta|stream|members|facts|key:k)$/
  t.strictSame(now.filter((key) => !prefix.test(key.replaceAll('%7D', '').replaceAll('%25', ''))), [], 'every key belongs to one channel')
  t.equal(new Set(now).size, now.length)
  t.equal(before.length, dump().length)
  t.comment(`${names.length} names meant to reach another key: ${reached} reached one`)
  t.equal(reached, 0)
})

t.test('names that could forge lines or look like another are refused', async (t) => {
  const { url, wsUrl } = await start(t)
  const names = ['a\nb', 'a\u0000b', 'a\u001b[31m', 'a\u0085b', 'a\u2028b', 'a\u202eb', 'a\u200bb', '\ufeffa', 'x'.repeat(256), 'é'.repeat(128)]
  for (const name of names) {
    const query = `channel=${encodeURIComponent(name)}`
    t.equal((await refusal(`${wsUrl}?${query}`)).status, 400, query)
    for (const path of ['/sse', '/presence', '/position']) t.equal((await answerOf(`${url}${path}?${query}`)).status, 400, `${path} ${query}`)
  }
})
