import { closeCodes, type Close } from '../close-codes.ts'

/** Why something is refused, as hooks say it. */
export type Refusal = Error & { code?: unknown, statusCode?: number, closeCode?: number }

// Applications have these for themselves in the Centrifuge protocol.
const FIRST_OWN_CODE = 400
const LAST_OWN_CODE = 1999

/** Whether an error has a code that an application has given it for clients: a number from 400 to 1999. */
export function hasOwnCode ({ code }: { code?: unknown }): boolean {
  return Number.isInteger(code) && Number(code) >= FIRST_OWN_CODE && Number(code) <= LAST_OWN_CODE
}

/** Whether this is a close code that applications may use (RFC 6455 section 7.4.2). */
export function isCloseCode (code: unknown): code is number {
  return Number.isInteger(code) && Number(code) >= 3000 && Number(code) <= 4999
}

/** With what a connection is closed that was refused something; it may come back if that was for want of an answer. */
export function closeFor ({ closeCode, statusCode = 500, message }: Refusal): Close {
  const { code } = statusCode >= 500 ? closeCodes.tryAgainLater : statusCode === 400 ? closeCodes.badRequest : closeCodes.permissionDenied
  return { code: isCloseCode(closeCode) ? closeCode : code, reason: reasonOf(message) }
}

/** A sentence that fits into a close frame, which has room for 123 bytes (RFC 6455 section 5.5). */
export function reasonOf (message: string): string {
  return Buffer.byteLength(message) <= 123 ? message : Buffer.from(message).subarray(0, 120).toString().replace(/\ufffd*$/, '…')
}
