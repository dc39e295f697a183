import type { Connection } from './connection.ts'

/** What waits in this node because its receivers have fallen behind. Receivers share the Buffers, so each is counted once. */
export class Backlog {
  readonly #receivers = new Map<Buffer, number>()
  #bytes = 0

  /** Bytes of all Buffers that wait for at least one receiver. */
  get bytes (): number {
    return this.#bytes
  }

  add (connection: Connection, buffer: Buffer): void {
    const receivers = this.#receivers.get(buffer) ?? 0
    if (receivers === 0) this.#bytes += buffer.length
    this.#receivers.set(buffer, receivers + 1)
    if (connection.backlog) {
      connection.backlog.push(buffer)
      return
    }
    connection.backlog = [buffer]
    connection.transport.onceDrained(() => this.release(connection))
  }

  /** To be called when a connection has taken everything, or is closed. */
  release (connection: Connection): void {
    for (const buffer of connection.backlog ?? []) {
      const receivers = (this.#receivers.get(buffer) ?? 1) - 1
      if (receivers > 0) this.#receivers.set(buffer, receivers)
      else {
        this.#receivers.delete(buffer)
        this.#bytes -= buffer.length
      }
    }
    connection.backlog = undefined
  }
}
