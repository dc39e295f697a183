import { Command, InvalidArgumentError, Option } from 'commander'
import { parseAddress } from './connect-address.ts'
import { Client } from './connect-client.ts'
import { describeError, UsageError } from './connect-failure.ts'
import { Output } from './output.ts'

const DEFAULT_URL = 'ws://localhost:8000/ws'
/** How long stdout has, after Ctrl-C, to pass on what it was given, in milliseconds. */
const FLUSH_TIMEOUT = 1500

interface ConnectFlags {
  channel?: string
  token?: string
  reconnect: boolean
  binary: boolean
  raw: boolean
  count?: number
  closeOnEof: boolean
  timeout: number
}

const EXAMPLES = `
Examples:
  $ fanfare connect                                       type, and see all
  $ fanfare connect --channel news wss://example.com      listen to one channel
  $ fanfare connect --close-on-eof <in.txt >out.txt       a file there and back
  $ echo hello | fanfare connect --count 1                send one, wait for one

Exit code: 0 after Ctrl-C, --count or --close-on-eof, or when the server closes
normally (1000, 1001 or no code); 1 when it cannot connect, when the connection
is lost, or when the server closes with another code.`

/**
 * Makes the `fanfare connect` subcommand: a WebSocket client that prints what it receives and sends lines of stdin.
 *
 * @returns The command, to be added to the program. It sets process.exitCode and never throws.
 */
export function connectCommand (): Command {
  return new Command('connect')
    .summary('connect to a server, print its messages, send lines of standard input')
    .description('Connects to a WebSocket server, prints every message, and sends each line of standard input.\n' +
      'At the end of input it goes on receiving until the server closes, or Ctrl-C.')
    .argument('[url]', 'ws, wss, http or https address; without a path, /ws is meant', DEFAULT_URL)
    .option('--channel <name>', 'the channel to join (default: the one in the URL, or else "broadcast")', nonEmpty)
    .addOption(new Option('--token <jwt>', 'token to present; the environment keeps it out of the process list (default: none)')
      .env('FANFARE_TOKEN'))
    .option('--reconnect', 'when the connection is lost, connect again, after up to 0.5 s, then 1 s … 20 s', false)
    .option('--binary', 'send each line as a binary message instead of a text message', false)
    .option('--raw', 'print messages as they are also on a terminal, and nothing else on standard output', false)
    .option('--count <number>', 'end after so many received messages (default: unlimited)', positiveInteger)
    .option('--close-on-eof', 'at the end of input, end once everything sent has come back or been taken', false)
    .option('--timeout <seconds>', 'how long connecting may take', positiveNumber, 10)
    .addHelpText('after', EXAMPLES)
    .action(connect)
}

async function connect (url: string, flags: ConnectFlags): Promise<void> {
  const output = new Output(process.stdout, process.stderr, flags.raw)
  try {
    const address = parseAddress(url, flags.channel)
    const client = new Client({ ...flags, address, token: headerSafe(flags.token) }, process.stdin, output)
    stopOnSignals(client)
    process.exitCode = await client.run()
  } catch (error) {
    output.problem(error instanceof UsageError ? error.message : `Cannot connect: ${describeError(error)}`)
    process.exitCode = 1
  }
}

function stopOnSignals (client: Client): void {
  let signals = 0
  const onSignal = (): void => {
    if (++signals > 1) process.exit(0)
    client.stop()
    // A reader of stdout that has stalled would otherwise hold the process.
    setTimeout(() => process.exit(0), FLUSH_TIMEOUT).unref()
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
}

// Not a parser of the option: commander's own sentence about a bad value would show the token.
function headerSafe (token = ''): string | undefined {
  if (!/^[\x21-\x7e]*$/.test(token)) throw new UsageError('The token has characters that a header cannot carry.')
  return token === '' ? undefined : token
}

function nonEmpty (value: string): string {
  if (value === '') throw new InvalidArgumentError('It takes a name.')
  return value
}

function positiveInteger (value: string): number {
  if (!/^[1-9]\d{0,14}$/.test(value)) throw new InvalidArgumentError('It takes a whole number from 1.')
  return Number(value)
}

function positiveNumber (value: string): number {
  const number = Number(value)
  if (!(number > 0 && number <= 86_400)) throw new InvalidArgumentError('It takes a number of seconds, up to 86400.')
  return number
}
