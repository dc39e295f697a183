import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { MemoryBroker } from '../../src/brokers/memory.ts'
import { closeCodes } from '../../src/close-codes.ts'
import type { Connection } from '../../src/hub/connection.ts'
import type { Encoding } from '../../src/hub/encoding.ts'
import { linesEncoding, managerOf, nextTurn, TestTransport } from './alone.ts'

/** One client, and what it should have heard if it kept up: the model. */
interface Modelled { connection: Connection, transport: TestTransport, channels: Map<string, boolean>, expected: string[], whole: boolean }

const CHANNELS = ['red', 'green', 'blue']
// More than are written to at once.
const CROWD = 70
const channel = fc.constantFrom(...CHANNELS)
const who = fc.nat(5)
const step = fc.oneof(
  fc.record({ do: fc.constant('open' as const), channel, echo: fc.boolean(), slowEncoding: fc.boolean() }),
  fc.record({ do: fc.constant('join' as const), who, channel, echo: fc.boolean() }),
  fc.record({ do: fc.constant('leave' as const), who, channel }),
  fc.record({ do: fc.constant('publish' as const), channel, times: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant('receive' as const), who, channel }),
  fc.record({ do: fc.constant('reply' as const), who }),
  fc.record({ do: fc.constant('answer' as const), who, channel }),
  fc.record({ do: fc.constant('stall' as const), who }),
  fc.record({ do: fc.constant('drain' as const), who }),
  fc.record({ do: fc.constant('die' as const), who }),
  fc.record({ do: fc.constant('close' as const), who }),
  fc.record({ do: fc.constant('turn' as const) })
)

t.test('joins, leaves, publications, replies, stalls and deaths in any order: everyone hears what the model says', async (t) => {
  const encodings = [linesEncoding(false), linesEncoding(true)]
  // So slow that flushes take several turns as soon as the crowd is there.
  let clock = 0
  t.intercept(performance, 'now', { value: () => { clock += 0.1; return clock } })
  // What is held back for more to come goes out a turn later.
  t.intercept(globalThis, 'setTimeout', { value: setImmediate })
  const onWrite = (): void => { clock += 0.2 }
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 0, 0, CROWD), async (steps, size) => {
    const manager = managerOf()
    const all: Modelled[] = []
    const crowd = Array.from({ length: size }, (): Modelled => {
      const transport = Object.assign(new TestTransport(), { onWrite })
      const connection = manager.open(transport, encodings[0] as Encoding, { peer: { address: 'x' }, channels: CHANNELS })
      return { connection, transport, channels: new Map(CHANNELS.map((name) => [name, true])), expected: [], whole: true }
    })
    let number = 0

    function hear (name: string, text: string, from?: Connection): void {
      for (const one of [...crowd, ...all]) {
        const echo = one.connection.open ? one.channels.get(name) : undefined
        if (echo !== undefined && (echo || one.connection !== from)) one.expected.push(`${name} ${text}`)
      }
    }

    for (const it of steps) {
      const one = 'who' in it ? all[it.who] : undefined
      if (it.do === 'turn') await nextTurn()
      if (it.do === 'open') {
        const transport = new TestTransport()
        const connection = manager.open(transport, encodings[Number(it.slowEncoding)] as Encoding, { peer: { address: 'x' }, channels: [it.channel] }, it)
        all.push({ connection, transport, channels: new Map([[it.channel, it.echo]]), expected: [], whole: true })
      }
      if (it.do === 'publish') {
        for (let time = 0; time < it.times; time++) {
          const text = `p${number++}`
          hear(it.channel, text)
          manager.publish(it.channel, text)
        }
      }
      if (!one?.connection.open) continue
      if (it.do === 'join') {
        manager.subscribe(one.connection, it.channel, it)
        if (!one.channels.has(it.channel)) one.channels.set(it.channel, it.echo)
      }
      if (it.do === 'leave') {
        manager.unsubscribe(one.connection, it.channel)
        one.channels.delete(it.channel)
      }
      if (it.do === 'receive') {
        const text = `r${number++}`
        hear(it.channel, text, one.connection)
        manager.receive(one.connection, it.channel, { kind: 'text', data: Buffer.from(text) })
      }
      if (it.do === 'reply') {
        manager.send(one.connection, Buffer.from(`reply ${++number}\n`))
        one.expected.push(`reply ${number}`)
      }
      if (it.do === 'answer' && one.channels.get(it.channel)) {
        manager.answer(one.connection, it.channel, Buffer.from(`${it.channel} answer ${++number}\n`))
        one.expected.push(`${it.channel} answer ${number}`)
      }
      if (it.do === 'stall') one.transport.stalled = true
      if (it.do === 'drain') one.transport.drain()
      if (it.do === 'die') {
        manager.closed(one.connection, 1006)
        one.whole = false
      }
      if (it.do === 'close') manager.close(one.connection, closeCodes.disconnected)
    }
    for (let turn = 0; turn < 8 + 4 * size; turn++) await nextTurn()

    for (const { transport, connection, expected, whole } of [...crowd, ...all]) {
      // One channel's messages keep their order; those of different channels may change places until a reply.
      const complete = whole && transport.closedWith !== closeCodes.slow.code
      for (const name of CHANNELS) {
        const heard = transport.lines.filter((line) => line.startsWith(`${name} `) || line.startsWith('reply'))
        const due = expected.filter((line) => line.startsWith(`${name} `) || line.startsWith('reply'))
        assert.deepEqual(heard, complete ? due : due.slice(0, heard.length))
      }
      if (transport.closedWith === closeCodes.slow.code) assert.equal(connection.open, false)
    }
    const open = [...crowd, ...all].filter(({ connection }) => connection.open)
    assert.equal(manager.count, open.length)
    const counts = Object.fromEntries(CHANNELS.map((name) => [name, open.filter(({ channels }) => channels.has(name)).length]).filter(([, count]) => count))
    assert.deepEqual(Object.fromEntries(await manager.channels()), counts)
  }), { numRuns: 300 })
})

