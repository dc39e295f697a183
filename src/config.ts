import { existsSync, readFileSync, statSync } from 'node:fs'
import { parseEnv } from 'node:util'
import proxyAddr from '@fastify/proxy-addr'
import { envSchema } from 'env-schema'
import { Type, type Static, type TObject, type TSchema } from 'typebox'
import type { ChannelRule } from './channel-rules.ts'
import { isOriginPattern } from './auth/origin.ts'
import { publicKeyIn } from './auth/public-key.ts'
import { isRedisUrl } from './brokers/redis-url.ts'
import { areForwardable, callbackEvents, isBaseUrl, isSecret } from './callbacks/settings.ts'
import { SettingError } from './errors.ts'
import { isHttpUrl } from './http-url.ts'

/** How long a history may be kept at most: 100 years. Redis takes no time that is much later. */
export const LONGEST_TTL_S = 3_153_600_000

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
  allowedOrigins: list('Origins that may connect from a browser, exact or globs with up to three of `*` and `{` and no parentheses; none given: only the host that serves the page; `*` allows all. A request without Origin passes', 'a comma-separated list such as https://example.com,https://*.example.org'),
  maxMessageBytes: count('Largest message that a client may send, after decompression; larger ones close with 1009', 65_536, 'bytes', 1),
  maxBufferedBytes: count('What may wait for one slow client before it is closed with 3008', 1_048_576, 'bytes', 1),
  slowReceiver: Type.Union([Type.Literal('close'), Type.Literal('drop')], { description: 'What happens to a client with more than MAX_BUFFERED_BYTES waiting: `close` with 3008, or `drop` publications until it has caught up', default: 'close', takes: 'close or drop' }),
  maxConnections: count('Connections on this node; more are refused with 503. 0: as many as the limit of open files allows', 0, 'connections'),
  maxConnectionsPerIp: count('Connections from one address, or from one /64 of IPv6; more are refused with 429. 0: no limit', 0, 'connections'),
  maxChannels: count('Channels that one connection may be in', 128, 'channels', 1),
  messageRate: Type.Number({ description: 'Messages per second that one connection may send; above it reading pauses, nothing is dropped. 0: no limit', unit: 'messages per second', default: 0, minimum: 0, takes: 'a number of messages per second, 0 or more' }),
  pingInterval: seconds('Every connection is pinged once in this time', 25),
  pongTimeout: seconds('A connection that has not answered a ping after this time is closed with 3012', 8),
  compression: Type.Boolean({ description: 'permessage-deflate for clients that offer it, without context takeover', default: true, takes: 'on or off' }),
  compressionThreshold: count('Messages from this size on are compressed; from 16 KiB on those that threads have time for', 1024, 'bytes'),
  historySize: count('Publications that a channel keeps for who comes later or comes back. 0: none', 100, 'publications'),
  historyTtl: Type.Number({ description: 'How long a channel keeps them after its last publication. 0: not at all', unit: 'seconds', default: 300, minimum: 0, maximum: LONGEST_TTL_S, takes: `a number of seconds from 0 to ${LONGEST_TTL_S}` }),
  maxHistoryBytes: count('What all channels together keep in this process; the idlest give way. Not with Redis, which has limits of its own', 268_435_456, 'bytes', 1),
  presence: Type.Boolean({ description: 'Whether it is known who is in a channel', default: true, takes: 'on or off' }),
  presenceTtl: seconds('How long those are taken to be there whose node has died', 60),
  channelsFile: Type.String({ description: 'JSON file with rules for channels by name: history, presence, slow receivers, schema; see docs/channels.md', default: '', takes: 'the path of a file' }),
  redisUrl: Type.String({ description: 'Redis that the nodes of a cluster share; none given: each node is alone. See docs/scaling.md', default: '', secret: true, takes: 'redis://host:6379/0, rediss:// for TLS, redis+cluster://host:6379,host:6379 or redis+sentinel://host:26379,host:26379/master-name' }),
  redisPrefix: Type.String({ description: 'What the names of all keys and channels in Redis begin with', default: 'fanfare', pattern: '^[\\w.:/-]+$', takes: 'letters, digits and any of . : / _ -' }),
  redisShardedPubsub: Type.Union([Type.Literal('auto'), Type.Literal('on'), Type.Literal('off')], { description: 'Whether publications travel by sharded Pub/Sub (Redis 7); `auto`: in a Redis Cluster that has it', default: 'auto', takes: 'auto, on or off' }),
  apiKey: Type.String({ description: 'Key of the server API; none given: it answers 401', default: '', secret: true, takes: 'a text' }),
  tokenHmacSecret: Type.String({ description: 'Secret that tokens are signed with (HS256, HS384, HS512). Without any TOKEN_ key the server is open to everyone; see docs/security.md', default: '', secret: true, takes: 'a text' }),
  tokenHmacPreviousSecret: Type.String({ description: 'The secret before the last rotation, as long as its tokens are about', default: '', secret: true, takes: 'a text' }),
  tokenPublicKey: Type.String({ description: 'Public key (RSA, EC or Ed25519) of those who sign tokens', default: '', secret: true, takes: 'a public key in PEM, in which \\n stands for a new line, or the path of a file with it' }),
  tokenJwksUrl: Type.String({ description: 'Where the issuer of tokens publishes its keys (JWKS)', default: '', takes: 'a URL that begins with http:// or https://, without user' }),
  tokenIssuer: Type.String({ description: 'Issuer (iss) that tokens must name', default: '', takes: 'a text' }),
  tokenAudience: Type.String({ description: 'Audience (aud) that tokens must name', default: '', takes: 'a text' }),
  tokenCookie: Type.String({ description: 'Cookie that may hold the token, for pages whose Origin is allowed', default: 'fanfare_token', pattern: '^[\\w.-]+$', takes: 'letters, digits and any of . _ -' }),
  allowAnonymous: Type.Boolean({ description: 'Whether clients without a token may connect where tokens are verified; they may do what rules allow to everyone', default: false, takes: 'on or off' }),
  callbackUrl: Type.String({ description: 'Where your back end takes callbacks: each is POSTed to this URL and `/connect`, `/refresh`, `/subscribe`, `/publish`, `/rpc` or `/events`. See docs/callbacks.md', default: '', takes: 'a URL that begins with http:// or https://, without user, ? and #' }),
  callbackEvents: Type.Array(Type.Enum([...callbackEvents]), { description: 'What the back end decides (connect, refresh, subscribe, publish, rpc) and is told of (disconnect, unsubscribe, channel)', default: [], takes: `beside CALLBACK_URL a comma-separated list of ${callbackEvents.join(', ')}` }),
  callbackSecret: Type.String({ description: 'Secret that callbacks are signed with (Standard Webhooks)', default: '', secret: true, takes: 'whsec_ and 24 to 64 bytes in base64; `echo whsec_$(openssl rand -base64 32)` makes one' }),
  callbackHeaders: list('Headers of a client that go along with `/connect`', 'a comma-separated list of names of headers, none of which belongs to the callback itself', ['cookie', 'authorization', 'origin', 'user-agent', 'x-real-ip']),
  hookTimeout: seconds('What a hook, or a callback to CALLBACK_URL, may take', 5),
  connectRate: count('Attempts to connect from one address, or from one /64 of IPv6, in a minute; more are refused with 429. 0: no limit', 0, 'attempts per minute'),
  userMessageRate: Type.Number({ description: 'Messages per second that all connections of a user on this node may send; above it reading pauses. 0: no limit', unit: 'messages per second', default: 0, minimum: 0, takes: 'a number of messages per second, 0 or more' }),
  maxEventLoopDelay: count('Event loop delay from which on new connections are refused with 503, those there are go on. 0: off', 0, 'milliseconds'),
  page: Type.Boolean({ description: 'Whether the test page is served at /', default: true, takes: 'on or off' }),
  routesDir: Type.String({ description: 'Folder of your own Fastify plugins and routes, loaded after ours', default: '', takes: 'the path of a folder' }),
  drainTimeout: seconds('How long a stopping node spreads the closing of its connections', 10)
}

