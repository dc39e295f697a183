import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { start, until } from '../helper.ts'
import { frame, openRaw, type Frame, type RawWebSocket } from '../raw-websocket.ts'

const TEXT = 1
const COMPRESSED = 4
const MOST = 3000
const HEARD_BYTES = 1_000_000
const MANY = 1000

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Text of which a thread of the pool has something to do for a millisecond. */
const large = (number: number): string => `${number} ${randomBytes(48_000).toString('base64')}`

/** Bytes that the buffers of this process take. */
function held (): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

function textIn ({ rsv, payload }: Frame): string {
  if (rsv !== COMPRESSED) return String(payload)
  return String(inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH }))
}

// A ping that came meanwhile would be counted among the frames.
const WITHOUT_PINGS = { pingInterval: 86_400 }

/** A client that could read compressed messages, and does not spend time on it. */
async function compressing (t: Test, url: string, path = '/ws'): Promise<RawWebSocket> {
  return openRaw(t, Number(new URL(url).port), path, ['Sec-WebSocket-Extensions: permessage-deflate'])
}

t.test('who compresses heard nothing, and all was kept, as long as large messages came faster than they were deflated', async (t) => {
  const { app, url } = await start(t, { ...WITHOUT_PINGS, maxBufferedBytes: MOST * 100_000 })
  const client = await compressing(t, url)
  const sent: string[] = []
  while (client.socket.bytesRead < HEARD_BYTES && sent.length < MOST) {
    sent.push(large(sent.length))
    await app.connections.publish('broadcast', sent.at(-1) as string)
    await nextTurn()
  }
  t.ok(client.socket.bytesRead >= HEARD_BYTES, `heard ${client.socket.bytesRead} bytes while ${sent.length} messages were published`)
  const heard = client.frames.map(textIn)
  t.strictSame(heard, sent.slice(0, heard.length))
})

t.test('what the pool has no time for goes uncompressed, in its place', async (t) => {
  const { app, url } = await start(t, WITHOUT_PINGS)
  const client = await compressing(t, url)
  const sent = Array.from({ length: 60 }, (_, number) => large(number))
  await Promise.all([...sent, 'small'].map((text) => app.connections.publish('broadcast', text)))
  await until(() => client.frames.length > sent.length)
  const { frames } = client
  t.strictSame(frames.map(textIn), [...sent, 'small'])
  const compressed = frames.filter(({ rsv }) => rsv === COMPRESSED).length
  t.ok(compressed > 0 && compressed < sent.length, `${compressed} of ${sent.length} were compressed`)
})

t.test('large messages from the history are compressed', async (t) => {
  const { app, url } = await start(t, WITHOUT_PINGS)
  const sent = Array.from({ length: 5 }, (_, number) => large(number))
  for (const text of sent) await app.connections.publish('broadcast', text)
  const client = await compressing(t, url, '/ws?history=5')
  await until(() => client.frames.length === sent.length)
  t.ok(client.frames.every(({ rsv }) => rsv === COMPRESSED))
  t.strictSame(client.frames.map(textIn), sent)
})

t.test('what was compressed for the history took 16 KiB for each message, whatever its size', async (t) => {
  const { app, url } = await start(t, { ...WITHOUT_PINGS, historySize: MANY })
  const text = 'x'.repeat(1500)
  for (let number = 0; number < MANY; number++) await app.connections.publish('broadcast', text)
  const before = held()
  const client = await compressing(t, url, `/ws?history=${MANY}`)
  await until(() => client.frames.length === MANY)
  t.ok(client.frames.every(({ rsv }) => rsv === COMPRESSED))
  client.socket.destroy()
  await until(() => app.connections.count === 0)
  const kept = (held() - before) / MANY
  t.ok(kept < 4000, `${kept.toFixed(0)} bytes were kept for each`)
})

/** A compressed message as a client sends it, in so many frames. */
function sent (text: string, fragments = 1): Buffer {
  const deflated = deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
  const size = Math.ceil(deflated.length / fragments)
  return Buffer.concat(Array.from({ length: fragments }, (_, index) => frame({
    opcode: index === 0 ? TEXT : 0,
    rsv: index === 0 ? COMPRESSED : 0,
    fin: index === fragments - 1,
    payload: deflated.subarray(index * size, (index + 1) * size)
  })))
}

/** What `ws` has to inflate with on the connections of an app. */
function inflaters (app: FastifyInstance): unknown[] {
  return Array.from(app.websocketServer.clients, (client) => (client as unknown as { _extensions: { 'permessage-deflate': { _inflate?: unknown } } })._extensions['permessage-deflate']._inflate)
}

t.test('small messages are inflated without a stream for each connection, however many come at once', async (t) => {
  const { app, url } = await start(t, WITHOUT_PINGS)
  const client = await compressing(t, url)
  const texts = Array.from({ length: 500 }, (_, number) => `${number} ${'small '.repeat(number % 50)}`)
  client.socket.write(Buffer.concat(texts.map((text) => sent(text))))
  await until(() => client.frames.length === texts.length)
  t.strictSame(client.frames.map(textIn), texts)
  t.notOk(inflaters(app)[0], 'ws has made no stream')
})

t.test('small and large messages, whole and in fragments, compressed and not, keep their order', async (t) => {
  const { app, url } = await start(t, WITHOUT_PINGS)
  const client = await compressing(t, url)
  const texts = Array.from({ length: 120 }, (_, number) => number % 3 === 0 ? large(number) : number % 5 === 0 ? `${number} ${'of zeros'.repeat(4000)}` : `${number}`)
  for (const [number, text] of texts.entries()) client.socket.write(number % 7 === 0 ? frame({ opcode: TEXT, payload: Buffer.from(text) }) : sent(text, 1 + number % 4))
  await until(() => client.frames.length === texts.length)
  t.strictSame(client.frames.map(textIn), texts)
  t.ok(inflaters(app)[0], 'ws inflates what is large or comes in fragments')
})

t.test('what is no deflate stream is refused with 1007, as by ws', async (t) => {
  const { url } = await start(t, WITHOUT_PINGS)
  const client = await compressing(t, url)
  client.send({ opcode: TEXT, rsv: COMPRESSED, payload: Buffer.from('this is not compressed') })
  t.equal(await client.closed, 1007)
})
