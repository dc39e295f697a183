import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { RedisBroker } from '../../src/brokers/redis.ts'
import { parseRedisUrl } from '../../src/brokers/redis-url.ts'
import { connect, until } from '../helper.ts'
import { freePort, runToEnd, startProcess } from '../process.ts'
import { startRedis } from '../redis.ts'
import { Node } from './contract.ts'

const quiet = { info: () => {}, warn: () => {} }

async function nodeAt (t: Test, redisUrl: string, redisPrefix = 'fanfare'): Promise<Node> {
  return new Node(new RedisBroker({ redisUrl, redisPrefix, redisShardedPubsub: 'auto' }, quiet)).start(t)
}

/** What a Redis needs that is reached by TLS at a port. */
async function tls (t: Test): Promise<{ certificate: string, port: number, args: string[] }> {
  const dir = mkdtempSync(join(tmpdir(), 'fanfare-tls-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const [key, certificate] = [join(dir, 'key.pem'), join(dir, 'certificate.pem')]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'], { stdio: 'ignore' })
  const port = await freePort()
  return { certificate, port, args: ['--tls-port', String(port), '--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate, '--tls-auth-clients', 'no'] }
}

t.test('addresses of Redis', async (t) => {
  const single = { kind: 'single', tls: false, username: undefined, password: undefined, db: 0, master: undefined, sentinels: { username: undefined, password: undefined, tls: false } }
  t.same(parseRedisUrl('redis://localhost'), { ...single, hosts: [{ host: 'localhost', port: 6379 }] })
  t.same(parseRedisUrl('rediss://ada:p%40ss@h:1/3'), { ...single, tls: true, username: 'ada', password: 'p@ss', db: 3, hosts: [{ host: 'h', port: 1 }] })
  t.same(parseRedisUrl('redis://:secret@[::1]:7/'), { ...single, password: 'secret', hosts: [{ host: '::1', port: 7 }] })
  t.same(parseRedisUrl('redis+cluster://a,b:2'), { ...single, kind: 'cluster', hosts: [{ host: 'a', port: 6379 }, { host: 'b', port: 2 }] })
  t.same(parseRedisUrl('redis+sentinel://a,b:2/main/4'), { ...single, kind: 'sentinel', master: 'main', db: 4, hosts: [{ host: 'a', port: 26_379 }, { host: 'b', port: 2 }] })
  t.same(parseRedisUrl('redis+sentinel://a/main?sentinel_user=ada&sentinel_password=p%40+s=&sentinel_tls=on')?.sentinels, { username: 'ada', password: 'p@+s=', tls: true })
  for (const url of ['', 'http://h', 'redis://', 'redis://a,b', 'redis://h/x', 'redis://h/1/2', 'redis+cluster://a/1', 'redis+sentinel://a', 'redis://h:port', 'redis://h:99999', 'redis://:100%@h', 'localhost:6379',
    'redis://h?sentinel_password=x', 'redis+sentinel://a/main?password=x', 'redis+sentinel://a/main?sentinel_tls=yes', 'redis+sentinel://a/main?sentinel_password=%']) {
    t.equal(parseRedisUrl(url), undefined, url)
  }
})

t.test('a wrong address stops the start with one sentence that does not show its password', async (t) => {
  const { code, output } = await runToEnd(t, { REDIS_URL: 'redis://:hunter2@host:port' })
  t.equal(code, 1)
  t.match(output, /^REDIS_URL takes redis:\/\/host:6379\/0, .*, but got something else\n$/)
  t.notMatch(output, /hunter2/)
})

t.test('a password; a wrong one is told in the log and by readiness, and shown nowhere', async (t) => {
  const redis = await startRedis(t, ['--requirepass', 'open sesame'])
  const right = await nodeAt(t, `redis://:open%20sesame@127.0.0.1:${redis.port}`)
  t.equal((await right.publish('x', 'x')).offset, 1)
  const server = await startProcess(t, { REDIS_URL: `redis://:wrong-word@127.0.0.1:${redis.port}` }, undefined, undefined, 503)
  await until(async () => /WRONGPASS/.test(await (await fetch(`${server.url}/health/ready`)).text()))
  const ready = await fetch(`${server.url}/health/ready`)
  t.equal(ready.status, 503)
  t.match(await ready.json(), { status: 'unavailable', reason: /WRONGPASS/ })
  await until(() => server.output().includes('Redis is away: WRONGPASS'))
  t.notMatch(server.output(), /wrong-word/)
})

t.test('an ACL that lets nothing be heard, as new users of Redis 7 have it, is told by readiness; with what docs/scaling.md says it works', async (t) => {
  const redis = await startRedis(t)
  redis.cli('acl', 'setuser', 'fan', 'on', '>word', '~fanfare:*', '+@all')
  const server = await startProcess(t, { REDIS_URL: `redis://fan:word@127.0.0.1:${redis.port}` }, undefined, undefined, 503)
  await until(async () => /NOPERM/.test(await (await fetch(`${server.url}/health/ready`)).text()))
  await until(() => server.output().includes('Redis is away: NOPERM'))
  const [, needed = ''] = /ACL SETUSER fanfare on >\S+ (.*)`/.exec(readFileSync('docs/scaling.md', 'utf8')) ?? []
  t.match(needed, /&fanfare:/)
  redis.cli('acl', 'setuser', 'fan', 'reset', 'on', '>word', ...needed.split(' '))
  await until(async () => (await fetch(`${server.url}/health/ready`)).status === 200)
  const client = await connect(t, server.wsUrl)
  client.ws.send('allowed')
  t.same(await client.hears(1), ['allowed'])
})

t.test('a database that there is not is told by readiness; all went to database 0', async (t) => {
  const redis = await startRedis(t)
  const server = await startProcess(t, { REDIS_URL: `${redis.url}/99` }, undefined, undefined, 503)
  await until(async () => /DB index/.test(await (await fetch(`${server.url}/health/ready`)).text()))
  t.equal(redis.cli('dbsize'), '0')
})

t.test('databases and prefixes keep deployments apart, Pub/Sub too', async (t) => {
  const redis = await startRedis(t)
  const nodes = await Promise.all([
    nodeAt(t, `${redis.url}/0`), nodeAt(t, `${redis.url}/1`), nodeAt(t, redis.url, 'other')
  ])
  for (const { broker } of nodes) await broker.subscribe('x')
  for (const [index, node] of nodes.entries()) t.equal((await node.publish('x', `from ${index}`)).offset, 1)
  await until(() => nodes.every((node) => node.texts('x').length === 1))
  t.same(nodes.map((node) => node.texts('x')), [['from 0'], ['from 1'], ['from 2']])
  await nodes[0]?.broker.send('for my own')
  await until(() => nodes[0]?.control.length === 1)
  t.same(nodes.slice(1).map(({ control }) => control), [[], []])
})

t.test('TLS, with the certificate checked', async (t) => {
  const { certificate, port, args } = await tls(t)
  await startRedis(t, args)
  const REDIS_URL = `rediss://127.0.0.1:${port}`
  const { wsUrl } = await startProcess(t, { REDIS_URL, NODE_EXTRA_CA_CERTS: certificate })
  const client = await connect(t, wsUrl)
  client.ws.send('by TLS')
  t.same(await client.hears(1), ['by TLS'])
  const stranger = await startProcess(t, { REDIS_URL }, undefined, undefined, 503)
  await until(() => /Redis is away: .*self.signed/i.test(stranger.output()))
  t.equal((await fetch(`${stranger.url}/health/ready`)).status, 503)
})

t.test('sentinels that want a password, and TLS: they could not be reached', async (t) => {
  const { certificate, port, args } = await tls(t)
  const master = await startRedis(t)
  const sentinel = await startRedis(t, ['--sentinel', '--requirepass', 'open sesame', ...args])
  sentinel.cli('-a', 'open sesame', 'sentinel', 'monitor', 'main', '127.0.0.1', String(master.port), '1')
  for (const [at, more] of [[sentinel.port, ''], [port, '&sentinel_tls=on']]) {
    const REDIS_URL = `redis+sentinel://127.0.0.1:${at}/main?sentinel_password=open%20sesame${more}`
    const { wsUrl } = await startProcess(t, { REDIS_URL, NODE_EXTRA_CA_CERTS: certificate })
    const client = await connect(t, wsUrl)
    client.ws.send('found by a sentinel')
    t.same(await client.hears(1), ['found by a sentinel'])
  }
})
