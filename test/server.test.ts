import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { connect, refusal, until } from './helper.ts'
import { freePort, runToEnd, startCovered, startProcess } from './process.ts'

t.test('says at the start where the page is, who may connect, and which broker it uses', async (t) => {
  const { output, url } = await startCovered(t)
  await until(() => output().includes('The page'))
  const sentences = output().trim().split('\n').map((line) => JSON.parse(line).msg)
  t.same(sentences, [
    'The broker is memory: messages reach the clients of this process',
    `Fanfare listens on ${url}`,
    `Open mode: everyone who can reach ${url} may read and write every channel`,
    `The page is at ${url}/, WebSockets connect to ${url.replace('http', 'ws')}/ws`
  ])
})

t.test('logs opening and closing with facts, messages with sizes only at debug, contents never', async (t) => {
  const { output, wsUrl, url } = await startProcess(t, { LOG_LEVEL: 'debug' })
  const client = await connect(t, `${wsUrl}?channel=red`)
  client.ws.send('the secret content')
  await client.hears(1)
  client.ws.close(1000)
  await until(() => output().includes('connection closed'))
  await refusal(`${wsUrl}?channel=&token=topsecret`)
  await fetch(`${url}/unknown?token=topsecret`)
  await until(() => output().includes('"status":404'))
  const lines = output().trim().split('\n').map((line) => JSON.parse(line))
  const opened = lines.find(({ msg }) => msg === 'connection opened')
  t.match(opened, { level: 30, address: '127.0.0.1', channels: ['red'], connections: 1 })
  t.match(lines.find(({ msg }) => msg === 'message'), { level: 20, connection: opened.connection, channel: 'red', bytes: 18 })
  t.match(lines.find(({ msg }) => msg === 'connection closed'), { level: 30, connection: opened.connection, code: 1000, seconds: Number, connections: 0 })
  t.notMatch(output(), /secret content|topsecret/)
})

t.test('log lines that nobody reads are left out, and counted: they filled the memory', async (t) => {
  const { child, output, wsUrl } = await startProcess(t, { LOG_LEVEL: 'debug' })
  const { ws } = await connect(t, `${wsUrl}?echo=false`)
  child.stdout?.pause()
  for (let count = 0; count < 120_000; count++) ws.send('x')
  const residentMiB = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024
  const before = residentMiB()
  const pong = once(ws, 'pong')
  ws.ping()
  await pong
  t.ok(residentMiB() - before < 100, `${Math.round(residentMiB() - before)} MiB more`)
  child.stdout?.resume()
  await until(() => output().includes('Log lines are missing here'))
  const { lines } = JSON.parse(output().split('\n').find((line) => line.includes('are missing here')) as string) as { lines: number }
  t.ok(lines > 1000, `${lines} lines are missing`)
})

