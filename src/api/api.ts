import { Type } from 'typebox'
import { ReplyBudget } from '../centrifugo/reply-budget.ts'
import { optional } from '../json-schema.ts'
import { ReplyError, replyErrorOf } from '../reply-errors.ts'
import { inTurns } from './in-turns.ts'
import { MAX_ENTRIES, method, PARALLEL, type Context } from './method.ts'
import { methods } from './methods.ts'

interface Command { readonly name: string, readonly params: unknown }

const batch = method(Type.Object({
  commands: Type.Array(Type.Record(Type.String(), Type.Unknown()), { maxItems: MAX_ENTRIES }),
  parallel: optional(Type.Boolean())
}), async (context, { commands, parallel }) => {
  const replies = await inTurns(commands.map(commandOf), parallel ? PARALLEL : 1, ({ name, params }) => orError(context, async () => {
    return `{"${name}":${await run(context, name, params)}}`
  }))
  return `{"replies":[${replies.join(',')}]}`
})

const legacy = method(Type.Object({ method: Type.String(), params: Type.Optional(Type.Unknown()) }), async (context, { method, params = {} }) => {
  return `{"result":${await run(context, method, params)}}`
})

/** The server API, whatever carries it: from parameters to the JSON of replies. */
export class Api {
  readonly #parts: Omit<Context, 'budget'>

  constructor (parts: Omit<Context, 'budget'>) {
    this.#parts = parts
  }

  /**
   * Runs one method, or a batch of them.
   *
   * @param params as they came
   * @returns the reply
   * @throws {ReplyError}
   */
  async call (name: string, params: unknown): Promise<string> {
    const context = this.#context()
    try {
      if (name === 'batch') return String(await batch.call(context, params))
      return `{"result":${await run(context, name, params)}}`
    } catch (error) {
      throw replyErrorOf(error, context.log)
    }
  }

  /**
   * Runs commands of the old form, `{"method","params"}`, one after another.
   *
   * @returns a reply to each, with `result` or `error`
   */
  async callAll (commands: readonly unknown[]): Promise<string[]> {
    const context = this.#context()
    return inTurns(commands, 1, (command) => orError(context, async () => String(await legacy.call(context, command))))
  }

  #context (): Context {
    return { ...this.#parts, budget: new ReplyBudget() }
  }
}

async function run (context: Context, name: string, params: unknown): Promise<string> {
  const method = methods.get(name)
  if (!method) throw new ReplyError(104)
  context.budget.take(0)
  const result = await method.call(context, params)
  if (typeof result === 'string') return result
  const text = JSON.stringify(result)
  context.budget.add(text.length)
  return text
}

async function orError (context: Context, reply: () => Promise<string>): Promise<string> {
  try {
    return await reply()
  } catch (error) {
    return JSON.stringify({ error: replyErrorOf(error, context.log) })
  }
}

// A command of a batch is an object with the method's name as its only field.
function commandOf (command: Record<string, unknown>): Command {
  const names = Object.keys(command)
  const name = names.find((name) => methods.has(name)) ?? names[0] ?? ''
  return { name, params: command[name] }
}
