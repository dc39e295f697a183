import { once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { deflateRawSync } from 'node:zlib'
import t from 'tap'
import { connect } from '../helper.ts'
import { frame, openRaw } from '../raw-websocket.ts'
import { startProbed } from '../security/probed.ts'

const [CONTINUATION, TEXT, CLOSE, COMPRESSED] = [0, 1, 8, 4] as const
const ATTEMPTS = 20
// So many that they are still being inflated when the rest comes.
const MESSAGES = 500

const wrong: Record<string, Buffer> = {
  'text that is not UTF-8': frame({ opcode: TEXT, payload: Buffer.from([0xff, 0xff]), key: Buffer.from([1, 2, 3, 4]) }),
  'a close code that is none': frame({ opcode: CLOSE, payload: Buffer.from([0, 1]), key: Buffer.from([1, 2, 3, 4]) })
}

for (const [name, bytes] of Object.entries(wrong)) {
  t.test(`${name}, and more bytes, that came while a message was inflated ended the process (ws 8.23.0)`, async (t) => {
    const { port, wsUrl, child, errors } = await startProbed(t)
    const deflated = deflateRawSync(Buffer.alloc(1000, 'x'), { finishFlush: 2 }).subarray(0, -4)
    // In fragments, which `ws` inflates itself, on the pool.
    const message = Buffer.concat([
      frame({ opcode: TEXT, rsv: COMPRESSED, fin: false, payload: deflated.subarray(0, 5) }),
      frame({ opcode: CONTINUATION, payload: deflated.subarray(5) })
    ])
    const codes = new Set<number | undefined>()
    for (let attempt = 0; attempt < ATTEMPTS && child.exitCode === null; attempt++) {
      const client = await openRaw(t, port, '/ws', ['Sec-WebSocket-Extensions: permessage-deflate'])
      client.socket.write(Buffer.concat(Array(MESSAGES).fill(message)))
      await once(client.socket, 'data')
      // Each is read by itself.
      for (const chunk of [bytes, Buffer.alloc(10), Buffer.alloc(10)]) {
        client.socket.write(chunk)
        for (let turn = 0; turn < 5; turn++) await nextTurn()
      }
      codes.add(await client.closed)
    }
    t.same(errors(), [])
    t.same(Array.from(codes), [name.startsWith('text') ? 1007 : 1002])
    const healthy = await connect(t, `${wsUrl}?channel=healthy`)
    healthy.ws.send('alive')
    t.same(await healthy.hears(1), ['alive'])
  })
}