t.test('bad settings end the start with one sentence each and exit code 1', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const takenPort = String((taken.address() as AddressInfo).port)
  const cases: [NodeJS.ProcessEnv, string][] = [
    [{ PORT: 'abc' }, 'PORT takes a whole number from 0 to 65535, but got "abc"'],
    [{ PORT: '70000' }, 'PORT takes a whole number from 0 to 65535, but got "70000"'],
    [{ PING_INTERVAL: '-1' }, 'PING_INTERVAL takes a number of seconds above 0 and at most 86400, but got "-1"'],
    [{ COMPRESSION: 'perhaps' }, 'COMPRESSION takes on or off, but got "perhaps"'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL takes fatal, error, warn, info, debug, trace or silent, but got "loud"'],
    [{ MAX_MESSAGE_BYTES: '0' }, 'MAX_MESSAGE_BYTES takes a whole number of bytes, 1 or more, but got "0"'],
    [{ TRUST_PROXY: 'my-proxy' }, 'TRUST_PROXY takes a comma-separated list of addresses or CIDRs such as 10.0.0.0/8, but got "my-proxy"'],
    ...['example.com', 'https://example.com/', '*.example.org', 'https://*.*.*.*.example.org', 'https://(a+)+.example.org'].map((origin): [NodeJS.ProcessEnv, string] => [{ ALLOWED_ORIGINS: origin }, `ALLOWED_ORIGINS takes a comma-separated list such as https://example.com,https://*.example.org, but got "${origin}"`]),
    [{ CALLBACK_URL: 'https://fanfare:secret@back.example/x' }, 'CALLBACK_URL takes a URL that begins with http:// or https://, without user, ? and #, but got something else'],
    [{ TOKEN_JWKS_URL: 'https://fanfare:secret@issuer.example/jwks' }, 'TOKEN_JWKS_URL takes a URL that begins with http:// or https://, without user, but got something else'],
    [{ ROUTES_DIR: '/no/such/folder' }, 'ROUTES_DIR takes the path of a folder, but got "/no/such/folder"'],
    [{ HOST: '203.0.113.1' }, 'HOST is no address of this machine: listen EADDRNOTAVAIL: address not available 203.0.113.1'],
    [{ PORT: takenPort }, `PORT ${takenPort} is taken on 127.0.0.1: stop what listens there, or set another PORT`]
  ]
  for (const [settings, sentence] of cases) {
    const { code, output } = await runToEnd(t, { LOG_LEVEL: 'silent', ...settings })
    t.equal(output.trim().split('\n').filter((line) => !line.startsWith('{')).join('\n').startsWith(sentence), true, `${JSON.stringify(settings)}: ${output}`)
    t.equal(code, 1)
  }
})

t.test('fanfare serve takes a flag for each setting, and refuses unknown ones', async (t) => {
  const { url } = await startProcess(t, {}, ['dist/src/cli/main.js', 'serve', '--max-connections', '1', '--allowed-origins', 'https://a.example,https://b.example'])
  await connect(t, `${url.replace('http', 'ws')}/ws`)
  t.match(await refusal(`${url.replace('http', 'ws')}/ws`), { status: 503 })
  const unknown = await runToEnd(t, {}, ['dist/src/cli/main.js', 'serve', '--prot', '1'])
  t.same([unknown.code, unknown.output.trim().split('\n')[0]], [1, "error: unknown option '--prot'"])
  const help = await runToEnd(t, {}, ['dist/src/cli/main.js', 'serve', '--help'])
  t.match(help.output, /--ping-interval <seconds>[\s\S]*env: PING_INTERVAL/)
  t.match((await runToEnd(t, {}, ['dist/src/cli/main.js', '--version'])).output, /^\d+\.\d+\.\d+\n$/)
  t.match((await runToEnd(t, {}, ['dist/src/cli/main.js', '--help'])).output, /serve[\s\S]*connect/)
})

t.test('reads a .env file, which the environment overrides, but not with nothing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-'))
  writeFileSync(join(folder, '.env'), 'MAX_MESSAGE_BYTES=none\nPORT=1\n')
  const port = String(await freePort())
  const { code, output } = await runToEnd(t, { PORT: port, MAX_MESSAGE_BYTES: '' }, [join(process.cwd(), 'dist/src/cli/main.js'), 'serve'], folder)
  t.same([code, output.trim()], [1, 'MAX_MESSAGE_BYTES takes a whole number of bytes, 1 or more, but got "none"'])
})

t.test('ROUTES_DIR adds routes and plugins to the service', async (t) => {
  const { url, wsUrl } = await startProcess(t, { ROUTES_DIR: 'examples/routes' })
  const client = await connect(t, `${wsUrl}?channel=orders`)
  const answer = await fetch(`${url}/orders/42/ship`, { method: 'POST' })
  t.equal(answer.status, 204)
  t.same(await client.hears(1), ['{"order":"42","state":"shipped"}'])
})

t.test('starts though loading takes longer than the 10 s that Fastify waits, as on a tenth of a core', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-'))
  writeFileSync(join(folder, 'slow.mjs'), `
import { setTimeout } from 'node:timers/promises'
export default async (app) => {
  await setTimeout(10_500)
  app.get('/slow', () => 'here')
}
`)
  const { url } = await startProcess(t, { ROUTES_DIR: folder })
  t.equal(await (await fetch(`${url}/slow`)).text(), 'here')
})
