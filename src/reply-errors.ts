import type { ErrorCode } from './errors.ts'
import { hasOwnCode } from './hub/refusal.ts'

/**
 * Every error that the server API and the Centrifuge protocol answer with, once: its code there, its sentence where there
 * is nothing better to say, and its HTTP status in the error mode `transport` of the API. docs/api.md lists them; a test compares the two.
 */
export const replyErrorTable = {
  100: ['internal server error', 500],
  103: ['permission denied', 403],
  104: ['method not found', 404],
  105: ['already subscribed', 400],
  106: ['limit exceeded', 400],
  107: ['bad request', 400],
  108: ['not available', 400],
  109: ['token expired', 401],
  112: ['unrecoverable position', 416]
} as const satisfies Record<number, readonly [sentence: string, status: number]>

export type ReplyErrorCode = keyof typeof replyErrorTable

/** What errors of Fanfare are in replies. Any other that is thrown is a fault of ours: 100. */
export const replyCodes: { readonly [code in ErrorCode]?: ReplyErrorCode } = {
  FANFARE_BAD_CHANNEL: 107,
  FANFARE_BAD_DATA: 107,
  FANFARE_BAD_FILTER: 107,
  FANFARE_REFUSED_DATA: 107,
  FANFARE_NO_PRESENCE: 108,
  FANFARE_TOKEN_EXPIRED: 109,
  FANFARE_TOKEN_INVALID: 103,
  FANFARE_FORBIDDEN: 103,
  FANFARE_REFUSED: 103,
  FANFARE_NO_METHOD: 104,
  FANFARE_ALREADY_SUBSCRIBED: 105,
  FANFARE_TOO_MANY_CHANNELS: 106,
  FANFARE_CALLBACK_REFUSED: 103,
  FANFARE_CALLBACK_FAILED: 100,
  FANFARE_HOOK_TIMEOUT: 100,
  FANFARE_KEYS_UNAVAILABLE: 100,
  FANFARE_UNAVAILABLE: 100
}

const INTERNAL = 100
const REFUSED = 103

/** An error as a reply holds it. */
export class ReplyError extends Error {
  readonly code: number

  /**
   * @param code of the table, or one of the application: 400 to 1999
   * @param sentence what is wrong and what was expected; that of the table by default
   */
  constructor (code: number, sentence = sentenceOf(code)) {
    super(sentence)
    this.code = code
  }

  /** The HTTP status in the error mode `transport`. */
  get status (): number {
    return this.code in replyErrorTable ? replyErrorTable[this.code as ReplyErrorCode][1] : 400
  }

  /** Whether the same may succeed if it is tried again. */
  get temporary (): boolean {
    return this.code === INTERNAL
  }

  toJSON (): { code: number, message: string } {
    return { code: this.code, message: this.message }
  }
}

/** Where faults of ours are reported: any pino-like logger. */
export interface FaultLog { error (facts: object, sentence: string): void }

/**
 * What an error is in a reply. One of the application has its own code if that is a number from 400 to 1999, or else 103 or 100
 * by its `statusCode`, and its message. One that should never have been thrown is 100, and a line in the log.
 */
export function replyErrorOf (error: unknown, log: FaultLog): ReplyError {
  if (error instanceof ReplyError) return error
  const { code, message, statusCode, reply } = (error ?? {}) as Error & { code?: ErrorCode | number, statusCode?: number, reply?: { code: number, message: string } }
  if (reply && hasOwnCode(reply)) return new ReplyError(reply.code, reply.message)
  if (hasOwnCode({ code })) return new ReplyError(code as number, message)
  const known = typeof code === 'string' ? replyCodes[code] : undefined
  if (known !== undefined) return new ReplyError(known, known === INTERNAL ? `${sentenceOf(INTERNAL)}: ${message}` : message)
  if (statusCode !== undefined && !isOurs(code)) return new ReplyError(statusCode >= 500 ? INTERNAL : REFUSED, message)
  log.error({ err: error }, 'a reply could not be made')
  return new ReplyError(INTERNAL)
}

function isOurs (code: unknown): boolean {
  return typeof code === 'string' && code.startsWith('FANFARE_')
}

function sentenceOf (code: number): string {
  return code in replyErrorTable ? replyErrorTable[code as ReplyErrorCode][0] : ''
}
