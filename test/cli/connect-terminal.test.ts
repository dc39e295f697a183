import { spawnSync } from 'node:child_process'
import t from 'tap'
import { connect, start } from '../helper.ts'
import { foreignServer, runInTerminal } from './client-process.ts'

t.jobs = 4
const skip = spawnSync('script', ['--version']).error && 'needs `script` of util-linux'

t.test('on a terminal messages are marked, and what is typed is sent', { skip }, async (t) => {
  const { wsUrl } = await start(t)
  const client = runInTerminal(t, [wsUrl])
  await client.prints('WebSocket connected\r\n')
  client.stdin.write('hello\n')
  await client.prints('Received: hello\r\n')
  client.stdin.write('\x03')
  t.equal(await client.ended(), 0)
})

t.test('end of input does not end it', { skip }, async (t) => {
  const { wsUrl } = await start(t)
  const client = runInTerminal(t, [wsUrl])
  await client.prints('WebSocket connected\r\n')
  client.stdin.write('\x04')
  const other = await connect(t, wsUrl)
  other.ws.send('after the end')
  await client.prints('Received: after the end\r\n')
  t.ok(client.running)
})

t.test('nothing that others send can steer the terminal', { skip }, async (t) => {
  const { url } = await foreignServer(t, (socket) => {
    socket.send('\u001b]0;title\u0007\u001b[2J two\nlines\ttab \u009b1m \u202egnp.exe')
    socket.send(Buffer.from('\u001b[31m binary'))
    socket.send(Buffer.alloc(40, 0xab))
    socket.send(Buffer.alloc(1))
    socket.close(1000, 'bye \u001b[0m')
  })
  const client = runInTerminal(t, [url])
  t.equal(await client.ended(), 0)
  t.strictSame(client.out.split('\r\n'), [
    'WebSocket connected',
    'Received: \\x1b]0;title\\x07\\x1b[2J two\\nlines\\ttab \\x9b1m \\u202egnp.exe',
    'Received: <12 bytes> 1b 5b 33 31 6d 20 62 69 6e 61 72 79',
    `Received: <40 bytes> ${'ab '.repeat(32)}…`,
    'Received: <1 byte> 00',
    `Disconnected: 1000 bye \\x1b[0m (${url}/ws)`,
    ''
  ])
})

t.test('--raw leaves even a terminal nothing but the messages', { skip }, async (t) => {
  const { url } = await foreignServer(t, (socket) => {
    socket.send('plain \u001b[1mbold')
    socket.close(1000)
  })
  const client = runInTerminal(t, [url, '--raw'])
  t.equal(await client.ended(), 0)
  // The terminal shows stderr too; only what is no status line has come from stdout.
  t.strictSame(client.out.split('\r\n').filter((line) => !/^(WebSocket c|Disc)onnected/.test(line)), ['plain \u001b[1mbold', ''])
})
