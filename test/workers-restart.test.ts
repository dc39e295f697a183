import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { percentile, until } from './helper.ts'
import { startWorkers, type WorkersProcess } from './workers.ts'

const CHANNELS = ['red', 'green', 'blue']
const RECEIVERS_PER_CHANNEL = 20
const API_KEY = 'key'
const PAUSE_MS = 10

/** A client that comes back to where it was whenever it is cut. */
class Receiver {
  readonly heard: { offset: number, data: string }[] = []
  readonly codes: number[] = []
  /** From each cut until it was open again, and until it heard the next publication, in milliseconds. */
  readonly reopened: number[] = []
  readonly resumed: number[] = []
  failures = 0
  stopped = false
  #ws!: WebSocket
  #epoch: string | undefined
  #cutAt: number | undefined
  readonly #url: string

  constructor (url: string) {
    this.#url = url
    this.#connect()
  }

  stop (): void {
    this.stopped = true
    this.#ws.terminate()
  }

  #connect (): void {
    const last = this.heard.at(-1)
    const ws = this.#ws = new WebSocket(last ? `${this.#url}&since=${this.#epoch}:${last.offset}` : this.#url)
    let opened = false
    ws.on('open', () => {
      opened = true
      if (this.#cutAt !== undefined) this.reopened.push(performance.now() - this.#cutAt)
    })
    ws.on('message', (message: Buffer) => {
      const { offset, epoch, data } = JSON.parse(message.toString()) as { offset: number, epoch: string, data: string }
      this.#epoch ??= epoch
      this.heard.push({ offset, data })
      if (this.#cutAt !== undefined) this.resumed.push(performance.now() - this.#cutAt)
      this.#cutAt = undefined
    })
    ws.on('error', () => {})
    ws.on('close', (code) => {
      if (this.stopped) return
      if (opened) this.codes.push(code)
      else this.failures++
      this.#cutAt ??= performance.now()
      this.#connect()
    })
  }
}

/** Publishes numbers to a channel, one after the other, each until it is acknowledged. */
class Publisher {
  published = 0
  retries = 0
  stopped = false
  readonly ended: Promise<void>

  constructor (url: string, channel: string) {
    this.ended = this.#run(url, channel)
  }

  async #run (url: string, channel: string): Promise<void> {
    while (!this.stopped) {
      const data = `${channel} ${this.published}`
      const publish = async (): Promise<boolean> => {
        const answer = await fetch(`${url}/api/publish`, { method: 'POST', headers: { 'x-api-key': API_KEY }, body: JSON.stringify({ channel, data, idempotency_key: data }) })
        return 'result' in await answer.json()
      }
      while (!await publish().catch(() => false)) {
        this.retries++
        await wait(PAUSE_MS)
      }
      this.published++
      await wait(PAUSE_MS)
    }
  }
}

/** Tries new connections and new requests all the time. */
class Newcomer {
  connections = 0
  requests = 0
  readonly failures: string[] = []
  stopped = false
  readonly ended: Promise<unknown>

  constructor (server: WorkersProcess) {
    this.ended = Promise.all([
      this.#repeat(() => this.#connects(`${server.wsUrl}?channel=newcomers`)),
      this.#repeat(() => this.#asks(`${server.url}/health/ready`))
    ])
  }

  async #repeat (attempt: () => Promise<void>): Promise<void> {
    while (!this.stopped) {
      await attempt().catch((error: Error) => this.failures.push(String(error)))
      await wait(PAUSE_MS)
    }
  }

  async #connects (url: string): Promise<void> {
    const ws = new WebSocket(url)
    await new Promise<void>((resolve, reject) => ws.on('open', resolve).on('error', reject))
    ws.terminate()
    this.connections++
  }

  async #asks (url: string): Promise<void> {
    // fetch would take a connection that a publisher has left.
    const [answer] = await once(get(url, { agent: false }), 'response') as [IncomingMessage]
    const { statusCode } = answer.resume()
    if (statusCode !== 200) throw new Error(`status ${statusCode}`)
    this.requests++
  }
}

t.test('a rolling restart under load: nothing lost, nothing doubled, every new connection succeeds, reconnect p99 at most 5 s', async (t) => {
  const server = await startWorkers(t, 2, { API_KEY, HISTORY_SIZE: '10000', DRAIN_TIMEOUT: '5' })
  const before = server.workers()
  const receivers = CHANNELS.flatMap((channel) => Array.from({ length: RECEIVERS_PER_CHANNEL }, () => new Receiver(`${server.wsUrl}?channel=${channel}&positions=true`)))
  await server.says(/^connection opened$/, receivers.length)
  const publishers = CHANNELS.map((channel) => new Publisher(server.url, channel))
  const newcomer = new Newcomer(server)
  t.teardown(() => { for (const one of [...publishers, newcomer]) one.stopped = true })
  await until(() => receivers.every(({ heard }) => heard.length > 0))

  // To the whole group, as a terminal would.
  process.kill(-server.primary, 'SIGHUP')
  const [end] = await server.says(/^All workers are replaced/)
  t.comment(end?.msg)
  await Promise.all([...publishers, newcomer].map((one) => {
    one.stopped = true
    return one.ended
  }))
  await until(() => receivers.every(({ heard }, index) => heard.length >= (publishers[Math.floor(index / RECEIVERS_PER_CHANNEL)] as Publisher).published))
  for (const receiver of receivers) receiver.stop()

  const published = publishers.reduce((sum, { published }) => sum + published, 0)
  t.comment(`${published} publications to ${receivers.length} receivers; ${publishers.reduce((sum, { retries }) => sum + retries, 0)} publishes had to be repeated`)
  const wrong = receivers.filter(({ heard }, index) => {
    const channel = Math.floor(index / RECEIVERS_PER_CHANNEL)
    const expected = Array.from({ length: (publishers[channel] as Publisher).published }, (_none, number) => ({ offset: number + 1, data: `${CHANNELS[channel]} ${number}` }))
    return JSON.stringify(heard) !== JSON.stringify(expected)
  })
  t.equal(wrong.length, 0, 'each receiver has heard everything in order, once')

  t.same(server.workers().filter((pid) => before.includes(pid)), [], 'all workers are new')
  t.equal(server.workers().length, 2)
  const codes = receivers.flatMap(({ codes }) => codes)
  t.equal(receivers.filter(({ codes }) => codes.length === 0).length, 0, 'each receiver was cut')
  t.same([...new Set(codes)], [1012])
  t.equal(receivers.reduce((sum, { failures }) => sum + failures, 0), 0, 'each came back at the first attempt')

  t.comment(`${newcomer.connections} new connections and ${newcomer.requests} requests meanwhile`)
  t.same(newcomer.failures, [], 'each of them succeeded')

  const reopened = receivers.flatMap(({ reopened }) => reopened)
  const resumed = receivers.flatMap(({ resumed }) => resumed)
  t.comment(`${codes.length} reconnects; p99 until open ${percentile(reopened, 0.99).toFixed(0)} ms, until the next publication ${percentile(resumed, 0.99).toFixed(0)} ms`)
  t.ok(percentile(resumed, 0.99) <= 5000)
  process.kill(server.primary, 'SIGTERM')
  t.equal(await server.exit, 0)
})
