import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import t, { type Test } from 'tap'
import { start } from '../helper.ts'
import { freePort } from '../process.ts'
import { foreignServer, runClient } from './client-process.ts'

t.jobs = 4

async function portOf (t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

// One sentence, one line, nothing else, and no stack trace can hide in it.
async function fails (t: Test, args: string[], sentence: string | RegExp): Promise<void> {
  const { code, out, err } = await runClient(t, args).ends()
  t.strictSame([code, out], [1, ''], args.join(' '))
  t.match(err, sentence)
  t.match(err, /^[^\n]+\n$/)
}

t.test('an address that is none', async (t) => {
  for (const url of ['nonsense', 'localhost:8000', 'ftp://localhost', 'not a url', 'ws://']) {
    await fails(t, [url], `Not a WebSocket address: "${url}". Give one such as ws://localhost:8000/ws.\n`)
  }
  await fails(t, ['ws://localhost/ws?channel=a#b'], /cannot have a part after "#"/)
})

t.test('an address where nothing listens, nor can', async (t) => {
  const port = await freePort()
  await fails(t, [`ws://127.0.0.1:${port}`], `Cannot connect to ws://127.0.0.1:${port}/ws: connection refused, nothing listens there\n`)
  await fails(t, [`ws://localhost:${port}/ws`], `Cannot connect to ws://localhost:${port}/ws: connection refused, nothing listens there\n`)
  await fails(t, ['ws://me:secret@no-such-host.invalid/ws'], /^Cannot connect to ws:\/\/no-such-host\.invalid\/ws: (unknown host|the name of the host could not be looked up)\n$/)
})

t.test('a server that never answers', async (t) => {
  const port = await portOf(t, createServer((socket) => t.teardown(() => socket.destroy())))
  await fails(t, [`ws://127.0.0.1:${port}`, '--timeout', '0.3'], `Cannot connect to ws://127.0.0.1:${port}/ws: no answer within 0.3 s\n`)
})

t.test('a server that hangs up, speaks something else, or no TLS', async (t) => {
  const silent = await portOf(t, createServer((socket) => socket.once('data', () => socket.destroy())))
  await fails(t, [`ws://127.0.0.1:${silent}`], /: the connection was cut off\n$/)
  const other = await portOf(t, createServer((socket) => socket.end('220 mail.example.com ESMTP\r\n')))
  await fails(t, [`ws://127.0.0.1:${other}`], /: the answer is not HTTP, this is no WebSocket server\n$/)
  const { url } = await foreignServer(t)
  await fails(t, [url.replace('ws', 'wss')], /: TLS failed: the server does not speak TLS there, try ws:\/\/ instead of wss:\/\/\n$/)
})

t.test('an HTTP answer: its status, and the reason that its JSON gives', async (t) => {
  const answers: Record<string, [number, string]> = {
    '/401': [401, JSON.stringify({ statusCode: 401, error: 'Unauthorized', message: 'token expired \u001b[2J' })],
    '/403': [403, 'not JSON'],
    '/429': [429, JSON.stringify({ message: 17 })],
    '/503': [503, JSON.stringify({ message: 'x'.repeat(10_000) })]
  }
  const server = createHttpServer((request, response) => {
    const [status, body] = answers[request.url!]!
    response.writeHead(status).end(body)
  })
  const url = `ws://127.0.0.1:${await portOf(t, server)}`
  await fails(t, [`${url}/401`], `Cannot connect to ${url}/401: the server answered 401 Unauthorized: token expired \\x1b[2J\n`)
  await fails(t, [`${url}/403`], `Cannot connect to ${url}/403: the server answered 403 Forbidden\n`)
  await fails(t, [`${url}/429`], `Cannot connect to ${url}/429: the server answered 429 Too Many Requests\n`)
  await fails(t, [`${url}/503`], `Cannot connect to ${url}/503: the server answered 503 Service Unavailable\n`)
})

t.test('an address of Fanfare that has no WebSocket', async (t) => {
  const { url } = await start(t)
  await fails(t, [`${url}/nowhere`], /^Cannot connect to ws:.*\/nowhere: the server answered 404 Not Found: .+\n$/)
})

t.test('a server that closes: an error code is a failure, a normal one is not', async (t) => {
  const { url } = await foreignServer(t, (socket) => {
    socket.on('message', (data) => {
      const [code, ...reason] = String(data).split(' ')
      if (code === '1006') socket.terminate()
      else if (code === '1005') socket.close()
      else socket.close(Number(code), reason.join(' '))
    })
  })
  const closes = async (close: string, code: number, line: string): Promise<void> => {
    const client = runClient(t, [url])
    client.stdin.write(`${close}\n`)
    const { code: got, err } = await client.ends()
    t.strictSame([got, err], [code, `WebSocket connected\nDisconnected: ${line} (${url}/ws)\n`])
  }
  await closes('1000 bye', 0, '1000 bye')
  await closes('1001', 0, '1001 going away')
  await closes('1005', 0, '1005 no code given')
  await closes('1006', 1, '1006 the connection was lost')
  await closes('1012 server restarting', 1, '1012 server restarting')
  await closes('3008 slow \u001b[2J', 1, '3008 slow \\x1b[2J')
  await closes('4321', 1, '4321')
})

t.test('with --close-on-eof a normal close is a failure too if it comes before everything is through', async (t) => {
  const { url } = await foreignServer(t, (socket) => { socket.once('message', () => socket.close(1001)) })
  const client = runClient(t, [url, '--close-on-eof'])
  client.stdin.write('one\ntwo\n')
  const { code, err } = await client.ends()
  t.strictSame([code, err], [1, `WebSocket connected\nDisconnected: 1001 going away (${url}/ws)\n`])
})

t.test('an option with a wrong value', async (t) => {
  for (const args of [['--count', '0'], ['--count', '1.5'], ['--timeout', '-1'], ['--channel', '']]) {
    await fails(t, args, /^error: option .* is invalid\. It takes a .*\n$/)
  }
})

t.test('an input line without end', async (t) => {
  const { url } = await foreignServer(t)
  const client = runClient(t, [url])
  const chunk = Buffer.alloc(1024 * 1024, 'x')
  for (let i = 0; i < 20; i++) client.stdin.write(chunk)
  const { code, err } = await client.ends()
  t.equal(code, 1)
  t.match(err, /Cannot read standard input: a line is longer than 16777216 bytes\n$/)
})
