import { EventEmitter, once } from 'node:events'
import { get as getPlain, type ClientRequest, type IncomingMessage } from 'node:http'
import { get as getSecure } from 'node:https'
import { StringDecoder } from 'node:string_decoder'
import type { Test } from 'tap'

/** An event as EventSource dispatches it. */
export interface SseEvent {
  type: string
  data: string
  lastEventId: string
}

/** Reads an event stream as https://html.spec.whatwg.org/multipage/server-sent-events.html says. */
export class EventStreamParser {
  readonly events: SseEvent[] = []
  readonly comments: string[] = []
  retry = NaN
  /** What it would come back with. */
  lastEventId = ''
  #id = ''
  #type = ''
  #data: string[] = []
  #rest = ''

  add (text: string): void {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() as string
    for (const line of lines) this.#line(line)
  }

  #line (line: string): void {
    const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
    if (line === '') this.#dispatch()
    else if (line.startsWith(':')) this.comments.push(value)
    else if (field === 'data') this.#data.push(value)
    else if (field === 'event') this.#type = value
    else if (field === 'id' && !value.includes('\0')) this.#id = value
    else if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value)
  }

  #dispatch (): void {
    this.lastEventId = this.#id
    if (this.#data.length > 0) this.events.push({ type: this.#type || 'message', data: this.#data.join('\n'), lastEventId: this.#id })
    this.#type = ''
    this.#data = []
  }
}

export interface SseOptions {
  lastEventId?: string
  headers?: Record<string, string>
}

/** A real client of an event stream that keeps what it hears. It does not come back by itself. */
export class SseClient extends EventStreamParser {
  readonly response: IncomingMessage
  /** Resolves when the stream has ended, with whether it ended whole. */
  readonly ended: Promise<boolean>
  readonly #request: ClientRequest
  readonly #changes = new EventEmitter()

  constructor (request: ClientRequest, response: IncomingMessage) {
    super()
    this.#changes.setMaxListeners(0)
    this.#request = request
    this.response = response
    const decoder = new StringDecoder()
    response.on('error', () => {})
    response.on('data', (chunk: Buffer) => {
      this.add(decoder.write(chunk))
      this.#changes.emit('change')
    })
    this.ended = new Promise((resolve) => response.on('close', () => resolve(response.complete)))
    response.on('close', () => this.#changes.emit('change'))
  }

  /** Data of all events that have no type of their own. */
  get texts (): string[] {
    return this.events.filter(({ type }) => type === 'message').map(({ data }) => data)
  }

  /** Types and data of all events that are about the stream itself. */
  get reports (): [type: string, data: unknown][] {
    return this.events.filter(({ type }) => type !== 'message' && type !== 'binary').map(({ type, data }) => [type, JSON.parse(data)])
  }

  /** Resolves as soon as a condition holds; rejects if the stream ends before. */
  async until (holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.response.closed) throw new Error(`the stream ended before this came true: ${holds}`)
      await once(this.#changes, 'change')
    }
  }

  /** Resolves as soon as it has heard so many messages, with their data. */
  async hears (count: number): Promise<string[]> {
    await this.until(() => this.texts.length >= count)
    return this.texts
  }

  /** Resolves as soon as the stream has begun. */
  async begins (): Promise<this> {
    await this.until(() => this.retry > 0 && this.comments.length > 0)
    return this
  }

  close (): void {
    this.#request.destroy()
  }
}

/** Asks for an event stream, and ends with the test. It trusts every certificate. */
export async function listenTo (t: Test, url: string, { lastEventId, headers }: SseOptions = {}): Promise<SseClient> {
  const get = url.startsWith('https:') ? getSecure : getPlain
  const request = get(url, { agent: false, rejectUnauthorized: false, headers: { accept: 'text/event-stream', ...lastEventId !== undefined && { 'last-event-id': lastEventId }, ...headers } })
  const [response] = await once(request, 'response') as [IncomingMessage]
  request.on('error', () => {})
  if (response.statusCode !== 200) {
    let body = ''
    for await (const chunk of response) body += String(chunk)
    throw Object.assign(new Error(body), { status: response.statusCode })
  }
  const client = new SseClient(request, response)
  t.teardown(() => client.close())
  return client.begins()
}
