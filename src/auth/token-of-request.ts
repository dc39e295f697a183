import type { IncomingHttpHeaders } from 'node:http'
import { parseCookie } from 'cookie'

/** The subprotocol that is chosen for clients that bring a token as another one. */
export const SUBPROTOCOL = 'fanfare'
const TOKEN_SUBPROTOCOL = 'fanfare.token.'

/** What of a request may hold a token. */
interface Request {
  readonly headers: IncomingHttpHeaders
  readonly query: unknown
}

/**
 * Finds the token that a request brings, in this order: `Authorization: Bearer`, subprotocol `fanfare.token.TOKEN`,
 * cookie, `?token=`.
 *
 * @param cookieName of the cookie; a cookie counts only if the browser says that the page may send it, so that
 * pages of others cannot use it: its Origin has been checked by then, or it is of our own site
 */
export function tokenOfRequest ({ headers, query }: Request, cookieName: string): string | undefined {
  const [, bearer] = /^bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? []
  return bearer ?? tokenIn(headers['sec-websocket-protocol']) ?? cookieIn(headers, cookieName) ?? parameterIn(query)
}

/**
 * Chooses the subprotocol of a WebSocket: `fanfare` if it is offered, else the first that is. A token is never echoed.
 *
 * @param offered in the client's order
 */
export function chooseSubprotocol (offered: Iterable<string>): string | false {
  const others = Array.from(offered).filter((protocol) => !protocol.startsWith(TOKEN_SUBPROTOCOL))
  return others.includes(SUBPROTOCOL) ? SUBPROTOCOL : others[0] ?? false
}

function tokenIn (protocols = ''): string | undefined {
  const token = protocols.split(',').map((protocol) => protocol.trim()).find((protocol) => protocol.startsWith(TOKEN_SUBPROTOCOL))
  return token?.slice(TOKEN_SUBPROTOCOL.length)
}

function cookieIn ({ cookie, origin, 'sec-fetch-site': site }: IncomingHttpHeaders, name: string): string | undefined {
  if (cookie !== undefined && (origin !== undefined || site === 'same-origin')) return parseCookie(cookie)[name]
}

function parameterIn (query: unknown): string | undefined {
  const { token } = query as { token?: unknown }
  return typeof token === 'string' && token !== '' ? token : undefined
}
