import { randomUUID } from 'node:crypto'
import type { Broker } from '../brokers/broker.ts'
import { patience } from '../patience.ts'

const BEAT_MS = 3000
// A node that has not been heard of for this long is gone.
const GONE_MS = 10_000
// How long nodes have to answer a question.
const ANSWER_MS = 1000

/** What a node says of itself. */
export interface NodeFacts {
  readonly uid: string
  readonly name: string
  readonly version: string
  readonly num_clients: number
  readonly num_users: number
  readonly num_channels: number
  readonly num_subs: number
  /** In seconds. */
  readonly uptime: number
}

type Message =
  | { readonly kind: 'beat', readonly from: string, readonly facts: NodeFacts, readonly isNew?: boolean }
  | { readonly kind: 'bye', readonly from: string }
  | { readonly kind: 'ask', readonly from: string, readonly id: number, readonly question: string, readonly subject: unknown, readonly to?: string }
  | { readonly kind: 'answer', readonly from: string, readonly to: string, readonly id: number, readonly answer: unknown }

/** What a node is asked that has come, or come back. */
interface Greeting { readonly question: string, readonly subjectsFor: (facts: NodeFacts) => Iterable<unknown> }

interface Asked { readonly answers: Map<string, unknown>, readonly look: () => void }

/** The nodes that share a broker: which there are, and what is asked of all of them. */
export class Cluster {
  /** Id of this node. */
  readonly id = randomUUID()
  readonly #broker: Broker
  readonly #describe: () => NodeFacts
  readonly #nodes = new Map<string, { readonly facts: NodeFacts, readonly heardAt: number }>()
  readonly #handlers = new Map<string, (subject: unknown) => unknown>()
  readonly #asked = new Map<number, Asked>()
  #greeting: Greeting | undefined
  #timer: NodeJS.Timeout | undefined
  #questions = 0

  /** @param describe says what this node is, for the others */
  constructor (broker: Broker, describe: () => NodeFacts) {
    this.#broker = broker
    this.#describe = describe
  }

  /** Tells the other nodes that this one is there, now and from now on. To be called whenever the broker can be reached again. */
  announce (): void {
    // Nobody could be heard meanwhile. Who does not come back is missed when it is asked something, and gone a while later.
    for (const [id, { facts }] of this.#nodes) this.#nodes.set(id, { facts, heardAt: performance.now() })
    this.#beat(true)
    this.#timer ??= setInterval(() => this.#beat(false), BEAT_MS).unref()
  }

  async stop (): Promise<void> {
    clearInterval(this.#timer)
    await this.#send({ kind: 'bye', from: this.id }).catch(() => {})
  }

  /** All nodes that live, this one first. */
  nodes (): NodeFacts[] {
    return [this.#describe(), ...this.#others().map(([, { facts }]) => facts)]
  }

  /** Whether a node lives. */
  has (id: string): boolean {
    return id === this.id || this.#others().some(([other]) => other === id)
  }

  /** How many nodes live, with this one. */
  get size (): number {
    return this.#others().length + 1
  }

  /** Says how this node answers a question, at once or later. */
  answer<Subject> (question: string, handler: (subject: Subject) => unknown): void {
    this.#handlers.set(question, handler as (subject: unknown) => unknown)
  }

  /** Says what a node is to be asked that nobody could ask before: a new one, or one that was cut off. One subject after the other. */
  greet (question: string, subjectsFor: Greeting['subjectsFor']): void {
    this.#greeting = { question, subjectsFor }
  }

  /**
   * Asks all nodes something.
   *
   * @returns what they answered within a second
   * @throws when the other nodes cannot be asked; this one has answered then
   */
  async ask<Answer> (question: string, subject: unknown): Promise<Answer[]> {
    const own = await this.#handlers.get(question)?.(subject)
    const others = this.#others().map(([id]) => id)
    if (others.length === 0 && !this.#broker.trouble) return [own as Answer]
    return [own, ...(await this.#askOthers(others, { question, subject })).values()] as Answer[]
  }

  /**
   * Asks one node something.
   *
   * @param node its id
   * @returns what it answered within a second; nothing if it did not, or there is no such node
   * @throws when the other nodes cannot be asked
   */
  async askNode (node: string, question: string, subject: unknown): Promise<unknown> {
    if (node === this.id) return this.#handlers.get(question)?.(subject)
    if (this.has(node)) return (await this.#askOthers([node], { question, subject, to: node })).get(node)
  }

  async #askOthers (others: readonly string[], what: { question: string, subject: unknown, to?: string }): Promise<Map<string, unknown>> {
    const id = ++this.#questions
    const answers = new Map<string, unknown>()
    const { over, end } = patience(ANSWER_MS)
    try {
      const all = new Promise<void>((resolve) => {
        this.#asked.set(id, { answers, look: () => { if (others.every((other) => answers.has(other))) resolve() } })
      })
      await this.#send({ kind: 'ask', from: this.id, id, ...what })
      if (others.length > 0) await Promise.race([all, over])
      return answers
    } finally {
      end()
      this.#asked.delete(id)
    }
  }

  /** Takes what another node, or this one, has sent. */
  receive (text: string): void {
    const message = JSON.parse(text) as Message
    if (message.from === this.id) return
    if (message.kind === 'beat') {
      const isKnown = this.#nodes.has(message.from)
      this.#nodes.set(message.from, { facts: message.facts, heardAt: performance.now() })
      // So that a new node knows all others at once.
      if (message.isNew) this.#beat(false)
      if (!isKnown) this.#greet(message.from, message.facts).catch(() => this.#nodes.delete(message.from))
    } else if (message.kind === 'bye') {
      this.#nodes.delete(message.from)
    } else if (message.kind === 'ask') {
      if (message.to !== undefined && message.to !== this.id) return
      this.#answer(message).catch(() => {})
    } else if (message.to === this.id) {
      const asked = this.#asked.get(message.id)
      asked?.answers.set(message.from, message.answer)
      asked?.look()
    }
  }

  // Who does not answer is greeted again when it is heard next.
  async #greet (to: string, facts: NodeFacts): Promise<void> {
    if (!this.#greeting) return
    const { question, subjectsFor } = this.#greeting
    for (const subject of subjectsFor(facts)) {
      const answers = await this.#askOthers([to], { question, subject, to })
      if (!answers.has(to)) throw new Error('no answer')
    }
  }

  async #answer ({ from, id, question, subject }: Extract<Message, { kind: 'ask' }>): Promise<void> {
    const answer = await this.#handlers.get(question)?.(subject)
    await this.#send({ kind: 'answer', from: this.id, to: from, id, answer })
  }

  #others (): [id: string, { readonly facts: NodeFacts }][] {
    // Where nobody can be heard, silence says nothing.
    if (!this.#broker.trouble) {
      for (const [id, { heardAt }] of this.#nodes) {
        if (performance.now() - heardAt > GONE_MS) this.#nodes.delete(id)
      }
    }
    return Array.from(this.#nodes)
  }

  #beat (isNew: boolean): void {
    this.#send({ kind: 'beat', from: this.id, facts: this.#describe(), isNew }).catch(() => {})
  }

  async #send (message: Message): Promise<void> {
    await this.#broker.send(JSON.stringify(message))
  }
}
