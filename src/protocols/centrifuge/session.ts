import type { IncomingHttpHeaders } from 'node:http'
import type { TokenVerifier } from '../../auth/token-verifier.ts'
import { closeCodes, type Close } from '../../close-codes.ts'
import type { FanfareError } from '../../errors.ts'
import type { ConnectionManager } from '../../hub/connection-manager.ts'
import type { Connection, Peer } from '../../hub/connection.ts'
import type { Position } from '../../hub/publication.ts'
import { closeFor } from '../../hub/refusal.ts'
import { replyErrorOf, replyErrorTable, type FaultLog } from '../../reply-errors.ts'
import { answers, type Answer } from './answers.ts'
import { commandIn, type Command, type Params } from './commands.ts'
import { Disconnect } from './disconnect.ts'
import { PING } from './json.ts'
import { expiryOf, subscriptionText } from './results.ts'

/** What sessions need of those who own them. */
export interface SessionParts {
  readonly connections: ConnectionManager
  readonly tokens: TokenVerifier
  readonly log: FaultLog
  /** What clients are told the server is. */
  readonly version: string
  /** How often clients are pinged in a way that they answer with a command, in seconds; 0: not in this way. */
  readonly pingInterval: number
  /** Makes a message of a text. */
  readonly messageOf: (text: string) => Buffer
}

/** What one client of the Centrifuge protocol says and is answered, in JSON: https://centrifugal.dev/docs/transports/client_protocol */
export class Session {
  readonly connection: Connection
  readonly parts: SessionParts
  readonly #peer: Peer
  /** Until they are needed no more. */
  #headers: IncomingHttpHeaders
  #phase: 'new' | 'connecting' | 'connected' = 'new'
  #frames = 0
  /** The frame whose `connect` was answered with an error. */
  #failedFrame = 0

  /** @param peer who it is as far as its request says */
  constructor (connection: Connection, peer: Peer, headers: IncomingHttpHeaders, parts: SessionParts) {
    this.connection = connection
    this.#peer = peer
    this.#headers = headers
    this.parts = parts
  }

  /** Handles a message: one command in each line. */
  receive (data: Buffer, binary: boolean): void {
    const frame = ++this.#frames
    const lines = binary ? [] : data.toString().split('\n').filter((line) => line.trim() !== '')
    if (lines.length === 0) this.#end(new Disconnect(closeCodes.badRequest, 'a message holds commands in JSON, one in each line'))
    for (const line of lines) {
      if (line.trim() === PING) this.#pong()
      else this.parts.connections.handle(this.connection, line.length, () => this.#act(line, frame))
    }
  }

  /** Answers a command. */
  reply (id: number, name: Command['name'], result: string): void {
    this.write(`{"id":${id},"${name}":${result}}`)
  }

  write (text: string): void {
    if (this.connection.open) this.connection.transport.write(this.parts.messageOf(text))
  }

  /** Answers a command with what went wrong, or ends the session for it. */
  refuse (id: number, error: unknown): void {
    const { closeCode, code: ours } = (error ?? {}) as Partial<FanfareError> & { closeCode?: number }
    if (error instanceof Disconnect) return this.#end(error)
    if (closeCode !== undefined) return this.#end(new Disconnect(closeFor(error as Error)))
    const { code, message, temporary } = replyErrorOf(error, this.parts.log)
    // Why the broker is away is not for clients to read.
    const shown = ours === 'FANFARE_UNAVAILABLE' ? replyErrorTable[100][0] : message
    this.write(JSON.stringify({ id, error: { code, message: shown, ...temporary && { temporary } } }))
  }

  // Only who was asked may answer: https://centrifugal.dev/docs/transports/client_protocol#ping-pong
  #pong (): void {
    const { connection, parts } = this
    if (connection.awaitingPong && parts.pingInterval > 0) parts.connections.alive(connection)
    else this.#end(new Disconnect(closeCodes.badRequest, 'a pong without a ping'))
  }

  #act (line: string, frame: number): Promise<void> | undefined {
    if (this.#failedFrame > 0) {
      if (frame > this.#failedFrame) this.#end(new Disconnect(closeCodes.badRequest, 'the connect command was refused'))
      return
    }
    const command = commandIn(line)
    if (typeof command === 'string') this.#end(new Disconnect(closeCodes.badRequest, command))
    else if (command.name === 'connect') return this.#connect(command.id, command.params, frame)
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

  #connect (id: number, params: Params<'connect'>, frame: number): Promise<void> | undefined {
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
      this.#failedFrame = frame
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
      const found = Array.from(beginnings, ([channel, beginning]) => `${JSON.stringify(channel)}:${subscriptionText(connections, connection, channel, beginning, since.get(channel))}`)
      const result = JSON.stringify({ client: connection.id, version: server, ...this.expiry, ...pingInterval > 0 && { ping: Math.ceil(pingInterval), pong: true } })
      this.reply(id, 'connect', found.length > 0 ? `${result.slice(0, -1)},"subs":{${found.join(',')}}}` : result)
    })
  }

  /** When the connection ends unless its client brings a new token. */
  get expiry (): object {
    return this.parts.connections.renewsByItself ? {} : expiryOf(this.connection.peer.expiresAt)
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
