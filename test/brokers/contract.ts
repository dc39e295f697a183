import type { Test } from 'tap'
import type { Broker, BrokerListener } from '../../src/brokers/broker.ts'
import type { Position, Publication } from '../../src/hub/publication.ts'
import { until } from '../helper.ts'

/** A broker, and what it has told its node. */
export class Node {
  readonly broker: Broker
  readonly heard = new Map<string, Publication[]>()
  readonly lost: string[] = []
  readonly control: string[] = []

  constructor (broker: Broker) {
    this.broker = broker
  }

  async start (t: Test): Promise<this> {
    t.teardown(() => this.broker.close())
    await this.broker.start({
      deliver: (channel, publications) => { this.heard.set(channel, [...this.heard.get(channel) ?? [], ...publications]) },
      lost: (channel) => { this.lost.push(channel) },
      control: (message) => { this.control.push(message) },
      reachable: () => {}
    } satisfies BrokerListener)
    await until(() => this.broker.trouble === undefined)
    return this
  }

  texts (channel: string): string[] {
    return (this.heard.get(channel) ?? []).map(({ data }) => String(data))
  }

  async publish (channel: string, text: string, options: Partial<Parameters<Broker['publish']>[2]> = {}): Promise<Position> {
    return this.broker.publish(channel, textOf(text), { historySize: 100, historyTtl: 60, ...options })
  }
}

export const textOf = (text: string): Publication => ({ kind: 'text', data: Buffer.from(text) })

let channels = 0

/**
 * What every broker must do. Run for each implementation.
 *
 * @param make a new broker that works with the same store as the ones made before in the same test
 */
