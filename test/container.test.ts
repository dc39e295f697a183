import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { connect } from './helper.ts'
import { bare, startProcess } from './process.ts'

/** Runs a command in a folder, without what tap adds: it would make every child a test. */
async function run (folder: string, command: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(...bare(command, args), { cwd: folder })).stdout
}

function folder (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'fanfare-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

t.test('the lines of the Dockerfile make a server that runs without development packages', { timeout: 300_000 }, async (t) => {
  // No image can be built here: the same lines, in a clean folder.
  const image = folder(t)
  const [build = '', runtime = ''] = readFileSync('Dockerfile', 'utf8').split(/^FROM .*$/m).slice(1)
  for (const line of build.split('\n')) {
    const [word, ...rest] = line.split(' ')
    if (word === 'COPY') {
      const to = rest.pop() as string
      for (const from of rest) cpSync(from, join(image, to === './' ? from : to), { recursive: true })
    }
    if (word === 'RUN') await run(image, 'bash', '-c', rest.join(' '))
  }
  await t.rejects(run(image, process.execPath, '-e', "require.resolve('typescript')"), 'development packages are gone')
  const command = JSON.parse(/^CMD (.*)$/m.exec(runtime)?.[1] ?? '') as string[]
  t.strictSame(command, ['node', 'dist/src/server.js'])
  const { wsUrl, child, url, exit } = await startProcess(t, { HOST: '0.0.0.0', NODE_ENV: 'production' }, command.slice(1), image)
  const client = await connect(t, wsUrl)
  client.ws.send('hello')
  t.strictSame(await client.hears(1), ['hello'])
  t.match(await (await fetch(url)).text(), /<title>/)
  const health = JSON.parse(/^HEALTHCHECK .* CMD (.*)$/m.exec(runtime)?.[1] ?? '') as string[]
  const check = (port: string): Promise<string> => run(image, 'env', `PORT=${port}`, process.execPath, ...health.slice(1))
  await check(new URL(url).port)
  child.kill('SIGTERM')
  t.equal(await exit, 0, 'the process gets the signal itself')
  await t.rejects(check(new URL(url).port), 'the health check fails when nobody answers')
})

t.test('on a fresh clone `npm ci && npm start` serves the page and the WebSocket', { timeout: 300_000 }, async (t) => {
  const clone = folder(t)
  await run('.', 'git', 'clone', '--quiet', '.', clone)
  await run(clone, 'npm', 'ci')
  // A plugin of an earlier version, that was built there: it was loaded.
  mkdirSync(join(clone, 'dist/plugins'), { recursive: true })
  writeFileSync(join(clone, 'dist/plugins/gone.js'), "throw new Error('of an earlier version')")
  const { wsUrl, url } = await startProcess(t, {}, ['npm', 'start'], clone)
  t.match(await (await fetch(url)).text(), /<title>/)
  const client = await connect(t, wsUrl)
  client.ws.send('hello')
  t.strictSame(await client.hears(1), ['hello'])
})

const APP = `import fastify, { type FastifyRequest } from 'fastify'
import fanfare, { type ChannelRule } from 'fanfare'

const rule: ChannelRule = { match: 'orders:*', historySize: 10 }
const app = fastify()
await app.register(fanfare, { channels: [rule] })
app.get('/echo', { websocket: true }, (socket) => { socket.on('message', (data) => socket.send(data as Buffer)) })
app.get('/orders', { preValidation: app.identify }, async (request: FastifyRequest) => request.peer?.user ?? 'nobody')
await app.connections.publish('orders:42', { state: 'shipped' })
console.log((await app.inject('/orders')).body)
const ws = await app.injectWS('/ws')
ws.send('hello')
await new Promise((resolve) => ws.once('message', resolve))
await app.close()
`

t.test('what `npm pack` makes on a fresh clone is whole, and brings the types of all that it adds to an app', { timeout: 300_000 }, async (t) => {
  const clone = folder(t)
  await run('.', 'git', 'clone', '--quiet', '.', clone)
  symlinkSync(join(process.cwd(), 'node_modules'), join(clone, 'node_modules'))
  const consumer = join(clone, 'consumer')
  const installed = join(consumer, 'node_modules', 'fanfare')
  mkdirSync(installed, { recursive: true })
  const packed = await run(clone, 'npm', 'pack', '--silent')
  await run(clone, 'tar', '-xzf', packed.trim().split('\n').at(-1) as string, '-C', installed, '--strip-components=1')

  writeFileSync(join(consumer, 'package.json'), '{"type":"module"}')
  writeFileSync(join(consumer, 'app.ts'), APP)
  const { compilerOptions } = JSON.parse(readFileSync('tsconfig.json', 'utf8')) as { compilerOptions: object }
  writeFileSync(join(consumer, 'tsconfig.json'), JSON.stringify({ compilerOptions: { ...compilerOptions, noEmit: false, skipLibCheck: false }, files: ['app.ts'] }))
  await run(consumer, process.execPath, join(clone, 'node_modules', 'typescript', 'bin', 'tsc')).catch((error: { stdout: string }) => t.fail(error.stdout))
  t.equal(await run(consumer, process.execPath, 'app.js'), 'nobody\n')
})
