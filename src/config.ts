import { existsSync, readFileSync, statSync } from 'node:fs'
import { parseEnv } from 'node:util'
import proxyAddr from '@fastify/proxy-addr'
import { envSchema } from 'env-schema'
import { Type, type Static, type TObject, type TSchema } from 'typebox'
import { SettingError } from './errors.ts'

const seconds = (description: string, standard: number) =>
  Type.Number({ description, unit: 'seconds', default: standard, exclusiveMinimum: 0, maximum: 86_400, takes: 'a number of seconds above 0 and at most 86400' })

const count = (description: string, standard: number, unit: string, minimum = 0) =>
  Type.Integer({ description, unit, default: standard, minimum, maximum: Number.MAX_SAFE_INTEGER, takes: `a whole number of ${unit}, ${minimum} or more` })

const list = (description: string, takes: string, standard: string[] = []) =>
  Type.Array(Type.String({ minLength: 1 }), { description, default: standard, takes })

/**
 * The settings of the plugin: each is an option of `app.register(fanfare, { … })` in camelCase, and an
 * environment variable in upper case with underscores (`maxMessageBytes` is `MAX_MESSAGE_BYTES`).
 */
export const pluginSettings = {
  allowedOrigins: list('Origins that may connect from a browser, exact or globs; none given: only the host that serves the page; `*` allows all. A request without Origin passes', 'a comma-separated list such as https://example.com,https://*.example.org'),
  maxMessageBytes: count('Largest message that a client may send, after decompression; larger ones close with 1009', 65_536, 'bytes', 1),
  maxBufferedBytes: count('What may wait for one slow client before it is closed with 3008', 1_048_576, 'bytes', 1),
  slowReceiver: Type.Union([Type.Literal('close'), Type.Literal('drop')], { description: 'What happens to a client with more than MAX_BUFFERED_BYTES waiting: `close` with 3008, or `drop` publications until it has caught up', default: 'close', takes: 'close or drop' }),
  maxConnections: count('Connections on this node; more are refused with 503. 0: as many as the limit of open files allows', 0, 'connections'),
  maxConnectionsPerIp: count('Connections from one address; more are refused with 429. 0: no limit', 0, 'connections'),
  maxChannels: count('Channels that one connection may be in', 128, 'channels', 1),
  messageRate: Type.Number({ description: 'Messages per second that one connection may send; above it reading pauses, nothing is dropped. 0: no limit', unit: 'messages per second', default: 0, minimum: 0, takes: 'a number of messages per second, 0 or more' }),
  pingInterval: seconds('Every connection is pinged once in this time', 25),
  pongTimeout: seconds('A connection that has not answered a ping after this time is closed with 3012', 8),
  compression: Type.Boolean({ description: 'permessage-deflate for clients that offer it, without context takeover', default: true, takes: 'on or off' }),
  compressionThreshold: count('Messages from this size on are compressed', 1024, 'bytes'),
  page: Type.Boolean({ description: 'Whether the test page is served at /', default: true, takes: 'on or off' }),
  routesDir: Type.String({ description: 'Folder of your own Fastify plugins and routes, loaded after ours', default: '', takes: 'the path of a folder' }),
  drainTimeout: seconds('How long a stopping node spreads the closing of its connections', 10)
}

/** The settings of the process, which the plugin does not take: they belong to whoever listens. */
export const processSettings = {
  host: Type.String({ description: 'Address to listen on', default: '127.0.0.1', minLength: 1, takes: 'an address or host name' }),
  port: Type.Integer({ description: 'Port to listen on; 0 takes a free one', default: 8000, minimum: 0, maximum: 65_535, takes: 'a whole number from 0 to 65535' }),
  logLevel: Type.Union(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)), { description: 'What is logged; pretty on a terminal, JSON lines elsewhere', default: 'info', takes: 'fatal, error, warn, info, debug, trace or silent' }),
  trustProxy: list('Reverse proxies whose X-Forwarded-* headers count', 'a comma-separated list of addresses or CIDRs such as 10.0.0.0/8')
}

const pluginSchema = Type.Object(pluginSettings)
const serverSchema = Type.Object({ ...processSettings, ...pluginSettings })

/** The plugin's settings, validated and complete. */
export type PluginSettings = Static<typeof pluginSchema>
/** Everything that the process takes: the plugin's settings and where to listen. */
export type ServerSettings = Static<typeof serverSchema>

/** The environment variable of a setting: `maxMessageBytes` is `MAX_MESSAGE_BYTES`. */
export function variableOf (setting: string): string {
  return setting.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/**
 * Validates plugin options and fills in the defaults.
 *
 * @throws {SettingError} naming the first option that is wrong, what it got and what it takes
 */
export function pluginSettingsFrom (options: Partial<PluginSettings>): PluginSettings {
  for (const name of Object.keys(options)) {
    if (!(name in serverSchema.properties) && name !== 'prefix') throw new SettingError(name, 'is not a setting of Fanfare')
  }
  return validate(pluginSchema, defined(options), (name) => name) as PluginSettings
}

/**
 * Reads the settings of the process: command line before environment before `.env`.
 *
 * @param flags settings from the command line, by camelCase name
 * @param environment where the variables are; `.env` in the working directory is read too
 * @throws {SettingError} naming the first setting that is wrong, what it got and what it takes
 */
export function serverSettingsFrom (flags: Record<string, unknown> = {}, environment: NodeJS.ProcessEnv = process.env): ServerSettings {
  const variables = { ...readDotEnv(), ...environment }
  const values: Record<string, unknown> = {}
  for (const name of Object.keys(serverSchema.properties)) values[name] = flags[name] ?? variables[variableOf(name)]
  return validate(serverSchema, defined(values), variableOf) as ServerSettings
}

function validate (schema: TObject, given: Record<string, unknown>, nameOf: (name: string) => string): unknown {
  const properties: Record<string, TSchema> = schema.properties
  const values = { ...given }
  const refuse = (name: string): never => {
    throw new SettingError(nameOf(name), `takes ${(properties[name] as { takes?: string }).takes}, but got ${JSON.stringify(given[name])}`)
  }
  for (const [name, value] of Object.entries(values)) {
    const property = properties[name]
    if (property && typeof value === 'string') values[name] = fromText(property, value)
  }
  if (typeof values.routesDir === 'string' && !statSync(values.routesDir, { throwIfNoEntry: false })?.isDirectory()) refuse('routesDir')
  if (Array.isArray(values.trustProxy) && !areAddresses(values.trustProxy)) refuse('trustProxy')
  try {
    return envSchema({ schema, data: values, env: false, ajv: { customOptions: (ajv) => ajv.addVocabulary(['takes', 'unit']) } })
  } catch (error) {
    const name = (error as { errors?: { instancePath: string }[] }).errors?.[0]?.instancePath.split('/')[1]
    if (name === undefined) throw error
    return refuse(name)
  }
}

function areAddresses (list: string[]): boolean {
  try {
    proxyAddr.compile(list)
    return true
  } catch {
    return false
  }
}

// Text is all that the environment and the command line have; lists and switches need a reading of their own.
function fromText (schema: TSchema, text: string): unknown {
  const { type } = schema as { type?: string }
  if (type === 'array') return text.split(',').map((item) => item.trim()).filter(Boolean)
  if (type === 'boolean') return { on: true, true: true, 1: true, off: false, false: false, 0: false }[text.toLowerCase()] ?? text
  return text.trim()
}

// An empty variable is how compose files and shells say "not set".
function defined (values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''))
}

function readDotEnv (): NodeJS.Dict<string> {
  return existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {}
}
