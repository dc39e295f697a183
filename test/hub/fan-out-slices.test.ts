import t from 'tap'
import { closeCodes } from '../../src/close-codes.ts'
import type { Connection } from '../../src/hub/connection.ts'
import { linesEncoding, managerOf, nextTurn, TestTransport } from './alone.ts'

// By a clock that only writes move: with 64 of them between two looks at it, each slice of a flush ends after the first 64.
const WRITE_MS = 0.2
const RECEIVERS = 150
const NAMES = ['red', 'green']
let clock = 0
t.intercept(performance, 'now', { value: () => clock })

class SlowTransport extends TestTransport {
  override onWrite = (): void => { clock += WRITE_MS }
}

t.test('a long flush of several channels leaves time for others, and nothing overtakes what still waits in it', async (t) => {
  const manager = managerOf()
  const encoding = linesEncoding(false)
  const transports = Array.from({ length: RECEIVERS }, () => new SlowTransport())
  const connections = transports.map((transport) => manager.open(transport, encoding, { peer: { address: 'x' }, channels: NAMES }))
  for (const name of NAMES) manager.publish(name, '1')
  while (transports[0]?.lines.length === 0) await nextTurn()
  t.strictSame(transports.at(-1)?.lines, [], 'the flush is under way')

  const [closed, gone, left, told] = connections.slice(-4) as [Connection, Connection, Connection, Connection]
  manager.close(closed, closeCodes.disconnected)
  manager.closed(gone, 1006)
  manager.unsubscribe(left, 'red')
  manager.send(told, Buffer.from('reply\n'))
  const first = NAMES.map((name) => `${name} 1`)
  t.strictSame(transports.slice(-4).map(({ lines }) => lines), [first, [], first, [...first, 'reply']])
  manager.publish('red', '2')
  manager.publish('green', '2')
  while (transports.at(-1)?.lines.length !== 5) await nextTurn()

  for (const { lines } of transports.slice(0, -4)) t.strictSame(lines, ['red 1', 'green 1', 'red 2', 'green 2'])
  t.strictSame(transports.slice(-4).map(({ lines }) => lines), [first, [], [...first, 'green 2'], [...first, 'reply', 'red 2', 'green 2']])
})

t.test('who is told what it missed hears first what still waits for it in a long flush', async (t) => {
  const manager = managerOf({}, { slowReceiver: 'drop' })
  const encoding = linesEncoding(false)
  const transports = Array.from({ length: RECEIVERS }, () => new SlowTransport())
  for (const transport of transports) manager.open(transport, encoding, { peer: { address: 'x' }, channels: NAMES })
  const last = transports.at(-1) as SlowTransport
  last.bufferedBytes = 1000
  manager.publish('red', 'missed')
  while (transports[0]?.lines.length === 0) await nextTurn()
  while (transports.at(-2)?.lines.length === 0) await nextTurn()
  last.bufferedBytes = 0
  for (const name of NAMES) manager.publish(name, '1')
  while (transports[0]?.lines.length === 1) await nextTurn()
  t.strictSame(last.lines, [], 'green 1 waits for it')
  last.drain()
  t.strictSame(last.lines, ['green 1', 'red skipped 2'])
})
