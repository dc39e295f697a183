import type { Connection } from './connection.ts'

// Each step wakes the loop twice, for the pings and for their answers, and what comes together costs less: with 15,000
// connections and a lap of 25 s the heartbeats took 2.7 % of a core in steps of 200 ms, with 120 pings each, and 3.1 % in steps of 100.
const LONGEST_STEP_MS = 200
const SHORTEST_STEP_MS = 5

/** When connections are pinged, and how long they may take to answer. */
export interface HeartbeatTimes {
  /** In seconds. */
  readonly pingInterval: number
  /** In seconds. */
  readonly pongTimeout: number
}

/**
 * One timer for all connections: a wheel whose slots are visited in turn. A connection sits in a random slot, is pinged
 * when its slot comes up, and checked one pong timeout later.
 */
export class Heartbeat {
  /** Those that somebody sits in, by number. */
  readonly #slots = new Map<number, Set<Connection>>()
  readonly #slotCount: number
  readonly #stepMs: number
  readonly #stepsToAnswer: number
  readonly #onSilent: (connection: Connection) => void
  readonly #timer: NodeJS.Timeout
  #step = 0
  #dueAt = 0

  /** @param onSilent gets each connection that has not answered in time */
  constructor ({ pingInterval, pongTimeout }: HeartbeatTimes, onSilent: (connection: Connection) => void) {
    const shortest = Math.min(pingInterval, pongTimeout) * 1000
    this.#slotCount = Math.ceil(pingInterval * 1000 / Math.max(SHORTEST_STEP_MS, Math.min(LONGEST_STEP_MS, shortest / 10)))
    this.#stepMs = pingInterval * 1000 / this.#slotCount
    this.#stepsToAnswer = Math.ceil(pongTimeout * 1000 / this.#stepMs)
    this.#onSilent = onSilent
    this.#timer = setInterval(() => this.#turn(), this.#stepMs).unref()
  }

  add (connection: Connection): void {
    const number = Math.floor(Math.random() * this.#slotCount)
    const slot = this.#slots.get(number)
    if (slot) slot.add(connection)
    else this.#slots.set(number, new Set([connection]))
    connection.heartbeatSlot = number
  }

  remove (connection: Connection): void {
    const { heartbeatSlot: number } = connection
    if (number === undefined) return
    connection.heartbeatSlot = undefined
    const slot = this.#slots.get(number)
    slot?.delete(connection)
    if (slot?.size === 0) this.#slots.delete(number)
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  #slotAt (step: number): Iterable<Connection> {
    return this.#slots.get(step % this.#slotCount) ?? []
  }

  #turn (): void {
    const now = performance.now()
    // Timers keep to milliseconds, and may be early by one.
    if (now < this.#dueAt - this.#stepMs / 2) return
    // A loop that was blocked makes up for one step. What is older counts as if the clock had stood still: pings and the
    // checks of their answers keep their distance, so that nobody is cut for our own delay.
    this.#dueAt = Math.max(this.#dueAt, now - this.#stepMs) + this.#stepMs
    const step = this.#step++
    this.#ping(step)
    // Answers may lie unread in the sockets; they are read before the next immediate runs.
    setImmediate(() => {
      this.#check(step - this.#stepsToAnswer)
      this.#turn()
    })
  }

  #ping (step: number): void {
    for (const connection of this.#slotAt(step)) {
      if (connection.awaitingPong) continue
      connection.awaitingPong = connection.transport.answersPings
      connection.pingedAt = step
      connection.transport.ping()
    }
  }

  #check (step: number): void {
    if (step < 0) return
    for (const connection of this.#slotAt(step)) {
      if (connection.awaitingPong && connection.pingedAt <= step) this.#onSilent(connection)
    }
  }
}
