import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { WebSocket } from 'ws'
import { start } from '../helper.ts'
import { broadcasting, foreignServer, runBare, type ClientProcess } from './client-process.ts'

const LINES = 100_000
/** A client alone takes 55 to 65 MiB, most of it Node. */
const MAX_MEMORY = 150

// 10 MB: with no back-pressure at all, several times that would be in memory.
const text = Array.from({ length: LINES }, (_, index) => `line ${index} ${'x'.repeat(index % 180)}\n`).join('')

/** Pipes a file of 100,000 lines through a client, and resolves with what came out and the memory it took. */
async function pipeFile (t: Test, args: string[]): Promise<{ code: number | null, out: string, memory: number }> {
  const client = runBare(t, args)
  let memory = 0
  client.collect().stdout.on('data', () => { memory = Math.max(memory, client.peakMemory) })
  createReadStream(`${t.testdir({ 'lines.txt': text })}/lines.txt`).pipe(client.stdin)
  const { code, out } = await client.ends()
  return { code, out, memory }
}

/** Resolves once a figure has stopped to grow. */
async function standsStill (figure: () => number): Promise<void> {
  for (let last = -1; figure() === 0 || figure() !== last;) {
    last = figure()
    await sleep(300)
  }
}

/** Writes lines as long as they are taken, and resolves when they no longer are: with how many. */
async function writeUntilFull (client: ClientProcess, line: string, most: number): Promise<number> {
  for (let written = 0; written < most; written++) {
    if (!client.stdin.write(line) && !await Promise.race([once(client.stdin, 'drain'), sleep(1000, false)])) return written
  }
  return most
}

t.test('100,000 lines through Fanfare and back: none lost, memory flat', async (t) => {
  const { wsUrl } = await start(t)
  const { code, out, memory } = await pipeFile(t, [wsUrl, '--close-on-eof'])
  t.equal(code, 0)
  t.ok(out === text, 'every line, in order')
  t.ok(memory > 0 && memory < MAX_MEMORY, `${memory} MiB`)
})

t.test('100,000 lines through a foreign server and back', async (t) => {
  const { url } = await foreignServer(t, broadcasting)
  const { code, out, memory } = await pipeFile(t, [url, '--close-on-eof'])
  t.equal(code, 0)
  t.ok(out === text, 'every line, in order')
  t.ok(memory > 0 && memory < MAX_MEMORY, `${memory} MiB`)
})

for (const query of ['', '?echo=false']) {
  t.test(`100,000 lines to a server that sends nothing back ${query}`, async (t) => {
    let got = ''
    const { url } = await foreignServer(t, (socket) => {
      socket.on('message', (data) => { got += `${data}\n` })
    })
    const { code, out } = await pipeFile(t, [`${url}/${query}`, '--close-on-eof'])
    t.strictSame([code, out], [0, ''])
    t.ok(got === text, 'every line, in order')
  })
}

t.test('a server that stops reading stops the reading of the input', async (t) => {
  const { server, url } = await foreignServer(t, (socket) => socket.pause())
  const client = runBare(t, [`${url}?echo=false`, '--close-on-eof']).collect()
  await client.notes('connected')
  const line = `${'y'.repeat(65_535)}\n`
  const written = await writeUntilFull(client, line, 10_000)
  t.ok(written < 1000, `${written} of 10,000 lines were taken`)
  t.ok(client.peakMemory < MAX_MEMORY, `${client.peakMemory} MiB`)
  const [socket] = server.clients
  let got = 0
  socket!.on('message', () => got++)
  socket!.resume()
  client.stdin.end()
  t.equal(await client.exit, 0)
  t.equal(got, written + 1)
})

t.test('an output that is not read stops the reading from the server', async (t) => {
  const { server, url } = await foreignServer(t)
  const client = runBare(t, [url])
  await client.notes('connected')
  const [socket] = server.clients as Set<WebSocket>
  const messages = Array.from({ length: 1000 }, (_, index) => `${index} ${'z'.repeat(65_530)}`)
  for (const message of messages) socket!.send(message)
  await standsStill(() => socket!.bufferedAmount)
  t.ok(socket!.bufferedAmount > 32 * 1024 * 1024, 'most of it waits in the server')
  t.ok(client.peakMemory < MAX_MEMORY, `${client.peakMemory} MiB`)
  client.collect()
  socket!.close(1000)
  t.equal(await client.exit, 0)
  t.ok(client.out === `${messages.join('\n')}\n`, 'every message, in order')
})

t.test('it runs at most 256 KiB ahead of what has come back', async (t) => {
  const held: Buffer[] = []
  let bytes = 0
  let hold = (data: Buffer): void => {
    if (bytes > 0) held.push(data)
    bytes += data.length
  }
  const { server, url } = await foreignServer(t, (socket) => {
    socket.on('message', (data: Buffer) => {
      if (bytes === 0) socket.send(data, { binary: false })
      hold(data)
    })
  })
  const client = runBare(t, [url, '--close-on-eof']).collect()
  createReadStream(`${t.testdir({ 'lines.txt': text })}/lines.txt`).pipe(client.stdin)
  await client.prints('line 0')
  await standsStill(() => bytes)
  t.ok(bytes <= 256 * 1024, `${bytes} bytes`)
  const [socket] = server.clients
  hold = (data) => { socket!.send(data, { binary: false }) }
  for (const data of held) hold(data)
  t.equal(await client.exit, 0)
  t.ok(client.out === text, 'every line, in order')
})
