import { once } from 'node:events'
import t from 'tap'
import { connect, start } from '../helper.ts'
import { broadcasting, foreignServer, runClient, runUnread } from './client-process.ts'

t.jobs = 4

t.test('into a pipe go the messages alone, line for line, and status lines to stderr', async (t) => {
  const { wsUrl } = await start(t)
  const client = runClient(t, [wsUrl, '--close-on-eof'])
  client.stdin.end('one\r\n\n  zwei ✓\nlast without newline')
  t.strictSame(await client.ends(), { code: 0, out: 'one\n\n  zwei ✓\nlast without newline\n', err: 'WebSocket connected\n' })
})

t.test('several at once get what each of them sends', async (t) => {
  const { url } = await start(t)
  const clients = [1, 2, 3].map(() => runClient(t, [url]))
  await Promise.all(clients.map((client) => client.notes('WebSocket connected')))
  for (const [index, client] of clients.entries()) {
    client.stdin.write(`from ${index}\n`)
    await Promise.all(clients.map((other) => other.prints(`from ${index}\n`)))
  }
  for (const client of clients) t.equal(client.out, 'from 0\nfrom 1\nfrom 2\n')
})

t.test('at the end of input it goes on receiving until Ctrl-C, which closes with 1000', async (t) => {
  const { wsUrl } = await start(t)
  const { server, url } = await foreignServer(t)
  const closed = once(server, 'connection').then(async ([socket]) => await once(socket, 'close'))
  const foreign = runClient(t, [url])
  foreign.stdin.end()
  const client = runClient(t, [wsUrl])
  client.stdin.end()
  await Promise.all([client.notes('connected'), foreign.notes('connected')])
  const other = await connect(t, wsUrl)
  other.ws.send('still there?')
  await client.prints('still there?\n')
  client.child.kill('SIGINT')
  foreign.child.kill('SIGINT')
  t.equal(await client.exit, 0)
  t.equal(await foreign.exit, 0)
  t.equal((await closed)[0], 1000)
})

t.test('a server that does not answer the close is not waited for, least of all after a second Ctrl-C', async (t) => {
  const { server, url } = await foreignServer(t)
  server.on('connection', (socket) => socket.pause())
  const [patient, impatient] = [runClient(t, [url]), runClient(t, [url])] as const
  await Promise.all([patient.notes('connected'), impatient.notes('connected')])
  const since = Date.now()
  patient.child.kill('SIGINT')
  impatient.child.kill('SIGINT')
  impatient.child.kill('SIGINT')
  t.equal(await impatient.exit, 0)
  t.equal(await patient.exit, 0)
  t.ok(Date.now() - since < 4000)
})

t.test('--channel joins a channel and keeps the rest of the address', async (t) => {
  const { server, url } = await foreignServer(t)
  const request = once(server, 'connection').then(([, request]) => request.url as string)
  runClient(t, [`${url.replace('ws', 'http')}?a=1&channel=x`, '--channel', 'news & more'])
  t.equal(await request, '/ws?a=1&channel=news+%26+more')

  const running = await start(t)
  const inside = runClient(t, [running.url, '--channel', 'inside'])
  const outside = runClient(t, [running.url])
  await Promise.all([inside.notes('connected'), outside.notes('connected')])
  const sender = await connect(t, `${running.wsUrl}?channel=inside`)
  sender.ws.send('psst')
  await inside.prints('psst\n')
  t.equal(outside.out, '')
})

t.test('--token and FANFARE_TOKEN are sent as a bearer token', async (t) => {
  const { server, url } = await foreignServer(t)
  const header = async (): Promise<string> => (await once(server, 'connection'))[1].headers.authorization
  for (const [args, env] of [[['--token', 'abc.def'], {}], [[], { FANFARE_TOKEN: 'abc.def' }]] as const) {
    const seen = header()
    runClient(t, [url, ...args], env)
    t.equal(await seen, 'Bearer abc.def')
  }
  const bad = await runClient(t, [url], { FANFARE_TOKEN: 'with\nnewline' }).ends()
  t.strictSame(bad, { code: 1, out: '', err: 'The token has characters that a header cannot carry.\n' })
})

t.test('--binary sends binary messages, and bytes come out as they are', async (t) => {
  const { wsUrl } = await start(t)
  const listener = await connect(t, wsUrl)
  const client = runClient(t, [wsUrl, '--binary', '--close-on-eof'])
  client.stdin.end(Buffer.from([0xff, 0x00, 0x0a, 0x1b, 0x0a]))
  t.equal(await client.exit, 0)
  t.strictSame(client.bytes, Buffer.from([0xff, 0x00, 0x1b]))
  await listener.hears(2)
  t.strictSame(listener.heard, [{ data: Buffer.from([0xff, 0x00]), binary: true }, { data: Buffer.from([0x1b]), binary: true }])
})

t.test('a line that is not UTF-8 is sent all the same, and said', async (t) => {
  const { wsUrl } = await start(t)
  const client = runClient(t, [wsUrl, '--close-on-eof'])
  client.stdin.end(Buffer.from([0x61, 0xff, 0x0a]))
  const { code, out, err } = await client.ends()
  t.strictSame([code, out], [0, 'a\ufffd\n'])
  t.match(err, 'not valid UTF-8')
})

t.test('--count ends after so many messages, exactly', async (t) => {
  const { url } = await foreignServer(t, (socket) => { for (let i = 1; i <= 10; i++) socket.send(`message ${i}`) })
  t.strictSame(await runClient(t, [url, '--count', '3']).ends(), { code: 0, out: 'message 1\nmessage 2\nmessage 3\n', err: 'WebSocket connected\n' })
})

t.test('a reader that goes away, as head does, ends it without a word', async (t) => {
  const { url } = await foreignServer(t, broadcasting)
  const client = runUnread(t, [url])
  client.stdout.once('data', () => client.stdout.destroy())
  for (let i = 0; i < 5000; i++) client.stdin.write(`line ${i}\n`)
  t.strictSame(await client.ends(), { code: 0, out: '', err: 'WebSocket connected\n' })
})

t.test('--help names every option and its default', async (t) => {
  const { code, out } = await runClient(t, ['--help']).ends()
  t.equal(code, 0)
  t.match(out, 'ws://localhost:8000/ws')
  const options = out.slice(out.indexOf('Options:'), out.indexOf('-h, --help')).split(/^ {2}(?=-)/m).slice(1)
  t.strictSame(options.map((option) => option.split(' ')[0]), ['--channel', '--token', '--reconnect', '--binary', '--raw', '--count', '--close-on-eof', '--timeout'])
  for (const option of options) t.match(option, '(default: ')
  t.match(out, 'FANFARE_TOKEN')
})