t.test('a flush of very many receivers lets the loop turn, and keeps the order for who joins, leaves or is told something between', async (t) => {
  const manager = managerOf()
  const encoding = linesEncoding(false)
  const transports = Array.from({ length: 500 }, () => new TestTransport())
  const connections = transports.map((transport) => manager.open(transport, encoding, { peer: { address: 'x' }, channels: ['red'] }))
  // As if each write took 0.2 ms: 500 of them are 100 ms.
  for (const transport of transports) transport.onWrite = () => { for (const end = performance.now() + 0.2; performance.now() < end;); }
  for (let number = 0; number < 3; number++) manager.publish('red', `first ${number}`)
  let turns = 0
  const late = new TestTransport()
  const last = transports.at(-1) as TestTransport
  while (last.lines.length === 0) {
    await nextTurn()
    if (turns++ === 1) {
      manager.publish('red', 'second')
      manager.open(late, encoding, { peer: { address: 'x' }, channels: ['red'] })
      manager.publish('red', 'third')
      manager.send(connections[400] as Connection, Buffer.from('reply\n'))
      manager.unsubscribe(connections[450] as Connection, 'red')
      manager.closed(connections[460] as Connection, 1006)
    }
  }
  t.ok(turns > 5, `the loop turned ${turns} times meanwhile`)
  while (last.lines.length < 5) await nextTurn()
  const all = ['red first 0', 'red first 1', 'red first 2', 'red second', 'red third']
  for (const [index, { lines }] of transports.entries()) {
    if (index === 400) t.strictSame(lines, [...all, 'reply'])
    else if (index === 460) t.strictSame(lines, [])
    else t.strictSame(lines, all)
  }
  t.strictSame(late.lines, ['red third'])
})

t.test('a connection that several channels reach in one flush is written to once', async (t) => {
  const manager = managerOf()
  const transport = new TestTransport()
  let writes = 0
  transport.onWrite = () => { writes++ }
  manager.open(transport, linesEncoding(false), { peer: { address: 'x' }, channels: CHANNELS })
  for (const name of CHANNELS) manager.publish(name, 'x')
  await nextTurn()
  t.equal(writes, 1)
  t.strictSame(transport.lines, CHANNELS.map((name) => `${name} x`))
  manager.publish('red', 'alone')
  await nextTurn()
  t.equal(writes, 2)
  t.equal(transport.lines.at(-1), 'red alone')
})

t.test('nodes that stop refuse newcomers, and stop once', async (t) => {
  const manager = managerOf()
  const transport = new TestTransport()
  manager.open(transport, linesEncoding(false), { peer: { address: 'x' }, channels: ['red'] })
  t.equal(manager.refusalOf({ address: 'x' }, ['red']), undefined)
  await Promise.all([manager.drain(1), manager.drain(1)])
  t.equal(transport.closedWith, 1012)
  t.match(manager.refusalOf({ address: 'x' }, ['red']), { code: 'FANFARE_STOPPING', statusCode: 503 })
})

t.test('a message that the broker refuses closes its sender with 1013, and rejects a publish from code', async (t) => {
  // A broker that cannot: what Redis will do when it is away.
  const broker = new MemoryBroker(1e6)
  broker.publish = async () => { throw new Error('away') }
  const manager = managerOf({}, {}, broker)
  const transport = new TestTransport()
  const connection = manager.open(transport, linesEncoding(false), { peer: { address: 'x' }, channels: ['red'] })
  manager.receive(connection, 'red', { kind: 'text', data: Buffer.from('x') })
  await nextTurn()
  t.equal(transport.closedWith, 1013)
  await t.rejects(manager.publish('red', 'x'), { message: 'away' })
})

t.test('what a throttled client sends while the node is already stopping is published before it is closed', async (t) => {
  const manager = managerOf({ messageRate: 1 })
  // More than are closed at once, so that the last one is still open when it sends.
  const transports = Array.from({ length: 150 }, () => new TestTransport())
  const connections = transports.map((transport, index) => manager.open(transport, linesEncoding(false), { peer: { address: 'x' }, channels: index < 148 ? ['other'] : ['red'] }))
  const [listener, sender] = [transports.at(-2) as TestTransport, connections.at(-1) as Connection]
  const drained = manager.drain(10)
  for (let number = 0; number < 3; number++) manager.receive(sender, 'red', { kind: 'text', data: Buffer.from(String(number)) })
  await drained
  const own = transports.at(-1) as TestTransport
  t.strictSame(own.lines, ['red 0', 'red 1', 'red 2'])
  t.equal(listener.closedWith, 1012)
})
