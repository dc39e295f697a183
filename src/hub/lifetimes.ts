import { closeCodes, type Close } from '../close-codes.ts'
import { callerOn, closeFor } from './access-api.ts'
import type { Renewal } from './cluster-api.ts'
import type { Connection } from './connection.ts'
import { Expiry, type Deadline } from './expiry.ts'
import type { Hooks } from './hooks.ts'

/** When the time of a connection ends, or what may let it go on is asked. */
export interface ConnectionDeadline extends Deadline {
  readonly connection: Connection
  /** Why it ends; none: it is asked. */
  readonly close: Close | undefined
}

/** How long connections may stay: as their tokens, or hooks, say. Before the end the hooks `onRefresh` may let one go on. */
export class Lifetimes {
  readonly #hooks: Hooks
  readonly #askMs: number
  readonly #close: (connection: Connection, close: Close) => void
  readonly #deadlines = new Expiry<ConnectionDeadline>(({ connection, close }) => {
    if (close) this.#close(connection, close)
    else this.#ask(connection)
  })

  /** @param hookTimeout what a hook may take, in seconds: hooks are asked so long before the end */
  constructor (hooks: Hooks, hookTimeout: number, close: (connection: Connection, close: Close) => void) {
    this.#hooks = hooks
    this.#askMs = hookTimeout * 1000
    this.#close = close
  }

  /** Takes note of a connection, and the channels that it hears: it ends with its right to hear one of them, too. */
  add (connection: Connection, channels: readonly string[]): void {
    const { expiresAt = Infinity, grants } = connection.peer
    if (expiresAt === Infinity && !grants) return
    let granted = Infinity
    if (grants) for (const channel of channels) granted = Math.min(granted, grants.get(channel)?.expiresAt ?? Infinity)
    if (expiresAt === Infinity && granted === Infinity) return
    this.#set(connection, Math.min(expiresAt, granted), expiresAt <= granted ? closeCodes.expired : closeCodes.subscriptionExpired)
    if (expiresAt === Infinity || !this.#hooks.has('onRefresh')) return
    const left = expiresAt - Date.now()
    this.#set(connection, expiresAt - Math.min(this.#askMs, left / 2))
  }

  /** Takes note of what is new of who a connection is. */
  renew (connection: Connection, { expiresAt, info }: Renewal): void {
    connection.peer = { ...connection.peer, expiresAt, ...info !== undefined && { info } }
    this.remove(connection)
    this.add(connection, Array.from(connection.subscriptions.keys(), ({ name }) => name))
  }

  remove (connection: Connection): void {
    if (!connection.deadlines) return
    for (const deadline of connection.deadlines) this.#deadlines.remove(deadline)
    connection.deadlines = undefined
  }

  #set (connection: Connection, at: number, close?: Close): void {
    const deadline = { connection, close, step: 0, place: 0 }
    this.#deadlines.set(deadline, at)
    // Pushed to, a list would make room for 16 more.
    connection.deadlines = connection.deadlines ? [...connection.deadlines, deadline] : [deadline]
  }

  // What fails, or says nothing new, leaves the end where it is; one that refuses with a close code is obeyed at once.
  async #ask (connection: Connection): Promise<void> {
    const { peer } = connection
    const { expiresAt: before = Infinity } = peer
    try {
      let renewal: Renewal = {}
      await this.#hooks.run('onRefresh', { caller: callerOn(connection), expiresAt: before }, (context, answer) => {
        renewal = { ...renewal, ...answer }
        return context
      })
      if (connection.open && connection.peer === peer && Number(renewal.expiresAt) > before) this.renew(connection, renewal)
    } catch (error) {
      this.#hooks.report('onRefresh', error as Error)
      if ((error as { closeCode?: number }).closeCode !== undefined) this.#close(connection, closeFor(error as Error))
    }
  }
}
