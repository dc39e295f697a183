import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

/** A callback that a back end has got. */
export interface Asked {
  /** `connect`, `events` … */
  readonly name: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly body: Record<string, unknown>
}

/** An event of a batch. */
export interface Told { id: string, type: string, channel?: string, user?: string, client?: string, code?: number, count?: number, time: number }

/** What a back end answers: an object is JSON, a string is sent as it is, a number is a status, nothing is no answer at all. */
type Answer = object | string | number | undefined
type Answers = Record<string, (asked: Asked) => Answer>

/** A back end: a real HTTP server that remembers what it was asked. */
export class TestBackEnd {
  readonly asked: Asked[] = []
  /** What it answers, by name; what is not there is answered with `{"result":{}}`. */
  answers: Answers
  readonly #waiting = new Set<() => void>()
  readonly #server = createServer((request, response) => {
    text(request).then((body) => this.#answer({
      name: String(request.url).slice('/hooks/'.length),
      headers: request.headers,
      text: body,
      body: JSON.parse(body) as Record<string, unknown>
    }, response), () => {})
  })

  constructor (answers: Answers) {
    this.answers = answers
  }

  /** Begins to listen, on the port that it had before. */
  async listen (port = 0): Promise<void> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async close (): Promise<void> {
    this.#server.closeAllConnections()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  get port (): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url (): string {
    return `http://127.0.0.1:${this.port}/hooks/`
  }

  /** What it was asked by this name. */
  of (name: string): Asked[] {
    return this.asked.filter((asked) => asked.name === name)
  }

  /** All that it was told of, in the order in which it came, without what it did not take. */
  get told (): Told[] {
    return this.of('events').filter((asked) => this.taken.has(asked)).flatMap(({ body }) => body.events as Told[])
  }

  /** What it answered with 200. */
  readonly taken = new Set<Asked>()

  /** Resolves as soon as this holds, which is looked at whenever it has answered. */
  async when (holds: () => boolean): Promise<void> {
    if (holds()) return
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!holds()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
    })
  }

  #answer (asked: Asked, response: ServerResponse): void {
    this.asked.push(asked)
    const answer = (this.answers[asked.name] ?? (() => ({ result: {} })))(asked)
    if (typeof answer === 'number') response.writeHead(answer).end('{"result":{}}')
    else if (answer !== undefined) response.writeHead(200).end(typeof answer === 'string' ? answer : JSON.stringify(answer))
    if (typeof answer === 'string' || typeof answer === 'object') this.taken.add(asked)
    for (const look of this.#waiting) look()
  }
}

/** Starts one that ends with the test. */
export async function startBackEnd (t: Test, answers: Answers = {}): Promise<TestBackEnd> {
  const backEnd = new TestBackEnd(answers)
  await backEnd.listen()
  t.teardown(() => backEnd.close())
  return backEnd
}
