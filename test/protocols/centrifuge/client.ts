import { once } from 'node:events'
import { Centrifuge, type Options } from 'centrifuge'
import type { Test } from 'tap'
import { WebSocket, type ClientOptions } from 'ws'
import { Client } from '../../helper.ts'

/** A reply or a push of the server. */
export type Told = Record<string, any>

/** Where clients of the protocol connect, beside a server's `/ws`. */
export function addressOf (wsUrl: string): string {
  return wsUrl.replace('/ws', '/connection/websocket')
}

/** A client that says what the test says, and keeps what it is told. */
export class Speaker extends Client {
  readonly #told: Told[] = []
  #read = 0
  #id = 0

  /** Whether it answers pings. */
  answers = true

  constructor (url: string, options: ClientOptions = {}) {
    super(url, options)
    this.ws.on('message', (data: Buffer, binary) => {
      const isPing = binary ? data.length === 1 && data[0] === 0 : String(data) === '{}'
      if (isPing && this.answers) this.ws.send(data, { binary })
    })
  }

  /** All replies and pushes, in order. */
  get told (): Told[] {
    for (; this.#read < this.heard.length; this.#read++) this.#told.push(...String(this.heard[this.#read]?.data).split('\n').map((line) => JSON.parse(line) as Told))
    return this.#told
  }

  /** What came unasked. */
  get pushes (): Told[] {
    return this.told.flatMap(({ push }) => push ? [push as Told] : [])
  }

  /** Data of the publications that it has heard. */
  get heardData (): unknown[] {
    return this.pushes.flatMap(({ pub }) => pub ? [pub.data] : [])
  }

  /** Sends commands in one frame, each in a line; those without an id get one. */
  say (...commands: object[]): number[] {
    const numbered = commands.map((command): Told => ({ id: ++this.#id, ...command }))
    this.ws.send(numbered.map((command) => JSON.stringify(command)).join('\n'))
    return numbered.map(({ id }) => id as number)
  }

  /** Sends one command, and resolves with its reply. */
  async ask (command: object): Promise<Told> {
    const [id] = this.say(command)
    return this.finds(({ told }) => told.find((reply) => reply.id === id))
  }

  /** Resolves as soon as there is what is looked for; rejects with the close code if it is closed before. */
  async finds<Found> (look: (speaker: this) => Found | undefined): Promise<Found> {
    for (let count = this.heard.length; ; count = this.heard.length) {
      const found = look(this)
      if (found !== undefined) return found
      await this.hears(count + 1)
    }
  }

  /** Resolves with the first push of a kind. */
  async isTold (kind: string): Promise<Told> {
    return this.finds(({ pushes }) => pushes.find((push) => push[kind]))
  }
}

/** Opens a WebSocket, and says nothing. */
export async function speak (t: Test, wsUrl: string, query = '', options: ClientOptions = {}): Promise<Speaker> {
  const speaker = new Speaker(addressOf(wsUrl) + query, options)
  t.teardown(() => speaker.ws.terminate())
  await once(speaker.ws, 'open')
  return speaker
}

/** The same, and connects. */
export async function greet (t: Test, wsUrl: string, connect: object = {}, options: ClientOptions = {}): Promise<Speaker & { greeting: Told }> {
  const speaker = await speak(t, wsUrl, '', options)
  return Object.assign(speaker, { greeting: await speaker.ask({ connect }) })
}

/** The official client, which is not connected yet. */
export function official (t: Test, wsUrl: string, options: Partial<Options> = {}): Centrifuge {
  const client = new Centrifuge(addressOf(wsUrl), { websocket: WebSocket, minReconnectDelay: 20, maxReconnectDelay: 100, ...options })
  t.teardown(() => client.disconnect())
  return client
}

/** Resolves with what an official client, or one of its subscriptions, says next of this kind. */
export async function next<Context> (emitter: { once (event: any, listener: (context: any) => void): unknown }, event: string): Promise<Context> {
  return new Promise((resolve) => { emitter.once(event, resolve) })
}
