import { once } from 'node:events'
import t from 'tap'
import { freePort } from '../process.ts'
import { broadcasting, foreignServer, runClient } from './client-process.ts'

t.jobs = 4

t.test('--reconnect comes back after a loss, and what was typed meanwhile waits', async (t) => {
  const { server, url } = await foreignServer(t, broadcasting)
  const client = runClient(t, [url, '--reconnect'])
  await client.notes('WebSocket connected\n')
  client.stdin.write('before\n')
  await client.prints('before\n')
  for (const socket of server.clients) socket.close(1012, 'server restarting')
  await client.notes('Reconnecting in')
  client.stdin.write('meanwhile\n')
  await client.prints('before\nmeanwhile\n')
  t.match(client.err, new RegExp(`^WebSocket connected\nDisconnected: 1012 server restarting \\(${url}/ws\\)\nReconnecting in \\d+ ms\nWebSocket connected\n$`))
})

t.test('a server that is away for a while is tried again and again', async (t) => {
  const port = await freePort()
  const first = await foreignServer(t, undefined, { port })
  const client = runClient(t, [`ws://127.0.0.1:${port}`, '--reconnect'])
  await client.notes('WebSocket connected\n')
  first.server.close()
  for (const socket of first.server.clients) socket.terminate()
  await client.notes(': connection refused, nothing listens there\nReconnecting')
  await foreignServer(t, broadcasting, { port })
  client.stdin.write('are you back?\n')
  await client.prints('are you back?\n')
  client.child.kill('SIGINT')
  t.equal(await client.exit, 0)
})

t.test('it does not come back when that cannot help', async (t) => {
  for (const [code, exit] of [[3503, 1], [4500, 1], [1009, 1], [1000, 0]] as const) {
    const { server, url } = await foreignServer(t, (socket) => socket.close(code))
    let connections = 0
    server.on('connection', () => connections++)
    t.equal(await runClient(t, [url, '--reconnect']).exit, exit)
    t.equal(connections, 1)
  }
})

t.test('it does not insist on an address that never worked', async (t) => {
  const { code, err } = await runClient(t, [`ws://127.0.0.1:${await freePort()}`, '--reconnect']).ends()
  t.equal(code, 1)
  t.match(err, /^Cannot connect to .*: connection refused, nothing listens there\n$/)
})

t.test('it gives up when it is no longer let in', async (t) => {
  let welcome = true
  const { server, url } = await foreignServer(t, () => { welcome = false }, {
    verifyClient: (_info, answer) => answer(welcome, 401, '{"message":"token expired"}')
  })
  const client = runClient(t, [url, '--reconnect'])
  await client.notes('WebSocket connected\n')
  for (const socket of server.clients) socket.terminate()
  const { code, err } = await client.ends()
  t.equal(code, 1)
  t.match(err, /\nCannot connect to .*: the server answered 401 Unauthorized: token expired\n$/)
})

t.test('Ctrl-C ends the waiting', async (t) => {
  const { server, url } = await foreignServer(t)
  const client = runClient(t, [url, '--reconnect'])
  await client.notes('WebSocket connected\n')
  server.close()
  for (const socket of server.clients) socket.terminate()
  await client.notes('Reconnecting')
  client.child.kill('SIGINT')
  t.equal(await client.exit, 0)
})

t.test('lines that were under way are named, and make --close-on-eof a failure', async (t) => {
  let connections = 0
  const { server, url } = await foreignServer(t, (socket) => {
    socket.on('message', (data: Buffer, binary) => { if (++messages !== 2) socket.send(data, { binary }) })
    connections++
  })
  let messages = 0
  const client = runClient(t, [url, '--reconnect', '--close-on-eof'])
  client.stdin.write('comes back\n')
  await client.prints('comes back\n')
  const [socket] = server.clients
  const arrived = once(socket!, 'message')
  client.stdin.write('does not\n')
  await arrived
  socket!.terminate()
  await client.notes('Disconnected')
  client.stdin.end('comes back again\n')
  const { code, out, err } = await client.ends()
  t.strictSame([code, out, connections], [1, 'comes back\ncomes back again\n', 2])
  t.match(err, '; lines sent that had not come back: 1\n')
})