/** The settings of the process, which the plugin does not take: they belong to whoever listens. */
export const processSettings = {
  host: Type.String({ description: 'Address to listen on', default: '127.0.0.1', minLength: 1, takes: 'an address or host name' }),
  port: Type.Integer({ description: 'Port to listen on; 0 takes a free one', default: 8000, minimum: 0, maximum: 65_535, takes: 'a whole number from 0 to 65535' }),
  logLevel: Type.Union(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)), { description: 'What is logged; pretty on a terminal, JSON lines elsewhere', default: 'info', takes: 'fatal, error, warn, info, debug, trace or silent' }),
  workers: Type.Integer({ description: 'Processes that share the port, and REDIS_URL; 0: one for each core. See docs/workers.md', default: 1, minimum: 0, maximum: 256, takes: 'a whole number from 0 to 256' }),
  trustProxy: list('Reverse proxies whose X-Forwarded-* headers count', 'a comma-separated list of addresses or CIDRs such as 10.0.0.0/8')
}

const pluginSchema = Type.Object(pluginSettings)
const serverSchema = Type.Object({ ...processSettings, ...pluginSettings })

/** The plugin's settings, validated and complete. */
export type PluginSettings = Static<typeof pluginSchema>
/** What the plugin works with: its settings, and what cannot be written in a variable. */
export interface PluginOptions extends PluginSettings {
  /** Rules for channels by name; they come before those of `channelsFile`. See docs/channels.md. */
  readonly channels?: readonly ChannelRule[]
}
/** Everything that the process takes: the plugin's settings and where to listen. */
export type ServerSettings = Static<typeof serverSchema>

