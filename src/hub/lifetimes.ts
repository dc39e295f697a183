import { closeCodes, type Close } from '../close-codes.ts'
import type { Renewal } from './cluster-api.ts'
import type { Connection } from './connection.ts'
import { Expiry, type Deadline } from './expiry.ts'
import { callerOn, type Hooks } from './hooks.ts'
import { mustBeJson } from './publication.ts'
import { closeFor } from './refusal.ts'

/** When the time of a connection ends, or what may let it go on is asked. */
export interface ConnectionDeadline extends Deadline {
  readonly connection: Connection
  /** Why it ends; none: it is asked. */
  readonly close: Close | undefined
  /** The channel in which it ends, if that is not all. */
  readonly channel: string | undefined
}

/** What lifetimes need of those who own them. */
export interface LifetimesParts {
  /** Ends a connection. */
  close (connection: Connection, close: Close): void
  /** Tells others what they may see of a connection now. */
  present (connection: Connection): void
  /** Ends that a connection hears a channel. */
  expel (connection: Connection, channel: string): void
}

/** How long connections may stay: as their tokens, or hooks, say. Before the end the hooks `onRefresh` may let one go on. */
export class Lifetimes {
  readonly #hooks: Hooks
  readonly #askMs: number
  readonly #parts: LifetimesParts
  readonly #deadlines = new Expiry<ConnectionDeadline>(({ connection, close, channel }) => {
    if (channel !== undefined) this.#parts.expel(connection, channel)
    else if (close) this.#parts.close(connection, close)
    else this.#ask(connection)
  })

  /** @param hookTimeout what a hook may take, in seconds: hooks are asked so long before the end */
  constructor (hooks: Hooks, hookTimeout: number, parts: LifetimesParts) {
    this.#hooks = hooks
    this.#askMs = hookTimeout * 1000
    this.#parts = parts
  }

  /**
   * Takes note of a connection, and the channels that it hears. It ends with its right to hear one of them, too, where its protocol
   * has no word for the end of that alone.
   */
  add (connection: Connection, channels: readonly string[]): void {
    const { expiresAt = Infinity, grants } = connection.peer
    if (expiresAt === Infinity && !grants) return
    let granted = Infinity
    if (grants) {
      for (const channel of channels) {
        const end = grants.get(channel)?.expiresAt ?? Infinity
        if (connection.encoding.encodeEnd && end < Infinity) this.#set(connection, end, undefined, channel)
        else granted = Math.min(granted, end)
      }
    }
    if (expiresAt === Infinity && granted === Infinity) return
    this.#set(connection, Math.min(expiresAt, granted), expiresAt <= granted ? closeCodes.expired : closeCodes.subscriptionExpired)
    if (expiresAt === Infinity || !this.#hooks.has('onRefresh')) return
    const left = expiresAt - Date.now()
    this.#set(connection, expiresAt - Math.min(this.#askMs, left / 2))
  }

  /** Closes a connection after so many seconds, unless `reset` is called before. */
  limit (connection: Connection, seconds: number, close: Close): void {
    if (!connection.open) return
    this.#set(connection, Date.now() + seconds * 1000, close)
  }

  /** Takes note of what is new of who a connection is. */
  renew (connection: Connection, { expiresAt, info }: Renewal): void {
    connection.peer = { ...connection.peer, expiresAt, ...info !== undefined && { info } }
    if (info !== undefined) this.#parts.present(connection)
    this.reset(connection)
  }

  /** Looks anew at a connection whose rights, or channels, have changed. */
  reset (connection: Connection): void {
    if (!connection.open) return
    this.remove(connection)
    this.add(connection, connection.channels)
  }

  remove (connection: Connection): void {
    if (!connection.deadlines) return
    for (const deadline of connection.deadlines) this.#deadlines.remove(deadline)
    connection.deadlines = undefined
  }

  #set (connection: Connection, at: number, close?: Close, channel?: string): void {
    const deadline = { connection, close, channel, step: 0, place: 0 }
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
        mustBeJson(answer.info)
        renewal = { ...renewal, ...answer }
        return context
      })
      if (connection.open && connection.peer === peer && Number(renewal.expiresAt) > before) this.renew(connection, renewal)
    } catch (error) {
      this.#hooks.report('onRefresh', error as Error)
      if ((error as { closeCode?: number }).closeCode !== undefined) this.#parts.close(connection, closeFor(error as Error))
    }
  }
}
