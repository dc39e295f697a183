import { Type, type Static, type TSchema } from 'typebox'
import { historyParams } from '../../centrifugo/history.ts'
import { compile, firstError, optional, record } from '../../json-schema.ts'

const MAX_ID = 4_294_967_295

const position = { offset: optional(Type.Integer({ minimum: 0 })), epoch: optional(Type.String()) }
const channel = { channel: Type.String() }

/** What clients may command, and with what. Fields that are not named are ignored: newer clients send more. */
const commands = {
  connect: Type.Object({
    token: optional(Type.String()),
    data: Type.Optional(Type.Unknown()),
    subs: optional(record(Type.Object({ recover: optional(Type.Boolean()), ...position }))),
    name: optional(Type.String()),
    version: optional(Type.String())
  }),
  subscribe: Type.Object({
    ...channel,
    ...position,
    token: optional(Type.String()),
    recover: optional(Type.Boolean()),
    data: Type.Optional(Type.Unknown()),
    flag: optional(Type.Integer()),
    type: optional(Type.Integer()),
    tf: Type.Optional(Type.Unknown())
  }),
  unsubscribe: Type.Object(channel),
  publish: Type.Object({ ...channel, data: Type.Optional(Type.Unknown()) }),
  presence: Type.Object(channel),
  presence_stats: Type.Object(channel),
  history: historyParams,
  rpc: Type.Object({ method: optional(Type.String()), data: Type.Optional(Type.Unknown()) }),
  refresh: Type.Object({ token: optional(Type.String()) }),
  sub_refresh: Type.Object({ ...channel, token: optional(Type.String()) }),
  send: Type.Object({}),
  ping: Type.Object({})
} satisfies Record<string, TSchema>

export type CommandName = keyof typeof commands
/** What comes with a command. Data is any value; of a publication it may be bytes. */
export type Params<Name extends CommandName> = Static<typeof commands[Name]>

/** One command of a client. */
export type Command = { [Name in CommandName]: { readonly id: number, readonly name: Name, readonly params: Params<Name> } }[CommandName]

export const commandNames = Object.keys(commands) as CommandName[]
const validators = Object.fromEntries(Object.entries(commands).map(([name, schema]) => [name, compile(schema)])) as unknown as Record<CommandName, ReturnType<typeof compile>>

/**
 * Sees what a command is, and whether it is one.
 *
 * @param command its id, and its parameters under its name
 * @returns it, or what is wrong with it in a few words
 */
export function commandIn (command: Record<string, unknown>): Command | string {
  const name = commandNames.find((name) => command[name] !== undefined && command[name] !== null)
  if (!name) return `a command is one of ${commandNames.join(', ')}`
  const { id } = command
  if (name !== 'send' && !(Number.isInteger(id) && Number(id) > 0 && Number(id) <= MAX_ID)) return '/id must be a whole number from 1'
  const validate = validators[name]
  if (!validate(command[name])) return `/${name}${firstError(validate)}`
  return { id, name, params: command[name] } as Command
}
