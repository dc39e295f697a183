import type { Static, TSchema } from 'typebox'
import type { ReplyBudget } from '../centrifugo/reply-budget.ts'
import type { ConnectionManager } from '../hub/connection-manager.ts'
import { compile, firstError } from '../json-schema.ts'
import { ReplyError, type FaultLog } from '../reply-errors.ts'

/** How many entries a batch, a broadcast or a list may have. */
export const MAX_ENTRIES = 1024
/** How many publications and commands of one request are under way at a time. */
export const PARALLEL = 64

/** What methods work with. */
export interface Context {
  readonly connections: ConnectionManager
  /** What a publication may have, in bytes. */
  readonly maxMessageBytes: number
  readonly log: FaultLog
  /** For the replies to the request that is being answered. */
  readonly budget: ReplyBudget
}

/** The result of a method, or its JSON where that is written already and has its budget. */
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
