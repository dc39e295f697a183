import t from 'tap'
import { linesEncoding, managerOf, nextTurn, TestTransport } from './alone.ts'

// By a clock that only writes move, and short timers that only the test lets end: each flush takes 30 ms, and nothing passes between two.
const WRITE_MS = 0.2
const RECEIVERS = 150
let clock = 0
const timers: (() => void)[] = []
t.intercept(performance, 'now', { value: () => clock })
const later = setTimeout
t.intercept(globalThis, 'setTimeout', {
  value: (callback: () => void, milliseconds: number) => milliseconds < 10 ? timers.push(callback) : later(callback, milliseconds)
})

class CountingTransport extends TestTransport {
  writes = 0
  override onWrite = (): void => {
    clock += WRITE_MS
    this.writes++
  }
}

function channelOf (receivers: number): { publish: (data: string) => void, last: CountingTransport } {
  const manager = managerOf()
  const encoding = linesEncoding(false)
  const transports = Array.from({ length: receivers }, () => new CountingTransport())
  for (const transport of transports) manager.open(transport, encoding, { peer: { address: 'x' }, channels: ['red'] })
  return { publish: (data) => manager.publish('red', data), last: transports.at(-1) as CountingTransport }
}

// More than a flush of one channel takes that waits for nothing.
async function someTurns (): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await nextTurn()
}

t.test('a lone publication soon after a long flush goes out with the next one, in one write', async (t) => {
  const { publish, last } = channelOf(RECEIVERS)
  publish('1')
  await someTurns()
  t.strictSame(last.lines, ['red 1'])
  publish('2')
  await someTurns()
  t.strictSame(last.lines, ['red 1'], 'is held back')
  publish('3')
  await someTurns()
  t.strictSame(last.lines, ['red 1', 'red 2', 'red 3'])
  t.equal(last.writes, 2)
})

t.test('it goes out by itself if nothing comes, and the next ones are not held back', async (t) => {
  const { publish, last } = channelOf(RECEIVERS)
  publish('1')
  await someTurns()
  timers.length = 0
  publish('2')
  await someTurns()
  t.equal(timers.length, 1)
  timers[0]?.()
  await someTurns()
  t.strictSame(last.lines, ['red 1', 'red 2'])
  publish('3')
  await someTurns()
  t.strictSame(last.lines, ['red 1', 'red 2', 'red 3'])
  t.equal(last.writes, 3)
})

t.test('it goes out at once after a short flush, and where the loop has had time since', async (t) => {
  const few = channelOf(4)
  const many = channelOf(RECEIVERS)
  for (const data of ['1', '2', '3']) {
    few.publish(data)
    many.publish(data)
    await someTurns()
    clock += 1000
  }
  t.strictSame(few.last.lines, ['red 1', 'red 2', 'red 3'])
  t.strictSame(many.last.lines, ['red 1', 'red 2', 'red 3'])
})
