import { connect as connectTcp } from 'node:net'
import fc from 'fast-check'
import { KEY } from '../routes/api-client.ts'
import { inTime, TOKEN, tokenOf, Violation, type Arena, type Parser } from './arena.ts'

const UPGRADE = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==']
const KEYS = ['channel', 'token', 'subscriptionToken', 'since', 'history', 'positions', 'echo', 'lastEventId', '__proto__', 'constructor', 'toString', 'channel[]', 'a[b][c]']
const HEADERS = ['Authorization', 'Cookie', 'Origin', 'Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions', 'Sec-WebSocket-Version', 'Sec-WebSocket-Key', 'Sec-Fetch-Site', 'Last-Event-ID', 'X-API-Key', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'Accept', 'Accept-Encoding', 'Range', 'If-None-Match', 'If-Modified-Since', 'Content-Type', 'Upgrade', 'Host', 'User-Agent', 'Expect', 'Te', '__proto__']

/** A request, byte for byte, to one of the servers. */
interface Fed {
  readonly guarded: boolean
  readonly method: string
  readonly path: string
  readonly query: readonly (readonly [string, string])[]
  readonly headers: readonly (readonly [string, string])[]
  readonly upgrade: boolean
}

const latin1 = fc.array(fc.integer({ min: 1, max: 255 }).filter((code) => code !== 10 && code !== 13), { maxLength: 60 }).map((codes) => String.fromCharCode(...codes))
const printable = fc.string({ unit: 'grapheme-ascii', maxLength: 60 })
const repeated = fc.tuple(fc.oneof(printable, latin1), fc.nat(500)).map(([piece, times]) => piece.repeat(times).slice(0, 6000))
/** A token that is none, as it was changed; the last character is left, as it holds bits that mean nothing. */
const badToken = fc.oneof(
  fc.tuple(fc.nat(TOKEN.length - 2), fc.constantFrom(...'aZ09-_.=+ é')).map(([at, put]) => TOKEN.slice(0, at) + put + TOKEN.slice(at + 1)),
  fc.nat(TOKEN.length - 2).map((end) => TOKEN.slice(0, end)),
  fc.constantFrom('none', 'None', 'HS1', 'RS256', 'HS256 ', '', '__proto__').map((alg) => tokenOf({ alg }, { sub: 'fuzz' }).replace(/[^.]*$/, '')),
  fc.jsonValue().map((claims) => tokenOf({ alg: 'HS256' }, { claims, exp: 1 })),
  printable
).filter((token) => token !== TOKEN)
const token = fc.oneof({ weight: 5, arbitrary: badToken }, { weight: 1, arbitrary: fc.constant(TOKEN) })
const value = fc.oneof(printable, latin1, repeated)

const header: fc.Arbitrary<[string, string]> = fc.oneof(
  fc.tuple(fc.constantFrom(...HEADERS), value),
  token.map((token): [string, string] => ['Authorization', `Bearer ${token}`]),
  token.map((token): [string, string] => ['Sec-WebSocket-Protocol', `fanfare, fanfare.token.${token}`]),
  token.map((token): [string, string] => ['Cookie', `a=b; fanfare_token=${token}`]),
  fc.tuple(value, fc.constantFrom('.example.org', '', ':443', '/', '#.example.org')).map(([host, end]): [string, string] => ['Origin', `https://${host}${end}`]),
  fc.constantFrom<[string, string][]>(['Origin', 'https://page.example.org'], ['X-API-Key', KEY], ['Sec-Fetch-Site', 'same-origin'])
)

const cases: fc.Arbitrary<Fed> = fc.record({
  guarded: fc.boolean(),
  method: fc.oneof({ weight: 9, arbitrary: fc.constant('GET') }, { weight: 1, arbitrary: fc.constantFrom('HEAD', 'OPTIONS', 'DELETE', 'get', 'GETT') }),
  path: fc.oneof({ weight: 6, arbitrary: fc.constantFrom('/ws', '/ws', '/sse', '/position', '/presence') }, { weight: 3, arbitrary: fc.oneof(fc.constantFrom('/connection/websocket', '/connection/http_stream', '/connection/sse', '/emulation', '/', '/hello', '/health/ready', '/api/info', '/main.js', '/ws/', '//ws', '/%77s', '/vendor/uplot/../../package.json'), value.map((text) => `/${text}`)) }),
  query: fc.array(fc.tuple(fc.oneof(fc.constantFrom(...KEYS), value), fc.oneof(value, value.map(encodeURIComponent), token)), { maxLength: 4 }),
  headers: fc.array(header, { maxLength: 4 }),
  upgrade: fc.boolean()
})

/** Queries and headers, with tokens and without. */
export const requests: Parser<Fed> = { name: 'requests', cases, arenaOf: ({ open, guarded }, fed) => fed.guarded ? guarded : open, feed }

/** Sends a request as it is, and resolves with the head of the answer, and the body of one that says that something failed. */
export async function answerOf (port: number, request: string): Promise<string> {
  const socket = connectTcp(port, '127.0.0.1')
  let answer = ''
  await new Promise<void>((resolve) => {
    socket.on('error', () => {}).on('close', resolve).on('data', (piece) => {
      answer += piece.toString('latin1')
      const [head = '', body] = answer.split('\r\n\r\n', 2)
      if (body !== undefined && (!head.startsWith('HTTP/1.1 5') || body.length >= Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0))) resolve()
    })
    socket.write(Buffer.from(request, 'latin1'))
  })
  socket.destroy()
  return answer
}

async function feed ({ server: { port } }: Arena, { guarded, method, path, query, headers, upgrade }: Fed): Promise<void> {
  const parameters = query.map((pair) => pair.join('=')).join('&')
  const lines = [`${method} ${path}?${parameters} HTTP/1.1`, 'Host: 127.0.0.1', ...upgrade ? UPGRADE : [], ...headers.map((pair) => pair.join(': '))]
  const request = `${lines.join('\r\n')}\r\n\r\n`
  const answer = await inTime('an answer', answerOf(port, request))
  const status = Number(/^HTTP\/1.1 (\d{3}) /.exec(answer)?.[1])
  if (status >= 500 && !(status === 503 && answer.includes('FANFARE_'))) throw new Violation(`answered ${answer}`)
  if (status === 101 && !(upgrade || headers.some(([name]) => name === 'Upgrade'))) throw new Violation('101 for what was no upgrade')
  const needsToken = ['/ws', '/sse', '/position', '/presence'].includes(path)
  if (guarded && needsToken && method === 'GET' && (status === 101 || status === 200) && !request.includes(TOKEN)) throw new Violation(`let in without a token: ${answer}`)
}
