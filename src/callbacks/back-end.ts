import { Webhook } from 'standardwebhooks'
import { Pool } from 'undici'
import { newId } from '../hub/connection.ts'

// Requests that are under way at a time; more wait for their turn.
const MAX_CONNECTIONS = 128
const MAX_ANSWER_BYTES = 1_048_576

/** Where the back end is, and how it knows us. */
export interface BackEndSettings {
  readonly callbackUrl: string
  /** Empty: nothing is signed. */
  readonly callbackSecret: string
}

/** How one request is sent. */
export interface PostOptions {
  /** In milliseconds; from now until all of the answer is here. */
  readonly timeout: number
  /** By which the back end knows it again when it is repeated. */
  readonly id?: string
  readonly headers?: Readonly<Record<string, string | string[]>>
}

/** The back end that callbacks go to. */
export class BackEnd {
  readonly #pool: Pool
  readonly #path: string
  readonly #webhook: Webhook | undefined

  constructor ({ callbackUrl, callbackSecret }: BackEndSettings) {
    const { origin, pathname } = new URL(callbackUrl)
    this.#pool = new Pool(origin, { connections: MAX_CONNECTIONS, maxResponseSize: MAX_ANSWER_BYTES })
    this.#path = pathname.replace(/\/$/, '')
    this.#webhook = callbackSecret ? new Webhook(callbackSecret) : undefined
  }

  /**
   * Sends something, signed as Standard Webhooks are.
   *
   * @param name what comes after the URL
   * @param body JSON
   * @returns what was answered
   * @throws if it cannot be reached, is late, answers another status than 2xx, or too much
   */
  async post (name: string, body: string, { timeout, id = newId(), headers }: PostOptions): Promise<string> {
    const { statusCode, body: answer } = await this.#pool.request({
      method: 'POST',
      path: `${this.#path}/${name}`,
      body,
      signal: AbortSignal.timeout(timeout),
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json', ...this.#signature(id, body) }
    })
    if (statusCode >= 200 && statusCode < 300) return answer.text()
    await answer.dump()
    throw new Error(`It answered HTTP ${statusCode}`)
  }

  /** Ends all requests that are under way. */
  async close (): Promise<void> {
    await this.#pool.destroy()
  }

  #signature (id: string, body: string): Record<string, string> {
    const now = new Date()
    const stamp = { 'webhook-id': id, 'webhook-timestamp': String(Math.floor(now.getTime() / 1000)) }
    return this.#webhook ? { ...stamp, 'webhook-signature': this.#webhook.sign(id, now, body) } : stamp
  }
}
