import type { IncomingHttpHeaders } from 'node:http'
import type { TokenVerifier } from '../../auth/token-verifier.ts'
import { closeCodes, type Close } from '../../close-codes.ts'
import type { FanfareError } from '../../errors.ts'
import type { ConnectionManager } from '../../hub/connection-manager.ts'
import type { Connection, Peer } from '../../hub/connection.ts'
import type { Position } from '../../hub/publication.ts'
import { closeFor } from '../../hub/refusal.ts'
import { ReplyError, replyErrorOf, replyErrorTable, type FaultLog } from '../../reply-errors.ts'
import type { Message } from '../protocol.ts'
import { answers, type Answer } from './answers.ts'
import type { Codec, Result } from './codec.ts'
import type { Command, CommandName, Params } from './commands.ts'
import { Disconnect } from './disconnect.ts'
import { expiryOf, subscriptionResult } from './results.ts'

/** What sessions need of those who own them. */
export interface SessionParts {
  readonly connections: ConnectionManager
  readonly tokens: TokenVerifier
  readonly log: FaultLog
  readonly codec: Codec
  /** What clients are told the server is. */
  readonly version: string
  /** How often clients are pinged in a way that they answer with a command, in seconds; 0: not in this way. */
  readonly pingInterval: number
  /** What one reply may have, in bytes. */
  readonly maxReplyBytes: number
  /** Makes a message ready for the transport. */
  readonly bytesOf: (message: Message) => Buffer
}

/** What one client of the Centrifuge protocol says and is answered: https://centrifugal.dev/docs/transports/client_protocol */
export class Session {
  readonly connection: Connection
  readonly parts: SessionParts
  readonly #peer: Peer
  /** Until they are needed no more. */
  #headers: IncomingHttpHeaders
  #phase: 'new' | 'connecting' | 'connected' = 'new'
  #messages = 0
  /** Number of the message whose `connect` was answered with an error. */
  #failedAt = 0

  /** @param peer who it is as far as its request says */
  constructor (connection: Connection, peer: Peer, headers: IncomingHttpHeaders, parts: SessionParts) {
    this.connection = connection
    this.#peer = peer
    this.#headers = headers
    this.parts = parts
  }

  /** Handles a message, which holds one command or several. */
  receive (message: Message): void {
    const { codec, connections } = this.parts
    const at = ++this.#messages
    const pieces = codec.split(message)
    if (pieces.length === 0) this.#end(new Disconnect(closeCodes.badRequest, `a message holds commands in ${codec.name === 'json' ? 'JSON, one in each line' : 'Protobuf, each after its length'}`))
    for (const piece of pieces) {
      if (codec.isPong(piece)) this.#pong()
      else connections.handle(this.connection, piece.length, () => this.#act(() => codec.read(piece), at))
    }
  }

  /** Answers a command. */
  reply (id: number, name: CommandName, result: Result): void {
    const { codec, maxReplyBytes } = this.parts
    const message = codec.reply(id, name, result)
    const { length } = message.data
    // It would be cut as slow for its own replies otherwise. What is recovered comes in pieces that are small enough.
    if (length > maxReplyBytes && name !== 'subscribe') this.refuse(id, new ReplyError(106, `The reply would have ${length} bytes, and may have ${maxReplyBytes} (MAX_BUFFERED_BYTES): ask for less at once`))
    else this.#write(message)
  }

  /** Answers a command with what went wrong, or ends the session for it. */
  refuse (id: number, error: unknown): void {
    const { closeCode, code: ours } = (error ?? {}) as Partial<FanfareError> & { closeCode?: number }
    if (error instanceof Disconnect) return this.#end(error)
    if (closeCode !== undefined) return this.#end(new Disconnect(closeFor(error as Error)))
    const { code, message, temporary } = replyErrorOf(error, this.parts.log)
    // Why the broker is away is not for clients to read.
    const shown = ours === 'FANFARE_UNAVAILABLE' ? replyErrorTable[100][0] : message
    this.#write(this.parts.codec.refuse(id, { code, message: shown, ...temporary && { temporary } }))
  }

  // Only who was asked may answer: https://centrifugal.dev/docs/transports/client_protocol#ping-pong
  #pong (): void {
    const { connection, parts } = this
    if (connection.awaitingPong && parts.pingInterval > 0) parts.connections.alive(connection)
    else this.#end(new Disconnect(closeCodes.badRequest, 'a pong without a ping'))
  }

