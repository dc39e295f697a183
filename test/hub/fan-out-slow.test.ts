import t from 'tap'
import { linesEncoding, managerOf, nextTurn, TestTransport } from './alone.ts'

t.test('a slow receiver that is not cut hears a part of the channel in order, and how much it missed', async (t) => {
  const manager = managerOf({}, { slowReceiver: 'drop' })
  const transport = new TestTransport()
  manager.open(transport, linesEncoding(false), { peer: { address: 'x' }, channels: ['red'] })
  transport.stalled = true
  for (let number = 0; number < 100; number++) {
    await manager.publish('red', String(number))
    await nextTurn()
  }
  const before = transport.lines.length
  t.ok(before < 100)
  transport.drain()
  await manager.publish('red', 'after')
  await nextTurn()
  t.strictSame(transport.lines.slice(before - 1), [`red ${before - 1}`, `red skipped ${100 - before}`, 'red after'])
})

t.test('a slow receiver that skips what it published itself is answered all the same', async (t) => {
  const manager = managerOf({}, { slowReceiver: 'drop' })
  const transport = new TestTransport()
  const connection = manager.open(transport, linesEncoding(false), { peer: { address: 'x' }, channels: ['red'] })
  transport.bufferedBytes = 1000
  await manager.publish('red', 'missed')
  manager.answer(connection, 'red', Buffer.from('answered\n'))
  await nextTurn()
  transport.drain()
  t.strictSame(transport.lines, ['answered', 'red skipped 1'])
})

t.test('nothing newer comes to a slow receiver before it is told what it missed, even if there is room again', async (t) => {
  const manager = managerOf({}, { slowReceiver: 'drop' })
  const transport = new TestTransport()
  manager.open(transport, linesEncoding(false), { peer: { address: 'x' }, channels: ['red'] })
  transport.bufferedBytes = 1000
  manager.publish('red', 'missed')
  await nextTurn()
  transport.bufferedBytes = 10
  manager.publish('red', 'newer')
  await nextTurn()
  transport.drain()
  manager.publish('red', 'newest')
  await nextTurn()
  t.strictSame(transport.lines, ['red skipped 2', 'red newest'])
})
