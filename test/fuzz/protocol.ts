import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import fc from 'fast-check'
import { Reader } from 'protobufjs'
import { commandType, replyType } from '../../src/protocols/centrifuge/schema.ts'
import { Client } from '../helper.ts'
import { addressOf, Speaker, type Told } from '../protocols/centrifuge/client.ts'
import { KEY, post } from '../routes/api-client.ts'
import { inTime, TOKEN, Violation, type Arena, type Parser } from './arena.ts'
import { answerOf } from './requests.ts'

const METHODS = ['publish', 'broadcast', 'history', 'history_remove', 'presence', 'presence_stats', 'channels', 'info', 'disconnect', 'refresh', 'subscribe', 'unsubscribe', 'rpc', 'batch', 'nothing', '__proto__']
const FIELDS = ['channel', 'channels', 'data', 'b64data', 'user', 'client', 'session', 'limit', 'since', 'reverse', 'offset', 'epoch', 'tags', 'idempotency_key', 'skip_history', 'disconnect', 'code', 'reason', 'whitelist', 'pattern', 'method', 'params', 'commands', 'parallel', 'expire_at', 'expired', 'info', 'recover', 'delta', '__proto__', 'constructor']
const INTERNAL_ERROR = 100

const text = fc.string({ unit: 'binary', maxLength: 60 })
const channel = fc.oneof(fc.constantFrom('a', 'typed:a', 'quiet:a', '#a', '$a', 'b'), text)
const offset = fc.oneof(fc.nat(20).map(String), fc.constantFrom('9007199254740993', '999999999999999', '-1', '1e3', '0x1', ' 1', '1.5'), text)
/** Positions, right or nearly so. REAL stands for the epoch that the channel has. */
const position = fc.oneof(fc.tuple(fc.constantFrom('REAL', 'abcdefgh', '-', ''), offset).map((pair) => pair.join(':')), text)
const json: fc.Arbitrary<unknown> = fc.oneof(fc.jsonValue(), fc.record({ id: fc.oneof(fc.integer(), fc.jsonValue()) }))

/** JSON, or what is left of it after something was put into it or taken out. */
function damaged (valid: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const damage = fc.record({ json: valid, at: fc.nat(300), cut: fc.nat(5), put: fc.oneof(fc.constantFrom('', '{', '}', '"', '\\', '\\u', ',', '\0', '[[[[', '1e999', '\ud800'), text) })
  return fc.oneof(valid, damage.map(({ json, at, cut, put }) => json.slice(0, at) + put + json.slice(at + cut)))
}

const body = fc.oneof(
  fc.record(Object.fromEntries(FIELDS.map((name) => [name, fc.oneof(channel, fc.integer(), fc.array(channel, { maxLength: 3 }), fc.jsonValue(), fc.record({ offset: fc.integer(), epoch: text }))])), { requiredKeys: [] }),
  fc.record({ channel, data: json }, { requiredKeys: [] }),
  fc.record({ commands: fc.array(fc.dictionary(fc.constantFrom(...METHODS), json, { maxKeys: 2 }), { maxLength: 5 }), parallel: fc.boolean() })
)

const COMMANDS = ['connect', 'subscribe', 'unsubscribe', 'publish', 'presence', 'presence_stats', 'history', 'rpc', 'refresh', 'sub_refresh', 'send', 'ping', 'nothing', '__proto__']
// What a session may be closed with for what its client says.
const SESSION_CODES = [3500, 3501, 3505, 3508]
const LAST_ID = 4_000_000_000

const params = fc.oneof(
  fc.record({ channel, recover: fc.boolean(), offset: fc.oneof(fc.nat(20), fc.jsonValue()), epoch: text, flag: fc.nat(7) }, { requiredKeys: ['channel'] }),
  fc.record({ channel, data: json, limit: fc.integer(), reverse: fc.boolean(), since: fc.oneof(fc.record({ offset: fc.integer(), epoch: text }), fc.jsonValue()) }, { requiredKeys: [] }),
  fc.record({ token: fc.oneof(text, fc.constant(TOKEN)), subs: fc.dictionary(channel, fc.oneof(fc.record({ recover: fc.boolean(), offset: fc.nat() }), fc.jsonValue())), name: text, method: text }, { requiredKeys: [] }),
  fc.jsonValue()
)
const command = fc.tuple(fc.oneof(fc.nat(1000), fc.jsonValue()), fc.constantFrom(...COMMANDS), params).map(([id, name, params]) => JSON.stringify({ id, [name]: params }))
const commands = fc.array(fc.oneof(command, command, fc.constantFrom('{}', ''), text), { maxLength: 6 }).map((lines) => lines.join('\n'))