export async function brokerContract (t: Test, make: () => Broker): Promise<void> {
  const unique = (): string => `contract:${process.pid}:${++channels}`

  t.test('offsets count from 1 in one epoch, and publications come back in their order', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    await node.broker.subscribe(channel)
    const positions = await Promise.all(Array.from({ length: 100 }, (_none, index) => node.publish(channel, `m${index}`)))
    t.same(positions.map(({ offset }) => offset), Array.from({ length: 100 }, (_none, index) => index + 1))
    t.equal(new Set(positions.map(({ epoch }) => epoch)).size, 1)
    await until(() => node.texts(channel).length === 100)
    t.same(node.texts(channel), Array.from({ length: 100 }, (_none, index) => `m${index}`))
    t.same(node.heard.get(channel)?.map(({ position }) => position), positions)
  })

  t.test('everything of a publication comes back: kind, data, publisher and tags', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    await node.broker.subscribe(channel)
    const publications: Publication[] = [
      { kind: 'text', data: Buffer.from('Grüße, 世界 \u0000 \r\n') },
      { kind: 'binary', data: Buffer.from(Array.from({ length: 256 }, (_none, index) => index)), from: 'somebody' },
      { kind: 'json', data: Buffer.from('{"a":[1,2,{}]}'), tags: { lang: 'de', ü: '✓' } },
      { kind: 'json', data: Buffer.from('1'), tags: { long: 'x'.repeat(70_000) } },
      { kind: 'json', data: Buffer.from('2'), from: 'a client', by: { client: 'a client', user: 'ada', info: { name: 'Ada' }, channelInfo: [1] } },
      { kind: 'text', data: Buffer.alloc(0) },
      { kind: 'binary', data: Buffer.alloc(300_000, 7) }
    ]
    for (const publication of publications) await node.broker.publish(channel, publication, { historySize: 10, historyTtl: 60 })
    await until(() => node.heard.get(channel)?.length === publications.length)
    const plainly = (all: readonly Publication[]): unknown => all.map(({ kind, data, from, by, tags }) => ({ kind, data: data.toString('hex'), from, by, tags }))
    t.same(plainly(node.heard.get(channel) ?? []), plainly(publications))
    t.same(plainly((await node.broker.history(channel, { limit: Infinity })).publications), plainly(publications))
  })

  t.test('history: forwards, backwards, since, limited, and what is too old is gone', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    for (let index = 1; index <= 12; index++) await node.publish(channel, `m${index}`, { historySize: 10 })
    const { position, publications } = await node.broker.history(channel, { limit: Infinity })
    const texts = async (query: Parameters<Broker['history']>[1]): Promise<unknown> => {
      const { publications, continuous } = await node.broker.history(channel, query)
      return [publications.map(({ data }) => String(data)).join(' '), continuous]
    }
    const at = (offset: number, epoch = position.epoch): Position => ({ offset, epoch })
    t.equal(position.offset, 12)
    t.same(publications.map(({ position }) => position?.offset), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    t.same(await texts({ limit: 0 }), ['', true])
    t.same(await texts({ limit: 2 }), ['m3 m4', true])
    t.same(await texts({ limit: 2, reverse: true }), ['m12 m11', true])
    t.same(await texts({ limit: Infinity, since: at(9) }), ['m10 m11 m12', true])
    t.same(await texts({ limit: 1, since: at(9) }), ['m10', true])
    t.same(await texts({ limit: 2, since: at(9), reverse: true }), ['m8 m7', true])
    t.same(await texts({ limit: 2, since: at(1), reverse: true }), ['', true])
    t.same(await texts({ limit: 10, last: 2 }), ['m11 m12', true])
    t.same(await texts({ limit: 1, last: 2 }), ['m11', true])
    t.same(await texts({ limit: 10, last: 0 }), ['', true])
    t.same(await texts({ limit: 10, last: 1000, maxBytes: 1 }), ['m3', true], 'one at least')
    t.same(await texts({ limit: 10, reverse: true, maxBytes: 1 }), ['m12', true])
    const isCut = async (query: Parameters<Broker['history']>[1]): Promise<boolean | undefined> => (await node.broker.history(channel, query)).cut
    for (const reverse of [false, true]) {
      t.equal(await isCut({ limit: 10, reverse, maxBytes: 1 }), true, 'it says that there is more')
      for (const query of [{ limit: 10 }, { limit: 1, maxBytes: 1 }, { limit: 0, maxBytes: 1 }, { limit: 10, maxBytes: 10_000 }]) t.notOk(await isCut({ ...query, reverse }))
    }
    t.same(await texts({ limit: 10, since: at(12) }), ['', true], 'nothing was missed')
    t.same(await texts({ limit: 10, since: at(2) }), ['m3 m4 m5 m6 m7 m8 m9 m10 m11 m12', true], 'just enough is there')
    t.same((await texts({ limit: 10, since: at(1) }) as unknown[])[1], false, 'm2 is gone')
    t.same((await texts({ limit: 10, since: at(13) }) as unknown[])[1], false, 'ahead of the channel')
    t.same((await texts({ limit: 10, since: at(12, 'other') }) as unknown[])[1], false, 'another epoch')
  })

  t.test('a history is exact also where much was published at once', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    await Promise.all(Array.from({ length: 300 }, (_none, index) => node.publish(channel, String(index + 1), { historySize: 10 })))
    const { position: { epoch } } = await node.broker.history(channel, { limit: 0 })
    const texts = async (query: Parameters<Broker['history']>[1]): Promise<string> =>
      (await node.broker.history(channel, query)).publications.map(({ data }) => String(data)).join(' ')
    t.equal(await texts({ limit: Infinity }), '291 292 293 294 295 296 297 298 299 300')
    t.equal(await texts({ limit: 2 }), '291 292')
    t.equal(await texts({ limit: 2, reverse: true }), '300 299')
    t.equal(await texts({ limit: 10, last: 3 }), '298 299 300')
    t.equal(await texts({ limit: 2, last: 3 }), '298 299', 'the first of the last')
    t.equal(await texts({ limit: 2, last: 300 }), '291 292')
    t.equal(await texts({ limit: 2, since: { epoch, offset: 295 } }), '296 297')
    t.equal(await texts({ limit: 2, since: { epoch, offset: 295 }, reverse: true }), '294 293')
    t.equal((await node.broker.history(channel, { limit: 10, since: { epoch, offset: 289 } })).continuous, false)
    t.equal((await node.broker.history(channel, { limit: 10, since: { epoch, offset: 290 } })).continuous, true)
  })

  t.test('the last of a history are not more than was asked for, where calls had different sizes', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 1 + round % 7 }, () => node.publish(channel, 'x', { historySize: 60 })))
    const { position } = await node.broker.history(channel, { limit: 0 })
    for (const last of [1, 7, 20, 59]) {
      const { publications } = await node.broker.history(channel, { last, limit: 5 })
      t.equal(publications[0]?.position?.offset, position.offset - last + 1, `of the last ${last}`)
    }
  })

  t.test('history is gone after its time, the position is not', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    const position = await node.publish(channel, 'x', { historyTtl: 2 })
    t.equal((await node.broker.history(channel, { limit: 10 })).publications.length, 1)
    await until(async () => (await node.broker.history(channel, { limit: 10 })).publications.length === 0)
    t.same((await node.broker.history(channel, { limit: 10 })).position, position)
    t.equal((await node.broker.history(channel, { limit: 10, since: position })).continuous, true)
    t.equal((await node.broker.history(channel, { limit: 10, since: { ...position, offset: 0 } })).continuous, false)
    t.same(await node.publish(channel, 'y'), { ...position, offset: 2 })
  })

  t.test('without history nothing is kept, and offsets go on', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    await node.broker.subscribe(channel)
    await node.publish(channel, 'a', { historySize: 0 })
    const position = await node.publish(channel, 'b', { historyTtl: 0 })
    await until(() => node.texts(channel).length === 2)
    t.equal(position.offset, 2)
    t.same((await node.broker.history(channel, { limit: 10 })).publications, [])
    t.equal((await node.broker.history(channel, { limit: 10, since: { ...position, offset: 1 } })).continuous, false)
  })

  t.test('removed history is gone, the position is not', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    const position = await node.publish(channel, 'x')
    await node.broker.removeHistory(channel)
    t.match(await node.broker.history(channel, { limit: 10 }), { publications: [], position })
    t.equal((await node.publish(channel, 'y')).offset, 2)
    t.equal((await node.broker.history(channel, { limit: 10, since: position })).continuous, true)
  })

  t.test('what goes past the history has no position and leaves no hole', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    await node.broker.subscribe(channel)
    await Promise.all([node.publish(channel, 'a'), node.publish(channel, 'passing', { skipHistory: true }), node.publish(channel, 'b')])
    await until(() => node.texts(channel).length === 3)
    t.same(node.texts(channel), ['a', 'passing', 'b'])
    t.same(node.heard.get(channel)?.map(({ position }) => position?.offset), [1, undefined, 2])
    t.same((await node.broker.history(channel, { limit: 10 })).publications.map(({ data }) => String(data)), ['a', 'b'])
  })

  t.test('an idempotency key publishes once, whoever uses it when', async (t) => {
    const node = await new Node(make()).start(t)
    const [channel, other] = [unique(), unique()]
    await node.broker.subscribe(channel)
    const same = await Promise.all(Array.from({ length: 5 }, () => node.publish(channel, 'x', { idempotencyKey: 'k' })))
    t.equal(new Set(same.map(({ offset }) => offset)).size, 1)
    t.same(await node.publish(channel, 'x', { idempotencyKey: 'k' }), same[0])
    t.equal((await node.publish(channel, 'y', { idempotencyKey: 'l' })).offset, 2)
    t.equal((await node.publish(other, 'x', { idempotencyKey: 'k' })).offset, 1, 'keys belong to a channel')
    await until(() => node.texts(channel).length >= 2)
    t.same(node.texts(channel), ['x', 'y'])
  })

  t.test('channels do not mix, whatever they are called', async (t) => {
    const node = await new Node(make()).start(t)
    const base = unique()
    const names = ['', ':', '{', '}', '{}', '}{', '*', '?', '[a]', '%', '%7D', '%25', ' ', '\\', '"', '}:meta', ':stream', 'ü', '✓'.repeat(50)].map((name) => `${name}${base}${name}`)
    for (const name of names) await node.broker.subscribe(name)
    const positions = await Promise.all(names.map((name) => node.publish(name, name)))
    t.ok(positions.every(({ offset }) => offset === 1))
    await until(() => names.every((name) => node.texts(name).length === 1))
    for (const name of names) {
      t.same(node.texts(name), [name])
      t.same((await node.broker.history(name, { limit: 10 })).publications.map(({ data }) => String(data)), [name])
    }
  })

  t.test('presence: who has come and who has gone', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    const [ada, bob] = [{ client: '1', user: 'ada' }, { client: '2', user: '' }]
    const clients = async (): Promise<string[]> => (await node.broker.presence(channel)).map(({ client, user }) => `${client}${user}`).sort()
    await node.broker.updatePresence(channel, { joined: [ada, bob], left: [] }, 60)
    t.same(await clients(), ['1ada', '2'])
    await node.broker.updatePresence(channel, { joined: [ada], left: ['2', 'nobody'] }, 60)
    t.same(await clients(), ['1ada'])
    await node.broker.updatePresence(channel, { joined: [], left: ['1'] }, 60)
    t.same(await clients(), [])
  })

  t.test('what nodes send each other arrives', async (t) => {
    const node = await new Node(make()).start(t)
    await node.broker.send('{"hello":"world"}')
    await until(() => node.control.length > 0)
    t.same(node.control, ['{"hello":"world"}'])
  })

  t.test('what history returns has been delivered before, while others publish', async (t) => {
    const node = await new Node(make()).start(t)
    const channel = unique()
    await node.broker.subscribe(channel)
    let behind = 0
    for (let round = 0; round < 200; round++) {
      const published = [node.publish(channel, `${round}a`), node.publish(channel, `${round}b`)]
      const { position } = await node.broker.history(channel, { limit: 1000 })
      if ((node.heard.get(channel)?.at(-1)?.position?.offset ?? 0) < position.offset) behind++
      await Promise.all(published)
    }
    t.equal(behind, 0)
  })
}
