import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A TCP proxy that does to what passes through it what networks do. */
export class FaultProxy {
  /** Where it passes connections on to. */
  target: number
  /** Nothing passes, in either direction, and nobody is told. */
  swallowing = false
  /** Each piece is held up so long, in milliseconds. */
  delayMs = 0
  /** Which of the messages of Redis's Pub/Sub are lost on the way; none by default. */
  drops: ((number: number) => boolean) | undefined
  dropped = 0
  /** Whether what Redis answers to who reads a history waits for `release`; nothing else does. Needs `drops`. */
  holds = false
  readonly held: { readonly reply: Buffer, readonly to: Socket }[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #messages = 0

  constructor (target: number) {
    this.target = target
    this.#server = createServer((client) => this.#join(client))
  }

  get port (): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** How many go through it. */
  get connections (): number {
    return this.#sockets.size / 2
  }

  async start (t: Test): Promise<this> {
    t.teardown(() => this.stop())
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    return this
  }

  /** Cuts all connections that there are. */
  reset (): void {
    // One that is just being ended cannot be reset: Node 20 would leave it half closed, and never exit.
    for (const socket of this.#sockets) socket.writableEnded ? socket.destroy() : socket.resetAndDestroy()
  }

  /** Lets all that was held go on, in one piece for each connection. */
  release (): void {
    this.holds = false
    const held = this.held.splice(0)
    for (const to of new Set(held.map((piece) => piece.to))) this.#pass(Buffer.concat(held.filter((piece) => piece.to === to).map(({ reply }) => reply)), to)
  }

  stop (): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #join (client: Socket): void {
    const server = connect(this.target, '127.0.0.1')
    for (const [from, to] of [[client, server], [server, client]] as const) {
      this.#sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
    client.on('data', (chunk) => this.#pass(chunk, server))
    let rest = Buffer.alloc(0)
    server.on('data', (chunk) => {
      if (!this.drops) {
        this.#pass(Buffer.concat([rest, chunk]), client)
        rest = Buffer.alloc(0)
        return
      }
      const all = Buffer.concat([rest, chunk])
      let at = 0
      for (let end = endOfReply(all, 0); end !== undefined; end = endOfReply(all, at)) {
        const reply = all.subarray(at, end)
        at = end
        const isMessage = /^[>*]3\r\n\$[78]\r\ns?message\r\n/.test(reply.toString('latin1', 0, 24))
        // The six values of history.lua. What nodes ask for by themselves, PING and TIME, comes at any time.
        const isHistory = reply.toString('latin1', 0, 4) === '*6\r\n'
        if (isMessage && this.drops(this.#messages++)) this.dropped++
        else if (this.holds && isHistory) this.held.push({ reply, to: client })
        else this.#pass(reply, client)
      }
      rest = all.subarray(at)
    })
  }

  #pass (chunk: Buffer, to: Socket): void {
    if (this.swallowing || to.destroyed) return
    if (this.delayMs > 0) setTimeout(() => to.write(chunk), this.delayMs)
    else to.write(chunk)
  }
}

/** Where a reply of Redis ends that begins at `at`; nothing if it has not come whole yet. */
function endOfReply (bytes: Buffer, at: number): number | undefined {
  const line = bytes.indexOf('\r\n', at)
  if (line === -1) return
  const type = String.fromCharCode(bytes[at] as number)
  const size = Number(bytes.toString('latin1', at + 1, line))
  if ('$=!'.includes(type)) {
    const end = size < 0 ? line + 2 : line + 2 + size + 2
    return end <= bytes.length ? end : undefined
  }
  let end: number | undefined = line + 2
  const parts = '*>~'.includes(type) ? size : type === '%' ? 2 * size : 0
  for (let part = 0; part < parts && end !== undefined; part++) end = endOfReply(bytes, end)
  return end
}
