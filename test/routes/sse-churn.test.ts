import t from 'tap'
import { start } from '../helper.ts'
import { listenTo, type SseOptions } from '../sse-client.ts'

const PER_SECOND = 1000
const SECONDS = 4
const TURN_MS = 10

function offsetIn (id = '', channel: string): number | undefined {
  const offset = new RegExp(`\\b${channel}=[\\w-]+:(\\d+)`).exec(id)?.[1]
  if (offset !== undefined) return Number(offset)
}

t.test('1,000 publications a second while clients are cut and come back all the time: no gap, none twice', async (t) => {
  const { app, url } = await start(t, { historySize: 5000 })
  const begin = performance.now()
  const end = begin + SECONDS * 1000
  let published = 0
  const publishing = setInterval(() => {
    for (const due = (performance.now() - begin) * PER_SECOND / 1000; published < due;) {
      published++
      for (const channel of ['a', 'b']) app.connections.publish(channel, `${channel}${published}`).catch(() => t.fail('not published'))
    }
  }, TURN_MS)
  t.teardown(() => clearInterval(publishing))

  let cuts = 0
  let checked = 0
  /** Follows channels through cuts; all that it heard of one must be consecutive. */
  async function follow (channels: readonly string[]): Promise<void> {
    const last = new Map<string, number>()
    let options: SseOptions = {}
    for (; performance.now() < end; cuts++) {
      const client = await listenTo(t, `${url}/sse?${channels.map((channel) => `channel=${channel}`).join('&')}`, options)
      const enough = Math.random() < 0.2 ? 0 : Math.ceil(Math.random() * 150)
      await client.until(() => client.texts.length >= enough)
      client.close()
      for (const text of client.texts) {
        const [channel = '', number] = [text[0], Number(text.slice(1))]
        const before = last.get(channel) ?? offsetIn(options.lastEventId, channel)
        if (before !== undefined && number !== before + 1) t.fail(`${channel}${number} after ${before}`)
        last.set(channel, number)
        checked++
      }
      const reports = client.reports.filter(([type]) => type !== 'recovered')
      if (reports.length > 0) t.fail(`${JSON.stringify(reports)} after ${options.lastEventId}`)
      options = { lastEventId: client.lastEventId }
    }
  }
  await Promise.all([...Array.from({ length: 6 }, () => follow(['a'])), ...Array.from({ length: 4 }, () => follow(['a', 'b']))])
  t.ok(cuts > 50 && published > PER_SECOND * SECONDS * 0.8, `${cuts} cuts, ${published} publications in each of 2 channels in ${SECONDS} s, ${checked} events looked at`)
})
