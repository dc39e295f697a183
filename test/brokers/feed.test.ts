import t from 'tap'
import type { History } from '../../src/brokers/broker.ts'
import { Feed } from '../../src/brokers/feed.ts'

// What a real Redis does only by chance: an answer that was made before a subscription took effect, and is read after that.

t.test('a fetch that was under way when the fast way was interrupted counted as a look at what came after: it looks again', async (t) => {
  const answers: ((history: History) => void)[] = []
  const delivered: string[] = []
  const at = (offset: number, ...texts: string[]): History => ({
    publications: texts.map((text, index) => ({ kind: 'text', data: Buffer.from(text), position: { epoch: 'e', offset: offset - texts.length + index + 1 } })),
    position: { epoch: 'e', offset },
    continuous: true
  })
  const feed = new Feed('a', () => new Promise((resolve) => { answers.push(resolve) }), {
    deliver: (_channel: string, publications: readonly { data: Buffer }[]) => { delivered.push(...publications.map(({ data }) => String(data))) },
    lost: () => t.fail('nothing is lost')
  } as unknown as ConstructorParameters<typeof Feed>[2])
  const first = feed.fetch()
  answers[0]?.(at(0))
  await first
  const fetched = feed.fetch()
  feed.doubt()
  answers[1]?.(at(1, 'one'))
  await new Promise(setImmediate)
  t.notOk(feed.live, 'it is not known yet what came after')
  answers[2]?.(at(2, 'two'))
  await fetched
  t.ok(feed.live)
  t.strictSame(delivered, ['one', 'two'])
})
