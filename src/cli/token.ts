import { createSecretKey } from 'node:crypto'
import { format, parse } from '@lukeed/ms'
import { Command, InvalidArgumentError, Option } from 'commander'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import { LAST_SECOND } from '../auth/claims.ts'
import { TokenVerifier } from '../auth/token-verifier.ts'
import { serverSettingsFrom, type ServerSettings } from '../config.ts'
import { visible } from './output.ts'

interface TokenFlags {
  user?: string
  channels?: string[]
  channel?: string
  expires: string
  check?: string
}

const EXAMPLES = `
Examples:
  $ fanfare token --user ada                              a token for the user ada, for an hour
  $ fanfare token --user ada --channels news,orders:42    one that opens these channels
  $ fanfare token --user ada --channel '$room'            a subscription token for one channel
  $ fanfare token --check eyJhbGciOi…                     what a token says, and whether it is taken

It is signed with TOKEN_HMAC_SECRET (HS256), which is read as by the server: from the environment or from .env.`

/** `fanfare token`: makes a token for trying out, or explains one. */
export function tokenCommand (): Command {
  return new Command('token')
    .summary('make a token for trying out, or explain one')
    .description('Prints a token signed with TOKEN_HMAC_SECRET, or says what a token holds and whether the server takes it.')
    .option('--user <id>', 'user that the token is for (sub)', named)
    .option('--channels <names>', 'channels that it opens, with commas between', (names: string) => names.split(',').map((name) => named(name.trim())))
    .addOption(new Option('--channel <name>', 'makes a subscription token for this channel instead').argParser(named).conflicts('channels'))
    .option('--expires <time>', 'after which it ends: 90s, 15m, 1h, 7d', time, '1h')
    .option('--check <jwt>', 'says what this token holds, and whether the server takes it')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run (flags: TokenFlags, command: Command): Promise<void> {
  let settings: ServerSettings
  try {
    settings = serverSettingsFrom()
  } catch (error) {
    command.error((error as Error).message)
  }
  if (flags.check !== undefined) await explain(flags.check, settings)
  else if (flags.user === undefined) command.error('Say for whom the token is: --user ID')
  else if (!settings.tokenHmacSecret) command.error('Set TOKEN_HMAC_SECRET, which the token is to be signed with: the server must have the same')
  else process.stdout.write(`${await sign(flags, settings)}\n`)
}

async function sign ({ user, channels, channel, expires }: TokenFlags, settings: ServerSettings): Promise<string> {
  const { tokenHmacSecret, tokenIssuer, tokenAudience } = settings
  const token = new SignJWT({ ...channel !== undefined ? { channel } : channels && { channels } })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(user ?? '')
    .setIssuedAt()
    .setExpirationTime(Math.floor((Date.now() + Number(parse(expires))) / 1000))
  if (tokenIssuer) token.setIssuer(tokenIssuer)
  if (tokenAudience) token.setAudience(tokenAudience)
  return token.sign(createSecretKey(tokenHmacSecret, 'utf8'))
}

async function explain (token: string, settings: ServerSettings): Promise<void> {
  try {
    print('header', decodeProtectedHeader(token))
    const claims = decodeJwt(token)
    print('claims', claims)
    for (const name of ['iat', 'nbf', 'exp', 'expire_at']) {
      const at = claims[name]
      if (typeof at === 'number' && at > 0 && at <= LAST_SECOND) print(name, `${new Date(at * 1000).toISOString()}, ${distance(at * 1000 - Date.now())}`)
    }
  } catch {
    process.stdout.write('This is not a JWT: three parts of base64url with dots between.\n')
    process.exitCode = 1
    return
  }
  const verifier = new TokenVerifier(settings)
  if (!verifier.hasKeys) {
    process.stdout.write('No key is set (TOKEN_HMAC_SECRET, TOKEN_PUBLIC_KEY or TOKEN_JWKS_URL), so that it cannot be verified.\n')
    return
  }
  try {
    const isSubscription = decodeJwt(token).channel !== undefined
    if (isSubscription) await verifier.subscription(token)
    else await verifier.connection(token)
    process.stdout.write(`The server takes it, as ${isSubscription ? 'a subscription' : 'a connection'} token.\n`)
  } catch (error) {
    process.stdout.write(`The server refuses it: ${(error as Error).message}\n`)
    process.exitCode = 1
  }
}

function print (name: string, value: unknown): void {
  process.stdout.write(`${`${name}:`.padEnd(11)}${visible(typeof value === 'string' ? value : JSON.stringify(value))}\n`)
}

function distance (ms: number): string {
  const text = format(Math.abs(ms), true)
  return ms < 0 ? `${text} ago` : `in ${text}`
}

function named (text: string): string {
  if (text === '') throw new InvalidArgumentError('It takes a name.')
  return text
}

// A number alone would be taken for milliseconds.
function time (text: string): string {
  const ms = Number(parse(text))
  if (/^[\d.]*$/.test(text) || !(ms > 0) || (Date.now() + ms) / 1000 > LAST_SECOND) throw new InvalidArgumentError('It takes a time such as 90s, 15m, 1h or 7d.')
  return text
}
