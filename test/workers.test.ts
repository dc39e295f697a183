import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from './helper.ts'
import { bare, runToEnd } from './process.ts'
import { startRedis } from './redis.ts'
import { connectByAddress, startWorkers } from './workers.ts'

function folder (t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'fanfare-workers-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

t.test('bad settings end the start with one sentence and exit code 1, whoever finds them', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const { url } = await startRedis(t)
  const alone = 'needs REDIS_URL: without Redis each worker would be alone, and its clients would not hear those of the others'
  const cases: [NodeJS.ProcessEnv, string][] = [
    [{ WORKERS: '2' }, `WORKERS=2 ${alone}`],
    [{ WORKERS: '0' }, `WORKERS=0 ${alone}`],
    [{ WORKERS: 'many', REDIS_URL: url }, 'WORKERS takes a whole number from 0 to 256, but got "many"'],
    [{ WORKERS: '257', REDIS_URL: url }, 'WORKERS takes a whole number from 0 to 256, but got "257"'],
    [{ WORKERS: '2', REDIS_URL: url, NODE_UNIQUE_ID: '1' }, 'WORKERS=2 cannot be used in the cluster of another program, which starts the workers itself: set WORKERS=1'],
    [{ WORKERS: '2', REDIS_URL: url, PORT: String(port) }, `PORT ${port} is taken on 127.0.0.1: stop what listens there, or set another PORT`],
    [{ WORKERS: '2', REDIS_URL: url, CHANNELS_FILE: '/no/such/file' }, 'CHANNELS_FILE takes the path of a JSON file: ENOENT: no such file or directory, open \'/no/such/file\'']
  ]
  for (const [settings, sentence] of cases) {
    const { code, output } = await runToEnd(t, { LOG_LEVEL: 'silent', PORT: '0', ...settings })
    t.same([code, output], [1, `${sentence}\n`])
  }
})

t.test('what the clients of each worker send, those of all workers get, in one order', async (t) => {
  const server = await startWorkers(t, 3)
  t.equal(server.workers().length, 3)
  t.notOk(server.workers().includes(server.primary), 'the primary serves nobody itself')
  const clients = await connectByAddress(t, server, 12)
  const counts = server.workers().map((worker) => clients.filter(({ pid }) => pid === worker).length)
  t.comment(`clients on the workers: ${counts.join(', ')}`)
  t.equal(Math.min(...counts) > 0, true, 'there are clients on each worker')
  clients.forEach(({ client }, index) => client.ws.send(`m${index}`))
  const [first, ...others] = await Promise.all(clients.map(({ client }) => client.hears(12)))
  t.same(first?.toSorted(), clients.map((_client, index) => `m${index}`).toSorted())
  for (const heard of others) t.same(heard, first)
})

t.test('a worker that is killed is replaced, and its clients come back to what they missed', async (t) => {
  const server = await startWorkers(t, 2)
  const clients = await connectByAddress(t, server, 6, '?channel=x&positions=true')
  const [{ client: sender, pid: staying } = t.bailout('no client') as never] = clients
  sender.ws.send('before')
  const [before = ''] = (await Promise.all(clients.map(({ client }) => client.hears(1))))[0] ?? []
  const { epoch, offset } = JSON.parse(before) as { epoch: string, offset: number }
  const [killed] = server.workers().filter((pid) => pid !== staying)
  const cut = clients.filter(({ pid }) => pid === killed)
  const codes = Promise.all(cut.map(({ client }) => client.closed()))
  const started = performance.now()
  process.kill(killed as number, 'SIGKILL')
  t.same((await codes).map(({ code }) => code), cut.map(() => 1006))
  sender.ws.send('meanwhile')
  await sender.hears(2)
  const [line] = await server.says(/^Worker \d+ ended/)
  t.match(line?.msg, new RegExp(`^Worker ${killed} ended \\(SIGKILL\\): starting another`))
  await until(() => server.workers().length === 2)
  t.comment(`replaced after ${((performance.now() - started) / 1000).toFixed(1)} s`)
  const back = await connectByAddress(t, server, 6, `?channel=x&since=${epoch}:${offset}`)
  t.equal(new Set(back.map(({ pid }) => pid)).size, 2)
  t.notOk(back.some(({ pid }) => pid === killed))
  sender.ws.send('after')
  for (const { client } of back) t.same(await client.hears(2), ['meanwhile', 'after'])
})

