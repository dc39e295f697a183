import t from 'tap'
import type { History, HistoryQuery } from '../../src/brokers/broker.ts'
import { MemoryBroker } from '../../src/brokers/memory.ts'
import { closeCodes } from '../../src/close-codes.ts'
import type { Connection } from '../../src/hub/connection.ts'
import type { ConnectionManager } from '../../src/hub/connection-manager.ts'
import { SseEncodingForSeveral } from '../../src/transports/sse-encoding.ts'
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

t.test('ids of a stream with several channels say no more than what was written before: what waited in a long flush came later, and was lost to who was cut in between', async (t) => {
  class Held extends MemoryBroker {
    release = (): void => {}
    asked = false
    override async history (channel: string, query: HistoryQuery): Promise<History> {
      const history = await super.history(channel, query)
      if (channel === 'green' && query.since) await new Promise<void>((resolve) => Object.assign(this, { release: resolve, asked: true }))
      return history
    }
  }
  const broker = new Held(1e6)
  const manager = managerOf({}, {}, broker)
  await manager.publish('green', 'green 1')
  const first = new SlowTransport()
  for (let count = 0; count < RECEIVERS; count++) manager.open(count === 0 ? first : new SlowTransport(), linesEncoding(false), { peer: { address: 'x' }, channels: ['red', 'blue'] })
  const positions = new Map([['red', await manager.position('red')], ['green', { ...await manager.position('green'), offset: 0 }]])
  const transport = new SlowTransport()
  const { subscriptions } = manager.open(transport, new SseEncodingForSeveral(positions, new Set()), { peer: { address: 'x' }, channels: ['red', 'green'] }, { positions })
  while (!broker.asked || subscriptions.size === 0) await nextTurn()
  manager.publish('red', 'red 1')
  manager.publish('blue', 'blue 1')
  while (first.lines.length === 0) await nextTurn()
  t.notOk(transport.lines.includes('data: red 1'), 'red 1 waits for it')
  broker.release()
  while (!transport.lines.includes('data: green 1')) await nextTurn()
  const offsets = transport.lines.filter((line) => line.startsWith('id: ')).map((line) => Array.from(line.matchAll(/:(\d+)/g), ([, offset]) => Number(offset)))
  t.strictSame(offsets, [[1, 0], [1, 1]])
  t.strictSame(transport.lines.filter((line) => line.startsWith('data: ')), ['data: red 1', 'data: green 1'])
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

/** A channel full of receivers, the last of which publishes, and the one before says nothing. */
function crowd (channels = ['red']): { transports: SlowTransport[], own: SlowTransport, last: SlowTransport, publisher: Connection, manager: ConnectionManager, connections: Connection[] } {
  const manager = managerOf()
  const encoding = linesEncoding(false)
  const transports = Array.from({ length: RECEIVERS }, () => new SlowTransport())
  const connections = transports.map((transport) => manager.open(transport, encoding, { peer: { address: 'x' }, channels }))
  const [own, last] = [transports.at(-1) as SlowTransport, transports.at(-2) as SlowTransport]
  return { manager, transports, connections, own, last, publisher: connections.at(-1) as Connection }
}

t.test('who publishes hears it first, and hears the next ones while the others are still written to, who get them in one', async (t) => {
  const { manager, transports, own, last, publisher } = crowd()
  let writes = 0
  last.onWrite = () => { writes++ }
  for (const number of [1, 2, 3]) {
    manager.receive(publisher, 'red', { kind: 'text', data: Buffer.from(String(number)) })
    while (own.lines.length < number) await nextTurn()
    if (number < 3) t.strictSame(last.lines, [], `${number} of 3 messages came back`)
  }
  while (last.lines.length < 3) await nextTurn()

  for (const { lines } of transports) t.strictSame(lines, ['red 1', 'red 2', 'red 3'])
  t.equal(writes, 2, 'what it said while the flush was under way came together')
})

t.test('who leaves a channel in which it has just published hears nothing more of it', async (t) => {
  const { manager, own, last, publisher } = crowd()
  manager.receive(publisher, 'red', { kind: 'text', data: Buffer.from('mine') })
  manager.unsubscribe(publisher, 'red')
  manager.publish('red', 'later')
  while (last.lines.length < 2) await nextTurn()
  t.strictSame(own.lines, ['red mine'])
})

t.test('publishers that answer to all that they hear do not keep the others from hearing it', async (t) => {
  const { manager, transports, last, connections } = crowd()
  let answers = 0
  for (const [index, transport] of transports.slice(0, 100).entries()) {
    const answer = (): void => manager.receive(connections[index] as Connection, 'red', { kind: 'text', data: Buffer.from('x') })
    transport.onWrite = () => {
      clock += WRITE_MS
      if (answers++ < 10_000) setImmediate(answer)
    }
  }
  manager.publish('red', 'first')
  while (last.lines.length < 10) await nextTurn()
  t.ok(answers < 1000, `${answers} answers until it had heard ten`)
})

t.test('very many publishers at once: the loop turns while they are written to', async (t) => {
  const { manager, transports, last, connections } = crowd()
  let [writes, most] = [0, 0]
  for (const transport of transports) {
    transport.onWrite = () => {
      clock += WRITE_MS
      most = Math.max(most, ++writes)
    }
  }
  for (const connection of connections) manager.receive(connection, 'red', { kind: 'text', data: Buffer.from('x') })
  while (last.lines.length < RECEIVERS) {
    await nextTurn()
    writes = 0
  }
  t.ok(most < RECEIVERS, `${most} writes in one turn`)
  for (const { lines } of transports) t.equal(lines.length, RECEIVERS)
})

t.test('publishers to two channels kept all others from hearing anything, as long as they answered to each other', async (t) => {
  const { manager, transports, last, connections } = crowd(NAMES)
  let answers = 0
  for (const [index, transport] of transports.slice(0, 2).entries()) {
    transport.onWrite = () => {
      clock += WRITE_MS
      // As fast as one that answers before the next turn of the loop.
      if (answers++ < 10_000) process.nextTick(() => manager.receive(connections[index] as Connection, NAMES[index] as string, { kind: 'text', data: Buffer.alloc(0) }))
    }
  }
  for (const name of NAMES) manager.publish(name, 'first')
  while (last.lines.length < 10) await nextTurn()
  t.ok(answers < 1000, `${answers} answers until it had heard ten`)
})
