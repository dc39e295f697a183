import type { IncomingMessage } from 'node:http'

/** How much of a refusing answer is read to find its reason. */
const MAX_ANSWER_BYTES = 8192

/** Thrown for what cannot be done as it was asked. Its message is a whole sentence for the user. */
export class UsageError extends Error {}

const CAUSES: Record<string, string> = {
  ECONNREFUSED: 'connection refused, nothing listens there',
  ECONNRESET: 'the connection was cut off',
  EPIPE: 'the connection was cut off',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'the name of the host could not be looked up',
  ETIMEDOUT: 'no answer in time',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  EADDRNOTAVAIL: 'the address cannot be reached from here',
  EACCES: 'not permitted',
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 'a message was larger than this client takes'
}

const CLOSE_CODES: Record<number, string> = {
  1000: 'normal closure',
  1001: 'going away',
  1002: 'protocol error',
  1003: 'unsupported data',
  1005: 'no code given',
  1006: 'the connection was lost',
  1007: 'invalid data',
  1008: 'policy violation',
  1009: 'message too big',
  1011: 'internal error',
  1012: 'service restart',
  1013: 'try again later',
  1014: 'bad gateway'
}

/**
 * Says in a few words why a connection failed.
 *
 * @param error What was thrown or emitted.
 */
export function describeError (error: unknown): string {
  const { code, message } = firstOf(error)
  const known = CAUSES[code]
  if (known !== undefined) return known
  if (code.startsWith('HPE_')) return 'the answer is not HTTP, this is no WebSocket server'
  if (message.includes('wrong version number')) return 'TLS failed: the server does not speak TLS there, try ws:// instead of wss://'
  if (/CERT|TLS|SSL|SIGNATURE|EPROTO/.test(code)) return `TLS failed: ${firstLine(message)}`
  return firstLine(message) || code || 'unknown error'
}

/**
 * Says in a few words how a connection was closed: the code and its reason, or the meaning of a known code.
 *
 * @param code The close code.
 * @param reason The reason that came with it; may be empty.
 */
export function describeClose (code: number, reason: string): string {
  return `${code} ${reason || (CLOSE_CODES[code] ?? '')}`.trimEnd()
}

/**
 * Says in a few words which status an HTTP server answered instead of opening a WebSocket.
 *
 * @param response The answer.
 */
export function describeStatus (response: IncomingMessage): string {
  const status = `${response.statusCode ?? ''} ${response.statusMessage ?? ''}`.trim()
  const { location } = response.headers
  return `the server answered ${status}${location === undefined ? '' : `, see ${location}`}`
}

/**
 * Reads the reason out of a refusing answer: the `message` of its JSON body.
 *
 * @param response The answer; at most 8 KiB of it are read.
 * @returns undefined when the body is something else or broken off.
 */
export async function readReason (response: IncomingMessage): Promise<string | undefined> {
  try {
    let body = ''
    for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
      body += chunk
      if (body.length > MAX_ANSWER_BYTES) return undefined
    }
    const { message } = JSON.parse(body) as { message?: unknown }
    return typeof message === 'string' && message !== '' ? message : undefined
  } catch {
    return undefined
  }
}

// A host with several addresses fails with an AggregateError that has no message of its own.
function firstOf (error: unknown): { code: string, message: string } {
  const { code = '', message = '', errors } = error as Partial<AggregateError & NodeJS.ErrnoException>
  if (message === '' && errors !== undefined && errors.length > 0) return firstOf(errors[0])
  return { code, message }
}

function firstLine (text: string): string {
  return text.split('\n', 1)[0]!.trim()
}
