import { PassThrough, Readable } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import { readLines } from '../../src/cli/line-source.ts'

async function linesOf (chunks: Buffer[], maxBytes?: number): Promise<string[]> {
  const lines: string[] = []
  for await (const line of readLines(Readable.from(chunks), maxBytes)) lines.push(line.toString('latin1'))
  return lines
}

t.test('lines are the same however the bytes arrive', async (t) => {
  const bytes = fc.array(fc.constantFrom('a', 'b', '\r', '\n', 'é', '\0')).map((characters) => Buffer.from(characters.join('')))
  await t.resolves(fc.assert(fc.asyncProperty(fc.array(bytes), async (chunks) => {
    const whole = Buffer.concat(chunks).toString('latin1')
    const expected = whole.split('\n').map((line, index, all) => index < all.length - 1 && line.endsWith('\r') ? line.slice(0, -1) : line)
    if (expected.at(-1) === '') expected.pop()
    const lines = await linesOf(chunks.filter((chunk) => chunk.length > 0))
    if (JSON.stringify(lines) !== JSON.stringify(expected)) throw new Error(`${JSON.stringify(lines)} for ${JSON.stringify(whole)}`)
  })))
})

t.test('a line longer than the limit is refused before it is in memory', async (t) => {
  t.strictSame(await linesOf([Buffer.from('12345'), Buffer.from('\n12345\n')], 5), ['12345', '12345'])
  await t.rejects(linesOf([Buffer.from('123\n12345'), Buffer.from('6')], 5), { message: 'a line is longer than 5 bytes' })
})

t.test('no more is read than lines are taken, and leaving early ends the stream', async (t) => {
  let given = 0
  const stream = Readable.from((function * () {
    for (; given < 100; given++) yield Buffer.from(`${given}\n`)
  })())
  const lines = readLines(stream)
  t.equal(String((await lines.next()).value), '0')
  t.equal(String((await lines.next()).value), '1')
  t.ok(given < 5, `${given} chunks were read for two lines`)
  await lines.return(undefined)
  t.ok(stream.destroyed)
})

t.test('an error of the stream is an error of the lines', async (t) => {
  const stream = new PassThrough()
  stream.destroy(new Error('unplugged'))
  await t.rejects(async () => { for await (const line of readLines(stream)) t.fail(String(line)) }, { message: 'unplugged' })
})