  #act (read: () => Command | string, at: number): Promise<void> | undefined {
    if (this.#failedAt > 0) {
      if (at > this.#failedAt) this.#end(new Disconnect(closeCodes.badRequest, 'the connect command was refused'))
      return
    }
    const command = read()
    if (typeof command === 'string') this.#end(new Disconnect(closeCodes.badRequest, command))
    else if (command.name === 'connect') return this.#connect(command.id, command.params, at)
    else if (this.#phase !== 'connected') this.#end(new Disconnect(closeCodes.badRequest, 'connect comes first'))
    // What a client has sent before it left is published all the same.
    else if (this.connection.open || command.name === 'publish') return this.#answer(command)
  }

  #answer ({ id, name, params }: Command): Promise<void> | undefined {
    try {
      const answering = (answers[name as keyof typeof answers] as Answer<unknown>)(this, id, params)
      return answering?.catch((error) => this.refuse(id, error))
    } catch (error) {
      this.refuse(id, error)
    }
  }

  #connect (id: number, params: Params<'connect'>, at: number): Promise<void> | undefined {
    if (this.#phase !== 'new') {
      this.#end(new Disconnect(closeCodes.badRequest, 'connected already'))
      return
    }
    this.#phase = 'connecting'
    return this.#identify(id, params).catch((error: unknown) => {
      const known = disconnects[(error as FanfareError).code]
      if (known) {
        this.#end(new Disconnect(known, (error as Error).message))
        return
      }
      this.#failedAt = at
      this.refuse(id, error)
    })
  }

  async #identify (id: number, { token, data, subs, name, version }: Params<'connect'>): Promise<void> {
    const { connection, parts: { connections, tokens, version: server, pingInterval } } = this
    // What came with the request comes first.
    const identity = token && tokens.hasKeys && !this.#peer.user ? await tokens.connection(token) : {}
    const since = new Map<string, Position>()
    for (const [channel, sub] of Object.entries(subs ?? {})) if (sub.recover) since.set(channel, { offset: sub.offset ?? 0, epoch: sub.epoch ?? '' })
    const wish = { channels: [], later: true, headers: this.#headers, says: { ...name && { name }, ...version && { version }, ...data !== undefined && { data } } }
    await connections.identify(connection, { ...this.#peer, ...identity }, wish, since, (beginnings) => {
      this.#phase = 'connected'
      this.#headers = {}
      const found = Array.from(beginnings, ([channel, beginning]) => [channel, subscriptionResult(connections, connection, channel, beginning, since.get(channel))] as const)
      this.#write(this.parts.codec.reply(id, 'connect', {
        client: connection.id,
        version: server,
        ...!connections.renewsByItself && expiryOf(connection.peer.expiresAt),
        ...pingInterval > 0 && { ping: Math.ceil(pingInterval), pong: true },
        ...found.length > 0 && { subs: Object.fromEntries(found) }
      }))
    })
  }

  #write (message: Message): void {
    if (this.connection.open) this.connection.transport.write(this.parts.bytesOf(message))
  }

  #end (disconnect: Disconnect): void {
    this.connection.dismissed = true
    this.parts.connections.close(this.connection, disconnect.close)
  }
}

const disconnects: { readonly [code in FanfareError['code']]?: Close } = {
  FANFARE_TOKEN_MISSING: closeCodes.badRequest,
  FANFARE_TOKEN_INVALID: closeCodes.invalidToken,
  FANFARE_TOO_MANY_CHANNELS: closeCodes.channelLimit
}
