import type { ErrorCode } from '../errors.ts'

/**
 * Every error that the server API answers with, once: its code in the Centrifuge protocol, its sentence where there is
 * nothing better to say, and its HTTP status in the error mode `transport`. docs/api.md lists them; a test compares the two.
 */
export const apiErrorTable = {
  100: ['internal server error', 500],
  102: ['unknown channel', 404],
  103: ['permission denied', 403],
  104: ['method not found', 404],
  106: ['limit exceeded', 400],
  107: ['bad request', 400],
  108: ['not available', 400],
  112: ['unrecoverable position', 416],
  113: ['concurrent pagination', 409]
} as const satisfies Record<number, readonly [sentence: string, status: number]>

export type ApiErrorCode = keyof typeof apiErrorTable

/** What errors of Fanfare are in the server API. Any other that a method throws is a fault of ours: 100. */
export const apiCodes: { readonly [code in ErrorCode]?: ApiErrorCode } = {
  FANFARE_BAD_CHANNEL: 107,
  FANFARE_BAD_DATA: 107,
  FANFARE_BAD_FILTER: 107,
  FANFARE_REFUSED_DATA: 107,
  FANFARE_NO_PRESENCE: 108,
  FANFARE_FORBIDDEN: 103,
  FANFARE_NO_METHOD: 104,
  FANFARE_CALLBACK_REFUSED: 103,
  FANFARE_CALLBACK_FAILED: 100,
  FANFARE_HOOK_TIMEOUT: 100,
  FANFARE_UNAVAILABLE: 100
}

/** An error as the server API answers it. */
export class ApiError extends Error {
  readonly code: ApiErrorCode

  /** @param sentence what is wrong and what was expected; that of the table by default */
  constructor (code: ApiErrorCode, sentence: string = apiErrorTable[code][0]) {
    super(sentence)
    this.code = code
  }

  /** The HTTP status in the error mode `transport`. */
  get status (): number {
    return apiErrorTable[this.code][1]
  }

  toJSON (): { code: number, message: string } {
    return { code: this.code, message: this.message }
  }
}

/** Where faults of ours are reported: any pino-like logger. */
export interface FaultLog { error (facts: object, sentence: string): void }

/** What an error is in the server API: 100 if it should never have been thrown, and a line in the log then. */
export function apiErrorOf (error: unknown, log: FaultLog): ApiError {
  if (error instanceof ApiError) return error
  const { code, message } = error as Error & { code?: ErrorCode }
  const apiCode = code && apiCodes[code]
  if (apiCode === undefined) {
    log.error({ err: error }, 'a method of the server API failed')
    return new ApiError(100)
  }
  return new ApiError(apiCode, apiCode === 100 ? `${apiErrorTable[100][0]}: ${message}` : message)
}
