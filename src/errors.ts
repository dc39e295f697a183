import { inspect } from 'node:util'
import createError from '@fastify/error'

/**
 * Every error that Fanfare answers with, once: its code, the HTTP status where it is answered over HTTP, and its
 * sentence (`%s` is what was wrong or what was expected). docs/errors.md lists them; a test compares the two.
 */
export const errorTable = {
  FANFARE_SINCE_SEVERAL: [400, '`since` is a position in one channel, and cannot be given for several; connect to each'],
  FANFARE_BAD_CHANNEL: [400, 'A channel name is 1 to 255 bytes of text without control characters; got %s'],
  FANFARE_BAD_DATA: [400, 'A publication is a string, a Buffer, or a value that JSON can hold; got %s'],
  FANFARE_BAD_JSON: [400, 'The body must be JSON: %s'],
  FANFARE_BAD_FILTER: [400, 'Say whose connections are meant: an id, a user or a channel'],
  FANFARE_REFUSED_DATA: [400, 'Channel %s does not take this publication: %s'],
  FANFARE_ALREADY_SUBSCRIBED: [409, 'The connection hears channel %s already'],
  FANFARE_NO_PRESENCE: [404, 'Channel %s does not keep who is in it (presence)'],
  FANFARE_BAD_URL: [400, 'The path of the URL cannot be decoded'],
  FANFARE_BAD_UPGRADE: [400, 'A WebSocket opens with a GET request of HTTP/1.1; got %s'],
  FANFARE_BAD_SETTING: [500, '%s %s'],
  FANFARE_BAD_HOOK: [500, 'There is no hook %s; there are %s, each with a function'],
  FANFARE_NO_RULE: [500, 'There is no channel rule %s: give it in the option `channels`, or in CHANNELS_FILE'],
  FANFARE_TOKEN_MISSING: [401, 'A token is needed: as Authorization: Bearer, as subprotocol fanfare.token.TOKEN, as cookie, or as ?token=TOKEN'],
  FANFARE_TOKEN_EXPIRED: [401, 'The token has expired; get a new one'],
  FANFARE_TOKEN_INVALID: [401, 'The token is refused: %s'],
  FANFARE_FORBIDDEN: [403, 'You may not %s channel %s: %s'],
  FANFARE_REFUSED: [403, 'The application refused this'],
  FANFARE_CALLBACK_REFUSED: [403, '%s'],
  FANFARE_ORIGIN_REFUSED: [403, 'Pages of %s may not connect: add the origin to ALLOWED_ORIGINS, or name the reverse proxy in TRUST_PROXY'],
  FANFARE_COOKIE_WITHOUT_ORIGIN: [403, 'A cookie counts only beside an Origin that may connect, and this request has none: bring the token in another way'],
  FANFARE_NOT_FOUND: [404, 'There is nothing at %s'],
  FANFARE_NO_METHOD: [404, 'There is no method %s'],
  FANFARE_NO_WEBSOCKET_HERE: [404, 'There is no WebSocket at %s; connect to /ws'],
  FANFARE_ONLY_WEBSOCKET: [404, 'Only WebSockets are answered at %s'],
  FANFARE_TOO_MANY_CHANNELS: [400, 'A connection may be in %s channels at most (MAX_CHANNELS)'],
  FANFARE_LONG_CHANNELS: [400, 'The position in all channels of a stream must fit into %s bytes, and could take %s: ask for fewer channels, or shorter names'],
  FANFARE_BAD_EMULATION: [400, 'Commands for a session come with session, node and data: %s'],
  FANFARE_NO_NODE: [404, 'There is no node of the session any more; connect again'],
  FANFARE_SILENT_NODE: [429, 'The node of the session has not answered in time; try again later'],
  FANFARE_METHOD_NOT_ALLOWED: [405, 'This takes %s'],
  FANFARE_TOO_LARGE: [413, 'Commands may have %s bytes (MAX_MESSAGE_BYTES); got %s'],
  FANFARE_HELD_BACK: [429, 'The session has sent more than it may; try again later'],
  FANFARE_PIPELINED: [400, 'A stream cannot be asked for while an answer is due on the same connection'],
  FANFARE_BODY: [400, 'A stream is asked for without a body'],
  FANFARE_SLOW_BODY: [408, 'The body of a request for a stream comes within %s s'],
  FANFARE_TOO_MANY_HEADERS: [431, 'A request may have %s headers at most'],
  FANFARE_TOO_MANY_UNANSWERED: [429, 'At most %s requests may wait for their answers on one connection'],
  FANFARE_TOO_MANY_FROM_ADDRESS: [429, 'Your address has all the connections that it may have (%s, MAX_CONNECTIONS_PER_IP)'],
  FANFARE_TOO_MANY_ATTEMPTS: [429, 'Your address connects too often; try again in %s (CONNECT_RATE)'],
  FANFARE_FULL: [503, 'This node has all the connections that it may have (%s, MAX_CONNECTIONS)'],
  FANFARE_UNAVAILABLE: [503, 'The broker cannot be reached: %s'],
  FANFARE_HOOK_TIMEOUT: [503, 'The application (%s) did not answer within %s seconds'],
  FANFARE_CALLBACK_FAILED: [503, 'The back end that decides this gives no answer now; try again'],
  FANFARE_KEYS_UNAVAILABLE: [503, 'The keys that tokens are signed with cannot be fetched now; try again'],
  FANFARE_OVERLOADED: [503, 'This node has more to do than it can; try again later, or another node'],
  FANFARE_STOPPING: [503, 'This node is stopping; connect again']
} as const satisfies Record<string, readonly [status: number, sentence: string]>

export type ErrorCode = keyof typeof errorTable

const classes = Object.fromEntries(Object.entries(errorTable).map(([code, [status, sentence]]) =>
  [code, createError(code, sentence, status)]
)) as unknown as Record<ErrorCode, new (...values: unknown[]) => FanfareError>

/** What Fanfare throws: an `Error` with the `code` and `statusCode` of the table above. */
export interface FanfareError extends Error { code: ErrorCode, statusCode: number }

/**
 * Makes an error of the table.
 *
 * @param code its code
 * @param values what stands for each `%s` of its sentence
 * @example throw fanfareError('FANFARE_TOO_MANY_CHANNELS', 128)
 */
export function fanfareError (code: ErrorCode, ...values: unknown[]): FanfareError {
  return new classes[code](...values)
}

/** A setting with a value that it does not take; the message names both. */
export class SettingError extends classes.FANFARE_BAD_SETTING {}

/** What was thrown, as an error: anything can be, also nothing, and what cannot be made a string. */
export function errorOf (thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(typeof thrown === 'string' ? thrown : inspect(thrown))
}
