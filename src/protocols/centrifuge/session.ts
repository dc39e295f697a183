import type { IncomingHttpHeaders } from 'node:http'
import { version as ourVersion } from '../../about.ts'
import type { TokenVerifier } from '../../auth/token-verifier.ts'
import { closeCodes, type Close } from '../../close-codes.ts'
import type { FanfareError } from '../../errors.ts'
import type { ConnectionManager } from '../../hub/connection-manager.ts'
import type { Connection, Peer } from '../../hub/connection.ts'
import type { Position, Publication } from '../../hub/publication.ts'
import { closeFor } from '../../hub/refusal.ts'
import { ReplyError, replyErrorOf, replyErrorTable, type FaultLog } from '../../reply-errors.ts'
import type { Message } from '../protocol.ts'
import { answers, type Answer } from './answers.ts'
import type { Codec, Result } from './codec.ts'
import type { Command, CommandName, Params } from './commands.ts'
import { Disconnect } from './disconnect.ts'
import { Pace } from './pace.ts'
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
  /** What may wait for one client, in bytes; one reply may have half of it. */
  readonly maxBufferedBytes: number
  /** Makes a message ready for the transport. */
  readonly bytesOf: (message: Message) => Buffer
}

type App = Pick<SessionParts, 'connections' | 'tokens' | 'log'>

/** What all sessions of an app have in common. */
export function sessionParts ({ connections, tokens, log }: App, { pingInterval, maxBufferedBytes }: Pick<SessionParts, 'pingInterval' | 'maxBufferedBytes'>): Omit<SessionParts, 'codec' | 'bytesOf'> {
  return { connections, tokens, log, version: `fanfare ${ourVersion}`, pingInterval, maxBufferedBytes }
}

/** What one client of the Centrifuge protocol says and is answered: https://centrifugal.dev/docs/transports/client_protocol */
export class Session {
  readonly connection: Connection
  readonly parts: SessionParts
  readonly #peer: Peer
  readonly #emulation: Pick<Result, 'session' | 'node'> | undefined
  /** Until they are needed no more. */
  #headers: IncomingHttpHeaders
  #phase: 'new' | 'connecting' | 'connected' = 'new'
  readonly #pace: Pace
  /** Publications that are not ordered and stored yet, and who waits for that. */
  #publishing = 0
  #whenPublished: (() => void)[] = []
  #messages = 0
  /** Number of the message whose `connect` was answered with an error. */
  #failedAt = 0

  /**
   * @param peer who it is as far as its request says
   * @param emulation with what its client sends by requests of its own, where it cannot on its connection
   */
  constructor (connection: Connection, peer: Peer, headers: IncomingHttpHeaders, parts: SessionParts, emulation?: Pick<Result, 'session' | 'node'>) {
    this.connection = connection
    this.#peer = peer
    this.#headers = headers
    this.parts = parts
    this.#emulation = emulation
    this.#pace = new Pace(connection, parts.maxBufferedBytes)
  }

  /** What one reply may have, in bytes. */
  get maxReplyBytes (): number {
    return this.parts.maxBufferedBytes / 2
  }

  /** Handles a message, which holds one command or several. */
  receive (message: Message): void {
    const { codec, connections } = this.parts
    if (!this.connection.open) return
    const at = ++this.#messages
    const pieces = codec.split(message)
    if (pieces.length === 0) this.#end(new Disconnect(closeCodes.badRequest, `a message holds commands in ${codec.name === 'json' ? 'JSON, one in each line' : 'Protobuf, each after its length'}`))
    for (const piece of pieces) {
      if (codec.isPong(piece)) {
        this.#pong()
        // One pong too many ends it: what comes after that, up to 65,536 more in one message, is not looked at.
        if (!this.connection.open) return
      } else connections.handle(this.connection, piece.length, () => this.#act(() => codec.read(piece), at))
    }
  }

  /** Answers a command. */
  reply (id: number, name: CommandName, result: Result): void {
    const { parts: { codec }, maxReplyBytes } = this
    const message = codec.reply(id, name, result)
    const { length } = message.data
    // It would be cut as slow for its own replies otherwise. What is recovered comes in pieces that are small enough.
    if (length > maxReplyBytes && name !== 'subscribe') this.refuse(id, new ReplyError(106, `The reply would have ${length} bytes, and may have ${maxReplyBytes} (MAX_BUFFERED_BYTES): ask for less at once`))
    else this.parts.connections.send(this.connection, this.parts.bytesOf(message))
  }

  /** Publishes what the client sent, and answers when that is ordered and stored; returns a promise while hooks look at it. */
  publish (id: number, channel: string, publication: Publication): Promise<void> | undefined {
    this.#publishing++
    return this.parts.connections.publishFrom(this.connection, channel, publication, (error) => {
      if (error) this.refuse(id, error)
      else this.parts.connections.answer(this.connection, channel, this.parts.bytesOf(this.parts.codec.reply(id, 'publish', {})))
      if (--this.#publishing > 0) return
      for (const resolve of this.#whenPublished.splice(0)) resolve()
    })
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
    const rest = this.#pace.wait()
    if (rest) return rest.then(() => this.#act(read, at))
    if (this.#failedAt > 0) {
      if (at > this.#failedAt) this.#end(new Disconnect(closeCodes.badRequest, 'the connect command was refused'))
      return
    }
    const command = read()
    if (typeof command === 'string') this.#end(new Disconnect(closeCodes.badRequest, command))
    else if (command.name === 'connect') return this.#connect(command.id, command.params, at)
    else if (this.#phase !== 'connected') this.#end(new Disconnect(closeCodes.badRequest, 'connect comes first'))
    // What a client has sent before it left is published all the same.
    else if (command.name === 'publish') return this.#answer(command)
    // The others may ask for what is published before them.
    else if (this.#publishing > 0) return new Promise<void>((resolve) => this.#whenPublished.push(resolve)).then(() => this.#answerIfOpen(command))
    else return this.#answerIfOpen(command)
  }

  #answerIfOpen (command: Command): Promise<void> | undefined {
    if (this.connection.open) return this.#answer(command)
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
    const identity = token && tokens.hasKeys && !this.#peer.user ? { ...await tokens.connection(token), guest: false } : {}
    const since = new Map<string, Position>()
    for (const [channel, sub] of Object.entries(subs ?? {})) if (sub.recover) since.set(channel, { offset: sub.offset ?? 0, epoch: sub.epoch ?? '' })
    const wish = { channels: [], later: true, headers: this.#headers, says: { ...name && { name }, ...version && { version }, ...data !== undefined && { data } } }
    await connections.identify(connection, { ...this.#peer, ...identity }, wish, since, (beginnings, told) => {
      this.#phase = 'connected'
      this.#headers = {}
      const found = Array.from(beginnings, ([channel, beginning]) => [channel, subscriptionResult(connections, connection, channel, beginning, since.get(channel))] as const)
      this.#write(this.parts.codec.reply(id, 'connect', {
        client: connection.id,
        version: server,
        ...!connections.renewsByItself && expiryOf(connection.peer.expiresAt),
        ...this.#emulation,
        ...pingInterval > 0 && { ping: Math.ceil(pingInterval), pong: true },
        ...told !== undefined && { data: told },
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
