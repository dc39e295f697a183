import { readFileSync } from 'node:fs'
import AjvCompiler from '@fastify/ajv-compiler'
import { Type, type Static } from 'typebox'
import type { PluginSettings } from './config.ts'
import { SettingError } from './errors.ts'
import { ChannelRules, type ChannelRule as HubRule } from './hub/channel-rules.ts'
import { permissions, type Permissions } from './hub/permissions.ts'
import type { Publication } from './hub/publication.ts'
import { depthRefusal } from './json-depth.ts'

const permission = Type.Enum(permissions)

/** How the channels behave whose name matches; what is left out is as the settings say. The first rule that matches counts. */
export const channelRule = Type.Object({
  /** A name or a glob: `orders`, `chat:*`, `{news,sports}:**`. */
  match: Type.String({ minLength: 1 }),
  /** Publications that are kept; 0: none. */
  historySize: Type.Optional(Type.Integer({ minimum: 0 })),
  /** How long they are kept after the last one, in seconds; 0: not at all. */
  historyTtl: Type.Optional(Type.Number({ minimum: 0 })),
  /** Whether it is known who is there. */
  presence: Type.Optional(Type.Boolean()),
  /** What happens to a client that reads too slowly: `close` or `drop`. */
  slowReceiver: Type.Optional(Type.Union([Type.Literal('close'), Type.Literal('drop')])),
  /** Who may do what; what is left out is as where no rule matches. See docs/security.md. */
  allow: Type.Optional(Type.Object({
    subscribe: Type.Optional(permission),
    publish: Type.Optional(permission),
    presence: Type.Optional(permission),
    history: Type.Optional(permission)
  }, { additionalProperties: false })),
  /** JSON schema that the data of every publication must satisfy. */
  schema: Type.Optional(Type.Object({}))
}, { additionalProperties: false })

export type ChannelRule = Static<typeof channelRule>

/** What a compiled schema is: a function that says whether a value satisfies it, and leaves what is wrong beside. */
export type Validate = ((value: unknown) => boolean) & { errors?: { instancePath: string, message?: string, params?: object }[] | null }

// What is published is passed on as it is: nothing is converted, filled in or left out.
const compiler = AjvCompiler()({}, { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false } })
/** Compiles a JSON schema; throws if it is none. */
export const compile = (schema: object): Validate => compiler({ schema, method: '', url: '' }) as unknown as Validate

const validateRules = compile(Type.Array(channelRule))

/**
 * Makes the rules of a node from its settings, its `channels` option and its CHANNELS_FILE, in this order.
 *
 * @param allow who may do what where no rule says so
 * @throws {SettingError} that names the first rule that is wrong, and what is wrong with it
 */
export function channelRulesOf (settings: PluginSettings, allow: Permissions, channels: unknown = []): ChannelRules {
  const rules = [...compiled('channels', channels), ...compiled('CHANNELS_FILE', settings.channelsFile ? readRules(settings.channelsFile) : [])]
  return new ChannelRules({ ...settings, allow }, rules)
}

function readRules (file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new SettingError('CHANNELS_FILE', `takes the path of a JSON file: ${(error as Error).message}`)
  }
}

function compiled (source: string, rules: unknown): HubRule[] {
  if (!validateRules(rules)) throw new SettingError(source, `takes a list of rules, see docs/channels.md: ${firstError(validateRules)}`)
  return (rules as ChannelRule[]).map(({ schema, ...rule }) => {
    try {
      return schema ? { ...rule, refuse: refusalBy(compile(schema)) } : rule
    } catch (error) {
      throw new SettingError(source, `has a schema for ${rule.match} that is none: ${(error as Error).message}`)
    }
  })
}

function refusalBy (validate: Validate): (publication: Publication) => string | undefined {
  return (publication) => {
    if (publication.kind === 'binary') return 'it is binary, and should be JSON'
    const text = publication.data.toString()
    const refusal = depthRefusal(text)
    if (refusal !== undefined) return refusal
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      return 'it is not JSON'
    }
    if (!validate(value)) return firstError(validate)
  }
}

/** What is wrong with the value that a schema has refused last, in a few words that begin with its path. */
export function firstError ({ errors }: Validate): string {
  const [error] = errors ?? []
  const detail = Object.values(error?.params ?? {})[0]
  return `${error?.instancePath || '/'} ${error?.message}${error?.message?.includes('additional') ? `: ${String(detail)}` : ''}`
}
