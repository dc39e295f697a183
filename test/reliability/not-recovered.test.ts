import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { Position } from '../../src/hub/publication.ts'
import { connect, until } from '../helper.ts'
import { apiOf } from '../routes/api-client.ts'
import { addressSince, positionOf, recorderOf, shuffled, startNode, startTwoNodes, type Nodes } from './nodes.ts'
import { Publisher, publishAll } from './publisher.ts'
import type { Heard } from './recorder.ts'

const WINDOW = 100
const PUBLISHED = 250
// The window is 0.1 s long.
const RATE = 1000
const NOT_RECOVERED = 3010

/** What those who came back with positions that are lost were told: `told` of `asked` by 3010, `partial` only after some publications. */
class Tally {
  readonly #t: Test
  asked = 0
  told = 0
  partial = 0

  constructor (t: Test) {
    this.#t = t
  }

  /** Comes back with a position that nobody can recover from. */
  async comeBack (wsUrl: string, channel: string, positions: readonly Position[]): Promise<void> {
    await Promise.all(positions.map(async (position) => {
      const { code, heard } = await hear(this.#t, addressSince(wsUrl, channel, position), Infinity)
      this.asked++
      if (code === NOT_RECOVERED) this.told++
      if (heard.length > 0) this.partial++
    }))
  }

  prove (where: string): void {
    this.#t.comment(`${where}: ${this.asked} came back, ${this.told} were told "not recovered", ${this.partial} after a part`)
    this.#t.equal(this.told, this.asked)
    this.#t.equal(this.partial, 0)
  }
}

/** Hears so many publications, or all until it is closed. */
async function hear (t: Test, address: string, count: number): Promise<{ code: number | undefined, heard: Heard[] }> {
  const ws = new WebSocket(address, { perMessageDeflate: false })
  t.teardown(() => ws.terminate())
  const heard: Heard[] = []
  const closed = once(ws, 'close') as Promise<[number]>
  const enough = new Promise<undefined>((resolve) => {
    ws.on('message', (data: Buffer) => { if (heard.push(JSON.parse(String(data)) as Heard) === count) resolve(undefined) })
    ws.on('open', () => { if (count === 0) resolve(undefined) })
  })
  const end = await Promise.race([closed, enough])
  ws.terminate()
  return { code: end?.[0], heard }
}

async function publish (url: string, channel: string, count: number): Promise<void> {
  await publishAll(url, Array.from({ length: count }, (_none, index) => ({ channel, data: `m${index + 1}` })), false)
}

const offsets = ({ epoch }: Position, from: number, to: number): Position[] =>
  Array.from({ length: to - from + 1 }, (_none, index) => ({ epoch, offset: from + index }))

async function proveWindow (t: Test, nodes: Nodes): Promise<void> {
  await publish(nodes[0].url, 'window', PUBLISHED)
  const end = await positionOf(nodes[0].url, 'window')
  const [outside, ahead, inside] = [new Tally(t), new Tally(t), offsets(end, PUBLISHED - WINDOW, PUBLISHED)]
  let whole = 0
  for (const { wsUrl } of nodes) {
    await outside.comeBack(wsUrl, 'window', offsets(end, 0, PUBLISHED - WINDOW - 1))
    await ahead.comeBack(wsUrl, 'window', [...offsets(end, PUBLISHED + 1, PUBLISHED + 50), { ...end, offset: 999_999_999_999_999 }])
    await Promise.all(inside.map(async (position) => {
      const wanted = offsets(end, position.offset + 1, PUBLISHED).map(({ offset }) => `${offset} m${offset}`)
      const { code, heard } = await hear(t, addressSince(wsUrl, 'window', position), wanted.length)
      if (code === undefined && heard.map(({ offset, data }) => `${offset} ${data}`).join() === wanted.join()) whole++
    }))
  }
  outside.prove('outside the window')
  ahead.prove('ahead of the server')
  t.comment(`inside the window: ${nodes.length * inside.length} came back, ${whole} recovered whole`)
  t.equal(whole, nodes.length * inside.length)
}

async function proveMovingWindow (t: Test, nodes: Nodes): Promise<void> {
  const recorder = await recorderOf(nodes[0].url, 'moving')
  const publisher = new Publisher(recorder, 'moving', 'p', [nodes[0].url]).start(RATE)
  const [recovered, told, wrong] = [new Set<string>(), new Set<string>(), new Set<string>()]
  await recorder.reaches(2 * WINDOW)
  while (recovered.size + told.size + wrong.size < 600 || recovered.size === 0 || told.size === 0) {
    const positions = offsets(recorder.start, recorder.end - 2 * WINDOW, recorder.end).filter(({ offset }) => offset % 4 === 0)
    await Promise.all(positions.map(async (position) => {
      const [{ wsUrl }] = shuffled(nodes)
      const { code, heard } = await hear(t, addressSince(wsUrl, 'moving', position), WINDOW + 50)
      const holes = heard.some(({ offset }, index) => offset !== position.offset + 1 + index)
      const outcome = holes ? wrong : code === undefined ? recovered : code === NOT_RECOVERED ? told : wrong
      outcome.add(`${position.offset} ${wsUrl}`)
    }))
  }
  await publisher.stop()
  t.comment(`${recovered.size} recovered without a gap, ${told.size} were told "not recovered", ${wrong.size} neither`)
  t.equal(wrong.size, 0)
}

async function proveNoHistory (t: Test, nodes: Nodes): Promise<void> {
  const api = apiOf(nodes[0].url)
  const tally = new Tally(t)
  for (const channel of ['brief', 'removed']) {
    await publish(nodes[0].url, channel, 50)
    const end = await positionOf(nodes[0].url, channel)
    if (channel === 'removed') await api('history_remove', { channel })
    else await until(async () => ((await api('history', { channel, limit: 1 })).publications as unknown[]).length === 0)
    const going = await Promise.all(nodes.map(async ({ wsUrl }) => connect(t, addressSince(wsUrl, channel, end))))
    for (const { wsUrl } of nodes) await tally.comeBack(wsUrl, channel, offsets(end, 0, 49))
    await publish(nodes[0].url, channel, 1)
    for (const client of going) t.match((await client.hears(1))[0], /"offset":51,/, 'who missed nothing goes on')
  }
  tally.prove('without a history')
}

async function proveNewEpoch (t: Test, [{ url }]: Nodes, restart: () => Promise<Nodes>): Promise<void> {
  await publish(url, 'epoch', 50)
  const end = await positionOf(url, 'epoch')
  const nodes = await restart()
  const tally = new Tally(t)
  for (const { wsUrl } of nodes) await tally.comeBack(wsUrl, 'epoch', offsets(end, 0, 50))
  // As far as before.
  await publish(nodes[0].url, 'epoch', 50)
  for (const { wsUrl } of nodes) await tally.comeBack(wsUrl, 'epoch', offsets(end, 0, 50))
  tally.prove('in another epoch')
}

const CASES = {
  'position outside the window, or ahead of the server: all told "not recovered", no partial recovery; all inside the window recovered whole': proveWindow,
  'position that leaves the window under load: recovered without a gap, or told "not recovered"': proveMovingWindow,
  'history whose time is over, or that was removed: all told "not recovered", no partial recovery': proveNoHistory
}

function settings (t: Test): NodeJS.ProcessEnv {
  const file = t.testdir({ 'channels.json': JSON.stringify([{ match: 'brief', historyTtl: 1 }]) })
  return { HISTORY_SIZE: String(WINDOW), CHANNELS_FILE: `${file}/channels.json` }
}

t.test('memory', { timeout: 200_000 }, async (t) => {
  const node = await startNode(t, settings(t))
  for (const [name, prove] of Object.entries(CASES)) await t.test(name, (t) => prove(t, [node]))
  await t.test('epoch changed, as the server was started again: all told "not recovered", no partial recovery', (t) => proveNewEpoch(t, [node], async () => {
    node.child.kill('SIGKILL')
    return [await startNode(t)]
  }))
})

t.test('Redis', { timeout: 200_000 }, async (t) => {
  const { nodes, redis } = await startTwoNodes(t, settings(t))
  for (const [name, prove] of Object.entries(CASES)) await t.test(name, (t) => prove(t, nodes))
  await t.test('epoch changed by FLUSHALL: all told "not recovered" on both nodes, no partial recovery', (t) => proveNewEpoch(t, nodes, async () => {
    redis.cli('flushall')
    return nodes
  }))
})
