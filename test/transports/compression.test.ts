import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { constants, inflateRawSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { start, until } from '../helper.ts'
import { openRaw, type Frame, type RawWebSocket } from '../raw-websocket.ts'

const COMPRESSED = 4
const MOST = 3000
const HEARD_BYTES = 1_000_000

/** Text of which a thread of the pool has something to do for a millisecond. */
const large = (number: number): string => `${number} ${randomBytes(48_000).toString('base64')}`

function textIn ({ rsv, payload }: Frame): string {
  if (rsv !== COMPRESSED) return String(payload)
  return String(inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH }))
}

/** A client that could read compressed messages, and does not spend time on it. */
async function compressing (t: Test, url: string, path = '/ws'): Promise<RawWebSocket> {
  return openRaw(t, Number(new URL(url).port), path, ['Sec-WebSocket-Extensions: permessage-deflate'])
}

t.test('who compresses heard nothing, and all was kept, as long as large messages came faster than they were deflated', async (t) => {
  const { app, url } = await start(t, { maxBufferedBytes: MOST * 100_000 })
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
  const { app, url } = await start(t)
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
  const { app, url } = await start(t)
  const sent = Array.from({ length: 5 }, (_, number) => large(number))
  for (const text of sent) await app.connections.publish('broadcast', text)
  const client = await compressing(t, url, '/ws?history=5')
  await until(() => client.frames.length === sent.length)
  t.ok(client.frames.every(({ rsv }) => rsv === COMPRESSED))
  t.strictSame(client.frames.map(textIn), sent)
})