t.test('a worker that dies again and again is started with growing pauses, while the others serve', async (t) => {
  const dir = folder(t)
  const fault = join(dir, 'fault')
  writeFileSync(join(dir, 'faulty.mjs'), `
    import { existsSync } from 'node:fs'
    export default async (app) => { app.addHook('onReady', async () => { if (existsSync(${JSON.stringify(fault)})) process.exit(3) }) }`)
  const server = await startWorkers(t, 2, { ROUTES_DIR: dir })
  writeFileSync(fault, '')
  const [dying, staying] = server.workers() as [number, number]
  process.kill(dying, 'SIGKILL')
  const ends = await server.says(/^Worker \d+ ended/, 4)
  t.same(ends.map(({ msg }) => /\(.*/.exec(msg)?.[0]), [
    '(SIGKILL): starting another in 0.1 s', '(code 3): starting another in 0.2 s', '(code 3): starting another in 0.4 s', '(code 3): starting another in 0.8 s'
  ])
  t.equal((await fetch(`${server.url}/health/ready`, { headers: { connection: 'close' } })).status, 200)
  rmSync(fault)
  await until(() => server.workers().length === 2)
  t.ok(server.workers().includes(staying))
})

t.test('an error that nobody handles ends only its worker: it drains its clients and is replaced; so is one that crashes', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'faulty.mjs'), `
    export default async (app) => { app.post('/fail', async () => { setImmediate(() => { throw new Error('on purpose') }); return process.pid }) }`)
  const server = await startWorkers(t, 2, { ROUTES_DIR: dir })
  const clients = await connectByAddress(t, server, 6)
  const failed = Number(await (await fetch(`${server.url}/fail`, { method: 'POST' })).text())
  const hit = clients.filter(({ pid }) => pid === failed)
  t.ok(hit.length > 0)
  t.same((await Promise.all(hit.map(({ client }) => client.closed()))).map(({ code }) => code), hit.map(() => 1012))
  await server.says(/^Worker \d+ ended \(code 1\): starting another/)
  t.ok(clients.every(({ client, pid }) => pid === failed || client.ws.readyState === client.ws.OPEN))
  await until(() => server.workers().length === 2)
  process.kill(server.workers()[0] as number, 'SIGSEGV')
  await server.says(/^Worker \d+ ended \(SIGSEGV\): starting another/)
  await until(() => server.workers().length === 2)
})

t.test('the flags of `fanfare serve` are those of its workers', async (t) => {
  const server = await startWorkers(t, 1, {}, ['dist/src/cli/main.js', 'serve', '--workers', '2', '--max-message-bytes', '10'])
  t.equal(server.workers().length, 2)
  for (let index = 0; index < 4; index++) {
    const answer = await fetch(`${server.url}/health/ready`, { headers: { connection: 'close' } })
    t.match(await answer.json(), { maxMessageBytes: 10 })
  }
})

t.test('WORKERS=0 starts one worker for each core', async (t) => {
  const server = await startWorkers(t, 0)
  t.equal(server.workers().length, availableParallelism())
})

t.test('PORT=0: all workers share the same free port, and the first one tells it', async (t) => {
  const { url } = await startRedis(t)
  const child = spawn(...bare(process.execPath, ['dist/src/server.js']), { env: { ...process.env, PORT: '0', WORKERS: '2', REDIS_URL: url }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => { output += String(chunk) })
  const addressesIn = (): (string | undefined)[] => Array.from(output.matchAll(/Fanfare listens on (http[^"]*)/g), ([, address]) => address)
  await until(() => output.includes('Workers share the port') && output.includes('The page is at') && addressesIn().length >= 2)
  const addresses = addressesIn()
  t.equal(addresses.length, 2)
  t.equal(new Set(addresses).size, 1, addresses.join(' '))
  t.equal(output.match(/The page is at/g)?.length, 1)
  t.equal((await fetch(`${addresses[0]}/health/ready`)).status, 200)
  child.kill('SIGTERM')
  t.same(await once(child, 'exit'), [0, null])
})
