import type { Close } from '../../close-codes.ts'
import { reasonOf } from '../../hub/refusal.ts'

/** Thrown where something ends a session. */
export class Disconnect extends Error {
  readonly close: Close

  /** @param why what is wrong, after the reason of the code */
  constructor (close: Close, why?: string) {
    const reason = reasonOf(why === undefined ? close.reason : `${close.reason}: ${why}`)
    super(reason)
    this.close = { code: close.code, reason }
  }
}