const inProtobuf = fc.array(fc.oneof(
  fc.tuple(fc.nat(1000), fc.constantFrom(...COMMANDS.slice(0, -2)), fc.record({ channel: text, token: text, data: fc.uint8Array({ maxLength: 40 }), offset: fc.nat(), limit: fc.integer() }, { requiredKeys: [] })).map(([id, name, params]) => encodedCommand(id, name, params)),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(Buffer.alloc(1))
), { maxLength: 5 })
const damagedBytes = fc.record({ pieces: inProtobuf, at: fc.nat(100), cut: fc.nat(4), put: fc.uint8Array({ maxLength: 6 }) }).map(({ pieces, at, cut, put }) => {
  const bytes = Buffer.concat(pieces)
  return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)])
})

function encodedCommand (id: number, name: string, params: object): Buffer {
  return Buffer.from(commandType.encodeDelimited(commandType.fromObject({ id, [name]: params })).finish())
}

type Fed =
  | { readonly commands: string | Buffer, readonly connected: boolean }
  | { readonly message: string | Buffer, readonly channel: string }
  | { readonly query: Readonly<Record<string, string>>, readonly over: '/ws' | '/sse' }
  | { readonly method: string | undefined, readonly body: string }

const cases: fc.Arbitrary<Fed> = fc.oneof(
  fc.record({ commands: damaged(commands), connected: fc.boolean() }),
  fc.record({ commands: fc.oneof(damagedBytes, inProtobuf.map((pieces) => Buffer.concat(pieces))), connected: fc.boolean() }),
  fc.record({ message: fc.oneof(damaged(json.map((value) => JSON.stringify(value))), fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes))), channel: fc.constantFrom('typed:a', 'a', 'quiet:a') }),
  fc.record({
    query: fc.record({ channel, since: position, history: fc.oneof(offset, fc.constantFrom('100', '1000000')), positions: fc.oneof(fc.constantFrom('true', 'false', '1'), text), echo: text }, { requiredKeys: [] }) as fc.Arbitrary<Record<string, string>>,
    over: fc.constant('/ws' as const)
  }),
  fc.record({
    query: fc.record({ channel, history: offset, lastEventId: fc.array(fc.tuple(fc.oneof(channel.map(encodeURIComponentSafely), channel), position).map((pair) => pair.join('=')), { maxLength: 5 }).map((pairs) => pairs.join('&')) }, { requiredKeys: [] }) as fc.Arbitrary<Record<string, string>>,
    over: fc.constant('/sse' as const)
  }),
  fc.record({ method: fc.option(fc.constantFrom(...METHODS), { nil: undefined }), body: damaged(body.map((value) => JSON.stringify(value))) })
)

function encodeURIComponentSafely (text: string): string {
  return encodeURIComponent(Buffer.from(text).toString())
}

/** What is inside messages, positions to go on from, ids of events, and bodies of the server API. */
export const protocol: Parser<Fed> = { name: 'protocol', cases, arenaOf: ({ open }) => open, feed }

async function feed (arena: Arena, fed: Fed): Promise<void> {
  if ('commands' in fed) await feedCommands(arena, fed.commands, fed.connected)
  else if ('message' in fed) await feedMessage(arena, fed.message, fed.channel)
  else if ('body' in fed) await feedApi(arena, fed.method, fed.body)
  else if (fed.over === '/ws') await feedWebSocket(arena, fed.query)
  else await feedStream(arena, fed.query)
}

/** A client that says the same in Protobuf. */
class ProtobufSpeaker extends Speaker {
  override get told (): Told[] {
    return this.heard.flatMap(({ data }) => {
      const reader = Reader.create(data)
      const replies: Told[] = []
      while (reader.pos < reader.len) replies.push(replyType.toObject(replyType.decodeDelimited(reader), { longs: Number }))
      return replies
    })
  }

  override say (...commands: Told[]): number[] {
    this.ws.send(Buffer.concat(commands.map(({ id = 1, ...command }) => encodedCommand(id as number, Object.keys(command)[0] as string, Object.values(command)[0] as object))))
    return []
  }
}

/** Every session ends with an answer to its last command, or is closed for what the client has said. */
async function feedCommands ({ server: { wsUrl } }: Arena, commands: string | Buffer, connected: boolean): Promise<void> {
  const client = typeof commands === 'string' ? new Speaker(addressOf(wsUrl)) : new ProtobufSpeaker(`${addressOf(wsUrl)}?format=protobuf`)
  try {
    await inTime('the upgrade', once(client.ws, 'open'))
    if (connected) client.say({ connect: {} })
    client.ws.send(commands)
    client.say({ id: LAST_ID, rpc: { method: 'x' } })
    await inTime('the last reply', client.finds(({ told }) => told.find(({ id }) => id === LAST_ID)))
    const wrong = client.told.find(({ id, push, error }) => error?.code === INTERNAL_ERROR || (id === undefined && !push))
    if (wrong) throw new Violation(`was told ${JSON.stringify(wrong)}`)
  } catch (error) {
    const { code } = error as { code?: number }
    if (code === undefined || !SESSION_CODES.includes(code)) throw error instanceof Violation ? error : new Violation(`closed with ${code}`)
  } finally {
    client.ws.terminate()
  }
}