/** Whether nothing is configured that says who somebody is: everyone may do everything then. */
export function isOpen ({ tokenHmacSecret, tokenHmacPreviousSecret, tokenPublicKey, tokenJwksUrl, callbackEvents }: Pick<PluginSettings, 'tokenHmacSecret' | 'tokenHmacPreviousSecret' | 'tokenPublicKey' | 'tokenJwksUrl' | 'callbackEvents'>): boolean {
  return !tokenHmacSecret && !tokenHmacPreviousSecret && !tokenPublicKey && !tokenJwksUrl && !callbackEvents.includes('connect')
}

/** The environment variable of a setting: `maxMessageBytes` is `MAX_MESSAGE_BYTES`. */
export function variableOf (setting: string): string {
  return setting.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/**
 * Validates plugin options and fills in the defaults.
 *
 * @throws {SettingError} naming the first option that is wrong, what it got and what it takes
 */
export function pluginSettingsFrom ({ channels, prefix, ...options }: Partial<PluginOptions> & { prefix?: string }): PluginOptions {
  for (const name of Object.keys(options)) {
    if (!(name in serverSchema.properties)) throw new SettingError(name, 'is not a setting of Fanfare')
  }
  // Fastify ignores it for a plugin that is not encapsulated, as this one, whose decorators are for the whole app.
  if (prefix) throw new SettingError('prefix', `is not taken by Fanfare itself; register it in a context with one: app.register(async (app) => app.register(fanfare), { prefix: ${JSON.stringify(prefix)} })`)
  // They are looked at all the same. What comes back has none of them: Fastify would take `logLevel` for one of its own options.
  const given: Record<string, unknown> = options
  validate(Type.Object(processSettings), Object.fromEntries(settingsOfProcess(options).map((name) => [name, given[name]])), (name) => name)
  return { ...validate(pluginSchema, defined(options), (name) => name) as PluginSettings, ...channels && { channels } }
}

/** Which options mean nothing to the plugin, as they belong to whoever listens. */
export function settingsOfProcess (options: object): (keyof typeof processSettings)[] {
  return Object.keys(options).filter((name): name is keyof typeof processSettings => name in processSettings)
}

/**
 * Reads the settings of the process: command line before environment before `.env`.
 *
 * @param flags settings from the command line, by camelCase name
 * @param environment where the variables are; `.env` in the working directory is read too
 * @throws {SettingError} naming the first setting that is wrong, what it got and what it takes
 */
export function serverSettingsFrom (flags: Record<string, unknown> = {}, environment: NodeJS.ProcessEnv = process.env): ServerSettings {
  const variables = { ...defined(readDotEnv()), ...defined(environment) }
  const values: Record<string, unknown> = {}
  for (const name of Object.keys(serverSchema.properties)) values[name] = variables[variableOf(name)]
  return validate(serverSchema, { ...defined(values), ...defined(flags) }, variableOf) as ServerSettings
}

function validate (schema: TObject, given: Record<string, unknown>, nameOf: (name: string) => string): unknown {
  const properties: Record<string, TSchema> = schema.properties
  const values = { ...given }
  const refuse = (name: string): never => {
    const { takes, secret } = properties[name] as { takes?: string, secret?: boolean }
    throw new SettingError(nameOf(name), `takes ${takes}, but got ${secret || /\/\/.*@/.test(String(given[name])) ? 'something else' : JSON.stringify(given[name])}`)
  }
  for (const [name, value] of Object.entries(values)) {
    const property = properties[name]
    if (property && typeof value === 'string') values[name] = fromText(property, value)
  }
  if (Array.isArray(values.allowedOrigins) && !values.allowedOrigins.every(isOriginPattern)) refuse('allowedOrigins')
  if (typeof values.routesDir === 'string' && !statSync(values.routesDir, { throwIfNoEntry: false })?.isDirectory()) refuse('routesDir')
  if (typeof values.tokenJwksUrl === 'string' && !isHttpUrl(values.tokenJwksUrl)) refuse('tokenJwksUrl')
  if (typeof values.tokenPublicKey === 'string') values.tokenPublicKey = pemOf(values.tokenPublicKey) ?? refuse('tokenPublicKey')
  if (typeof values.redisUrl === 'string' && !isRedisUrl(values.redisUrl)) refuse('redisUrl')
  if (typeof values.callbackUrl === 'string' && !isBaseUrl(values.callbackUrl)) refuse('callbackUrl')
  const [present, absent] = values.callbackUrl ? ['callbackUrl', 'callbackEvents'] as const : ['callbackEvents', 'callbackUrl'] as const
  if (Boolean(values.callbackUrl) !== Boolean((values.callbackEvents as unknown[] | undefined)?.length)) throw new SettingError(nameOf(present), `needs ${nameOf(absent)} beside it`)
  if (typeof values.callbackSecret === 'string' && !isSecret(values.callbackSecret)) refuse('callbackSecret')
  if (Array.isArray(values.callbackHeaders) && !areForwardable(values.callbackHeaders)) refuse('callbackHeaders')
  if (Array.isArray(values.trustProxy) && !areAddresses(values.trustProxy)) refuse('trustProxy')
  try {
    return envSchema({ schema, data: values, env: false, ajv: { customOptions: (ajv) => ajv.addVocabulary(['takes', 'unit', 'secret']) } })
  } catch (error) {
    const name = (error as { errors?: { instancePath: string }[] }).errors?.[0]?.instancePath.split('/')[1]
    if (name === undefined) throw error
    return refuse(name)
  }
}

// In PEM as it is, with the new lines that a variable may not have, or in a file.
function pemOf (text: string): string | undefined {
  try {
    const pem = text.includes('-----BEGIN') ? text.replaceAll('\\n', '\n') : readFileSync(text, 'utf8')
    publicKeyIn(pem)
    return pem
  } catch {}
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
  // Not at commas in braces, which a glob may have.
  if (type === 'array') return text.split(/,(?![^{]*\})/).map((item) => item.trim()).filter(Boolean)
  if (type === 'boolean') return { on: true, true: true, 1: true, off: false, false: false, 0: false }[text.toLowerCase()] ?? text
  return text.trim()
}

// An empty variable is how compose files and shells say "not set".
function defined (values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''))
}

function readDotEnv (): NodeJS.Dict<string> {
  try {
    return existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {}
  } catch (error) {
    throw new SettingError('.env', `cannot be read: ${(error as Error).message}`)
  }
}
