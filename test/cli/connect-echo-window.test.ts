import t, { type Test } from 'tap'
import { EchoWindow, type EchoWindowOptions } from '../../src/cli/connect-echo-window.ts'

const [a, b, c] = ['a', 'b', 'c'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer]

interface Watched {
  window: EchoWindow
  /** Resolves when the window has given up, with whether it had seen echoes. */
  givenUp: Promise<boolean>
  reading: { is: boolean }
}

function watch (t: Test, options: EchoWindowOptions = { firstTimeout: 20, nextTimeout: 20 }): Watched {
  const reading = { is: true }
  let onGivenUp!: (hadEchoed: boolean) => void
  const givenUp = new Promise<boolean>((resolve) => { onGivenUp = resolve })
  const window = new EchoWindow({ isReading: () => reading.is, onGivenUp: (hadEchoed) => onGivenUp(hadEchoed) }, options)
  t.teardown(() => window.stop())
  return { window, givenUp, reading }
}

t.test('own messages are found among those of others, in their order', async (t) => {
  const { window } = watch(t)
  t.ok(window.settled)
  for (const data of [a, b]) window.sent(data)
  for (const data of [c, b]) window.received(Buffer.from(data))
  t.equal(window.missing, 0, 'nobody knows yet whether they come back at all')
  t.notOk(window.settled)
  window.received(Buffer.from(a))
  t.equal(window.missing, 1)
  window.received(Buffer.from(b))
  t.ok(window.settled)
})

t.test('there is room for 256 KiB, and always for one message', async (t) => {
  const { window } = watch(t)
  t.ok(window.hasRoom(1_000_000))
  const data = Buffer.alloc(128 * 1024 - 32)
  window.sent(data)
  t.ok(window.hasRoom(data.length))
  t.notOk(window.hasRoom(data.length + 1))
  window.sent(data)
  t.notOk(window.hasRoom(0))
  window.received(data)
  t.ok(window.hasRoom(data.length))
})

t.test('empty messages take room too', async (t) => {
  const { window } = watch(t)
  let sent = 0
  while (window.hasRoom(0)) {
    window.sent(Buffer.alloc(0))
    sent++
  }
  t.equal(sent, 8192)
})

t.test('a server that sends nothing back is not waited for', async (t) => {
  const { window, givenUp } = watch(t)
  for (const data of [a, b]) window.sent(data)
  t.equal(await givenUp, false)
  t.ok(window.settled)
  t.equal(window.missing, 0)
})

t.test('nor is one that is known not to', async (t) => {
  const { window } = watch(t, { echoes: false })
  window.sent(a)
  t.ok(window.settled)
  window.received(a)
  t.ok(window.settled)
})

t.test('a server that stops sending back is given up, too', async (t) => {
  const { window, givenUp } = watch(t)
  for (const data of [a, b]) window.sent(data)
  window.received(a)
  t.equal(await givenUp, true)
  t.ok(window.settled)
})

t.test('silence means nothing as long as nothing is read', async (t) => {
  const { window, givenUp, reading } = watch(t)
  reading.is = false
  window.sent(a)
  let asked = 0
  Object.defineProperty(reading, 'is', { get: () => ++asked > 3 })
  await givenUp
  t.equal(asked, 4)
})

t.test('a server that was only slow is waited for again, up to the last message', async (t) => {
  const { window, givenUp } = watch(t, { firstTimeout: 20, nextTimeout: 10_000 })
  window.sent(a)
  await givenUp
  for (const data of [b, c]) window.sent(data)
  for (const data of [c, a]) window.received(Buffer.from(data))
  t.notOk(window.settled)
  t.equal(window.missing, 1)
  window.received(b)
  t.notOk(window.settled)
  window.received(c)
  t.ok(window.settled)
})
