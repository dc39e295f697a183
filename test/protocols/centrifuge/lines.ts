import type { Test } from 'tap'
import { until } from '../../helper.ts'
import type { Told } from './client.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

/** A stream of JSON lines that says what the test says. */
export class Lines {
  readonly told: Told[] = []
  readonly ended: Promise<void>
  readonly #url: string
  readonly #cut = new AbortController()

  private constructor (t: Test, url: string, response: Response, cut: AbortController) {
    this.#url = url
    this.#cut = cut
    t.teardown(() => cut.abort())
    this.ended = (async () => {
      let rest = ''
      for await (const chunk of response.body ?? []) {
        const lines = (rest + Buffer.from(chunk as Uint8Array).toString()).split('\n')
        rest = lines.pop() ?? ''
        this.told.push(...lines.map((line) => JSON.parse(line) as Told))
      }
    })().catch(() => {})
  }

  /** Opens one with its first commands; rejects if it is refused. */
  static async open (t: Test, url: string, commands: object[], headers: Record<string, string> = {}): Promise<Lines> {
    const cut = new AbortController()
    const response = await fetch(`${url}/connection/http_stream`, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body: commands.map((command) => JSON.stringify(command)).join('\n'), signal: cut.signal })
    if (response.status !== 200) throw new Error(`answered ${response.status}: ${await response.text()}`)
    return new Lines(t, url, response, cut)
  }

  /** Resolves with the first line that is what is looked for. */
  async finds (look: (told: Told) => unknown): Promise<Told> {
    await until(() => this.told.some(look))
    return this.told.find(look) as Told
  }

  /** What its client is told to send commands with. */
  async connected (): Promise<{ session: string, node: string }> {
    return (await this.finds(({ connect }) => connect)).connect as { session: string, node: string }
  }

  /** Sends commands, and resolves with the status that they are answered with. */
  async say (...commands: object[]): Promise<number> {
    const { session, node } = await this.connected()
    return (await emulate(this.#url, { session, node, data: commands.map((command) => JSON.stringify(command)).join('\n') })).status
  }

  leave (): void {
    this.#cut.abort()
  }
}

/** Sends commands for a session, or what else is given. */
export async function emulate (url: string, body: object | string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${url}/emulation`, { method: 'POST', headers: JSON_TYPE, body: typeof body === 'string' ? body : JSON.stringify(body), ...init })
}
