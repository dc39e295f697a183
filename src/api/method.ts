import { Type, type Static, type TSchema } from 'typebox'
import { compile, firstError } from '../channel-rules.ts'
import type { ConnectionManager } from '../hub/connection-manager.ts'
import { ReplyError, type FaultLog } from '../reply-errors.ts'

/** How many entries a batch, a broadcast or a list may have. */
export const MAX_ENTRIES = 1024
/** How many publications and commands of one request are under way at a time. */
export const PARALLEL = 64
const MAX_REPLY_BYTES = 33_554_432

/** What the replies to one request may take in memory, all together. */
export class Room {
  readonly #most: number
  #bytes: number

  /** @param most bytes that they may take */
  constructor (most = MAX_REPLY_BYTES) {
    this.#most = most
    this.#bytes = most
  }

  /**
   * Takes room for what is about to be made.
   *
   * @param bytes 0: only asks whether there is any
   * @throws {ReplyError} 106 if there is not as much left
   */
  take (bytes: number): void {
    if (bytes > this.#bytes) throw new ReplyError(106, `The replies to one request may have ${this.#most} bytes in all: ask for less at once`)
    this.#bytes -= bytes
  }

  /** Counts what has been made. */
  add (bytes: number): void {
    this.#bytes -= bytes
  }
}

/** What methods work with. */
export interface Context {
  readonly connections: ConnectionManager
  /** What a publication may have, in bytes. */
  readonly maxMessageBytes: number
  readonly log: FaultLog
  /** For the replies to the request that is being answered. */
  readonly room: Room
}

/** The result of a method, or its JSON where that is written already and has its room. */
export type Result = object | string

/** One method of the server API. */
export interface Method {
  /** What its parameters are. Fields that it does not name are ignored: newer clients send more. */
  readonly schema: TSchema
  /**
   * @param params as they came
   * @throws {ReplyError} 107 if they do not satisfy the schema, and others
   * @throws {FanfareError} what the connection manager throws
   */
  readonly call: (context: Context, params: unknown) => Promise<Result>
}

/** Makes a method of a schema and of what it does with parameters that satisfy it. */
export function method<Schema extends TSchema> (schema: Schema, run: (context: Context, params: Static<Schema>) => Promise<Result>): Method {
  const validate = compile(schema)
  return {
    schema,
    async call (context, params) {
      if (!validate(params)) throw new ReplyError(107, firstError(validate))
      return run(context, params as Static<Schema>)
    }
  }
}

/** A field that may be left out, or be null as some languages write that. */
export function optional<Schema extends TSchema> (schema: Schema) {
  return Type.Optional(Type.Union([schema, Type.Null()]))
}
