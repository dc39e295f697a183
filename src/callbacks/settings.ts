import { validateHeaderName } from 'node:http'
import { isHttpUrl } from '../http-url.ts'

/** What a back end may decide: each is a request of its own. */
export const decisions = ['connect', 'refresh', 'subscribe', 'publish', 'rpc'] as const
/** What a back end decides, and what it is told of afterwards; `channel`: that a channel is occupied, or vacated. */
export const callbackEvents = [...decisions, 'disconnect', 'unsubscribe', 'channel'] as const

const SECRET_PREFIX = 'whsec_'
// As the specification of Standard Webhooks says.
const MIN_SECRET_BYTES = 24
const MAX_SECRET_BYTES = 64

// They belong to the request that carries the callback, or to the connection that it travels on.
const OWN_HEADERS = /^(host|accept|connection|expect|keep-alive|te|trailer|transfer-encoding|upgrade|content-.*|webhook-.*)$/i

/** Whether names of events can be added to a URL. */
export function isBaseUrl (text: string): boolean {
  return isHttpUrl(text) && !/[?#]/.test(text)
}

/** Whether a text is a secret as Standard Webhooks has them. */
export function isSecret (text: string): boolean {
  if (!/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text)) return false
  const { length } = Buffer.from(text.slice(SECRET_PREFIX.length), 'base64')
  return length >= MIN_SECRET_BYTES && length <= MAX_SECRET_BYTES
}

/** Whether these headers of a client may go along with a callback. */
export function areForwardable (names: string[]): boolean {
  return names.every((name) => {
    try {
      validateHeaderName(name)
      return !OWN_HEADERS.test(name)
    } catch {
      return false
    }
  })
}
