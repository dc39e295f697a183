import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { connect, refusal, until } from './helper.ts'
import { bare, freePort, startProcess } from './process.ts'

const bash = async (script: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
  (await promisify(execFile)(...bare('bash', ['-c', script]), { env: { ...process.env, ...env } })).stdout

/** The indented or fenced block of a document that holds some text. */
function blockWith (file: string, text: string): string {
  const blocks = readFileSync(file, 'utf8').split(/\n```\w*\n|\n(?! {4}|\n)/)
  return blocks.find((block) => block.includes(text)) ?? t.bailout(`${file} has no block with ${text}`) as never
}

t.test('docs/extending.md: the examples are those in examples/, and work', async (t) => {
  const guide = readFileSync('docs/extending.md', 'utf8')
  for (const file of ['examples/routes/orders.js', 'examples/app.js', 'routes/hello.ts']) t.ok(guide.includes(readFileSync(file, 'utf8')), file)

  const server = await startProcess(t, { ROUTES_DIR: 'examples/routes' })
  const client = await connect(t, `${server.wsUrl}?channel=orders`)
  const [, curl = ''] = /^ {4}(curl .*)$/m.exec(guide) ?? []
  await bash(curl.replace('http://127.0.0.1:8000', server.url))
  t.strictSame(await client.hears(1), ['{"order":"42","state":"shipped"}'])
  t.equal(await (await fetch(`${server.url}/hello`)).text(), 'Hello, world!')
})

t.test('docs/centrifuge.md: the example is that in examples/, and works', async (t) => {
  const guide = readFileSync('docs/centrifuge.md', 'utf8')
  t.ok(guide.includes(readFileSync('examples/centrifuge.js', 'utf8')))
  const { wsUrl } = await startProcess(t)
  const [, command = ''] = /^ {4}(node .*)$/m.exec(guide) ?? []
  const [, file = '', address = ''] = command.split(' ')
  const child = spawn(...bare(process.execPath, [file, address.replace('127.0.0.1:8000', new URL(wsUrl).host)]), { env: { ...process.env, FORCE_COLOR: '0' }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout, 'data') as [Buffer]
  t.equal(String(line), "1 { id: 42, state: 'shipped' }\n")
})

t.test('docs/extending.md: an app of your own, which says that it is open, and logs no token', async (t) => {
  const port = String(await freePort())
  const child = spawn(...bare(process.execPath, ['examples/app.js']), { env: { ...process.env, PORT: port }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (text: Buffer) => { output += text })
  const url = `http://127.0.0.1:${port}`
  await until(() => fetch(url).then((answer) => answer.ok, () => false))
  await until(() => output.includes(`Open mode: everyone who can reach ${url} may read and write every channel`))
  const client = await connect(t, `ws://127.0.0.1:${port}/ws?token=topsecret`)
  const answer = await fetch(`${url}/say?token=topsecret`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}' })
  t.strictSame(await answer.json(), { connected: 1 })
  t.strictSame(await client.hears(1), ['{"a":1}'])
  await until(() => output.includes('connection opened'))
  t.notMatch(output, 'topsecret')
})

t.test('README.md: the two ways to the command-line client', async (t) => {
  const readme = readFileSync('README.md', 'utf8')
  const { url } = await startProcess(t)
  const address = `ws://${new URL(url).host}/ws`
  for (const command of [`npm run --silent client -- ${address}`, 'npx fanfare connect ws://localhost:8000/ws --channel red'.replace('ws://localhost:8000/ws', address)]) {
    t.ok(readme.includes(command.replace(`--silent client -- ${address}`, 'client').replace(address, 'ws://localhost:8000/ws')), command)
    t.equal(await bash(`echo hello | ${command} --count 1`), 'hello\n')
  }
})

t.test('CONTRIBUTING.md: npm run dev serves, from the sources', async (t) => {
  const { url } = await startProcess(t, {}, ['npm', 'run', 'dev'])
  t.equal(await (await fetch(`${url}/hello`)).text(), 'Hello, world!')
})

t.test('docs/deploying.md: behind nginx as configured there, origin and address are those of the client', async (t) => {
  const { wsUrl, url } = await startProcess(t, { TRUST_PROXY: '127.0.0.1', MAX_CONNECTIONS_PER_IP: '1' })
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const port = await freePort()
  const [map = '', location = ''] = blockWith('docs/deploying.md', 'proxy_pass').split(/(?=location)/)
  writeFileSync(join(folder, 'nginx.conf'), `
    daemon off; pid ${folder}/pid; error_log stderr; events {}
    http {
      access_log off;
      ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
      ${map}
      server { listen 127.0.0.1:${port}; ${location.replace('http://127.0.0.1:8000', url)} }
    }`)
  const nginx = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: ['ignore', 'inherit', 'pipe'] })
  t.teardown(async () => {
    nginx.kill('SIGTERM')
    await once(nginx, 'exit')
  })
  const proxied = `http://127.0.0.1:${port}`
  await until(() => fetch(`${proxied}/health/ready`).then((answer) => answer.ok, () => false))
  t.match(await (await fetch(proxied)).text(), /<title>/)
  const origin = proxied
  const client = await connect(t, `ws://127.0.0.1:${port}/ws`, { headers: { origin } })
  client.ws.send('through nginx')
  t.strictSame(await client.hears(1), ['through nginx'])
  t.match(await refusal(`ws://127.0.0.1:${port}/ws`, { headers: { origin } }), { status: 429 }, 'the second one from this address')
  await connect(t, `ws://127.0.0.1:${port}/ws`, { headers: { origin }, localAddress: '127.0.0.2' })
  t.match(await refusal(`ws://127.0.0.1:${port}/ws`, { headers: { origin: url }, localAddress: '127.0.0.3' }), { status: 403 })
  t.ok(wsUrl)
})

t.test('docs/security.md: a token is made, used and explained', async (t) => {
  const block = blockWith('docs/security.md', 'export TOKEN_HMAC_SECRET')
  const [, secret = ''] = /export TOKEN_HMAC_SECRET=(\S+)/.exec(block) ?? []
  const { wsUrl } = await startProcess(t, { TOKEN_HMAC_SECRET: secret })
  const shell = (command: string): Promise<string> => bash(command, { TOKEN_HMAC_SECRET: secret })
  const make = 'npx fanfare token --user ada --expires 1h'
  const use = 'FANFARE_TOKEN=$(npx fanfare token --user ada) npx fanfare connect'
  for (const command of ['npm start', make, use]) t.ok(block.includes(command), command)
  const token = await shell(make)
  t.match(token, /^eyJ[\w.-]+\n$/)
  t.equal(await shell(`echo hello | ${use} ${wsUrl} --count 1`), 'hello\n')
  t.match(await shell(`npx fanfare token --check ${token}`), /"sub":"ada".*The server takes it, as a connection token\.\n$/s)
})

t.test('docs/callbacks.md: the settings are taken', async (t) => {
  const block = blockWith('docs/callbacks.md', 'export CALLBACK_URL')
  const stdout = await bash(block.replace('npm start', 'env').replaceAll(/^ {4}/gm, ''))
  const settings = Object.fromEntries(stdout.split('\n').filter((line) => line.startsWith('CALLBACK_')).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
  t.equal(Object.keys(settings).length, 3)
  const { url } = await startProcess(t, settings)
  t.equal((await fetch(`${url}/health/ready`)).status, 200)
})
