/**
 * Every code that Fanfare closes a connection with, once: name, code, reason, and whether coming back can help.
 * 1002 to 1009 are sent by the WebSocket library when it refuses what a client sent. The codes from 3000 on are those
 * of the Centrifuge protocol: below 3500 a client may come back, from 3500 on it should not.
 * docs/errors.md lists them; a test compares the two.
 */
export const closeCodes = {
  protocolError: { code: 1002, reason: 'protocol error', reconnect: false },
  invalidText: { code: 1007, reason: 'text is not UTF-8', reconnect: false },
  policyViolation: { code: 1008, reason: 'too many fragments', reconnect: false },
  tooBig: { code: 1009, reason: 'message too big', reconnect: false },
  restart: { code: 1012, reason: 'server restarting', reconnect: true },
  tryAgainLater: { code: 1013, reason: 'message could not be published', reconnect: true },
  expired: { code: 3005, reason: 'connection expired', reconnect: true },
  subscriptionExpired: { code: 3006, reason: 'subscription expired', reconnect: true },
  slow: { code: 3008, reason: 'slow', reconnect: true },
  insufficientState: { code: 3010, reason: 'insufficient state', reconnect: true },
  noPong: { code: 3012, reason: 'no pong', reconnect: true },
  invalidToken: { code: 3500, reason: 'invalid token', reconnect: false },
  badRequest: { code: 3501, reason: 'bad request', reconnect: false },
  stale: { code: 3502, reason: 'stale', reconnect: false },
  disconnected: { code: 3503, reason: 'force disconnect', reconnect: false },
  channelLimit: { code: 3505, reason: 'channel limit', reconnect: false },
  permissionDenied: { code: 3507, reason: 'permission denied', reconnect: false },
  notAvailable: { code: 3508, reason: 'not available', reconnect: false }
} as const

/**
 * Every code with which a subscription ends alone, where the protocol has a word for that (Centrifuge): below 2500 the client
 * leaves it at that, from 2500 on it subscribes again. docs/centrifuge.md lists them; a test compares the two.
 */
export const endCodes = {
  unsubscribed: { code: 2000, reason: 'server unsubscribe' },
  insufficientState: { code: 2500, reason: 'insufficient state' },
  subscriptionExpired: { code: 2501, reason: 'subscription expired' }
} as const

/** Whether coming back can help who is closed with a code: for codes of others the ranges of the Centrifuge protocol hold. */
export function mayComeBack (code: number): boolean {
  const known = Object.values(closeCodes).find((close) => close.code === code)
  return known?.reconnect ?? !((code >= 3500 && code < 4000) || (code >= 4500 && code < 5000))
}

/** Whether who is closed with a code has no right any more to what it asked for before. */
export function endsRights (code: number): boolean {
  return code >= 3500 || code === closeCodes.expired.code || code === closeCodes.subscriptionExpired.code
}

/** A close code with its reason (at most 123 bytes, RFC 6455 section 5.5). */
export interface Close { readonly code: number, readonly reason: string }