/** A message comes back as it was, or says with what is wrong that the connection is closed. */
async function feedMessage ({ server: { wsUrl } }: Arena, message: string | Buffer, channel: string): Promise<void> {
  const client = new Client(`${wsUrl}?channel=${channel}`)
  try {
    await inTime('the upgrade', once(client.ws, 'open'))
    const closed = client.closed()
    client.ws.send(message)
    const code = await inTime('an echo', Promise.race([client.hears(1).then(() => 0), closed.then(({ code }) => code)]))
    const [echo] = client.heard
    if (echo && !echo.data.equals(Buffer.from(message))) throw new Violation(`came back as ${echo.data.toString('base64')}`)
    if (code === 0 ? channel === 'typed:a' && !isTyped(message) : code !== 3501 || channel !== 'typed:a' || isTyped(message)) throw new Violation(code === 0 ? 'passed, though the schema forbids it' : `closed with ${code}`)
  } finally {
    client.ws.terminate()
  }
}

// As the rule of the channel has it.
function isTyped (message: string | Buffer): boolean {
  if (typeof message !== 'string') return false
  try {
    const value = JSON.parse(message) as { id?: unknown } | null
    return typeof value === 'object' && !Array.isArray(value) && Number.isInteger(value?.id)
  } catch {
    return false
  }
}

async function feedWebSocket (arena: Arena, query: Readonly<Record<string, string>>): Promise<void> {
  const { server: { port, wsUrl } } = arena
  const path = `/ws?${await parametersOf(arena, query)}`
  const answer = await inTime(`the answer to ${path}`, answerOf(port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n`))
  if (!/^HTTP\/1.1 (101|400) /.test(answer)) throw new Violation(`${path} was answered ${answer}`)
  if (!answer.startsWith('HTTP/1.1 101')) return
  const client = new Client(`${wsUrl}${path.slice(3)}`)
  try {
    const closed = client.closed().catch(() => ({ code: 0 }))
    await inTime('the upgrade', Promise.race([once(client.ws, 'open'), closed]))
    client.ws.ping()
    const code = await inTime('a pong', Promise.race([once(client.ws, 'pong').then(() => 0), closed.then(({ code }) => code)]))
    if (code !== 0 && code !== 3010) throw new Violation(`${path} was closed with ${code}`)
  } finally {
    client.ws.terminate()
  }
}

async function feedStream (arena: Arena, query: Readonly<Record<string, string>>): Promise<void> {
  const { server: { url } } = arena
  // Once in the header, where it is Latin-1 without control characters, and once in the query.
  const { lastEventId = '', ...rest } = query
  const header = lastEventId.replace(/[^\x20-\x7e\x80-\xff]/g, '')
  for (const [parameters, headers] of [[query, {}], [rest, { 'last-event-id': header }]] as const) {
    const request = get(`${url}/sse?${await parametersOf(arena, parameters)}`, { agent: false, headers })
    request.on('error', () => {})
    const [response] = await inTime('an event stream', once(request, 'response')) as [IncomingMessage]
    response.on('error', () => {})
    if (response.statusCode === 200) {
      const [piece] = await inTime('the first event', once(response, 'data')) as [Buffer]
      if (!String(piece).startsWith(': connected to ')) throw new Violation(`a stream began with ${String(piece)}`)
    } else if (response.statusCode !== 400) throw new Violation(`answered ${response.statusCode}`)
    request.destroy()
  }
}

async function parametersOf ({ server: { url } }: Arena, query: Readonly<Record<string, string>>): Promise<string> {
  const real = Object.values(query).some((value) => value.includes('REAL')) ? (await (await fetch(`${url}/position?channel=a`)).json() as { epoch: string }).epoch : ''
  return new URLSearchParams(Object.entries(query).map(([name, value]): [string, string] => [name, value.replaceAll('REAL', real)])).toString()
}

async function feedApi ({ server: { url } }: Arena, method: string | undefined, body: string): Promise<void> {
  const { status, text } = await inTime(`the answer to ${method}`, post(`${url}/api${method === undefined ? '' : `/${method}`}`, body, { 'x-api-key': KEY }))
  if (status >= 500 || status === 401) throw new Violation(`${method} was answered ${status} ${text}`)
  if (status !== 200) return
  for (const line of text.split('\n')) {
    const reply = JSON.parse(line) as { error?: { code: number }, replies?: { error?: { code: number } }[] }
    for (const { error } of [reply, ...reply.replies ?? []]) if (error?.code === INTERNAL_ERROR) throw new Violation(`${method} was answered ${line}`)
  }
}
