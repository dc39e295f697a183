import { readFileSync } from 'node:fs'
import { Type, type Static } from 'typebox'
import { LONGEST_TTL_S, type PluginSettings } from './config.ts'
import { SettingError } from './errors.ts'
import { ChannelRules, type ChannelRule as HubRule } from './hub/channel-rules.ts'
import { globRefusal } from './hub/glob.ts'
import { permissions, type Permissions } from './hub/permissions.ts'
import type { Publication } from './hub/publication.ts'
import { depthRefusal } from './json-depth.ts'
import { compile, firstError, type Validate } from './json-schema.ts'

const permission = Type.Enum(permissions)

/** How the channels behave whose name matches; what is left out is as the settings say. The first rule that matches counts. */
const channelRule = Type.Object({
  /** A name or a glob: `orders`, `chat:*`, `{news,sports}:**`. */
  match: Type.String({ minLength: 1 }),
  /** Publications that are kept; 0: none. */
  historySize: Type.Optional(Type.Integer({ minimum: 0 })),
  /** How long they are kept after the last one, in seconds; 0: not at all. */
  historyTtl: Type.Optional(Type.Number({ minimum: 0, maximum: LONGEST_TTL_S })),
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
    const refusal = globRefusal(rule.match)
    if (refusal) throw new SettingError(source, `has a rule for ${rule.match}, which ${refusal}`)
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
