import type { IncomingHttpHeaders } from 'node:http'
import { parseCookie } from 'cookie'

/** The subprotocol that is chosen for clients that bring a token as another one. */
export const SUBPROTOCOL = 'fanfare'
const TOKEN_SUBPROTOCOL = 'fanfare.token.'
/** The subprotocol of clients that speak the Centrifuge protocol in Protobuf. */
export const PROTOBUF_SUBPROTOCOL = 'centrifuge-protobuf'

/** What of a request may hold a token. */
interface Request {
  readonly headers: IncomingHttpHeaders
  readonly query: unknown
}

/**
 * Finds the token that a request brings, in this order: `Authorization: Bearer`, subprotocol `fanfare.token.TOKEN`,
 * cookie, `?token=`.
 *
 * @param cookieName of the cookie, absent if the Origin may not connect; a cookie counts only if the browser says that the
 * page may send it, so that pages of others cannot use it: its Origin has been checked by then, or it is of our own site
 */
export function tokenOfRequest ({ headers, query }: Request, cookieName?: string): string | undefined {
  const [, bearer] = /^bearer +(.+)$/i.exec(headers.authorization ?? '') ?? []
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

/** Whether cookies count: not on a request that the page of somebody else may have caused, who was not asked for its Origin. */
export function mayBringCookies ({ origin, 'sec-fetch-site': site }: IncomingHttpHeaders): boolean {
  return origin !== undefined || site === 'same-origin'
}

/** Whether a request brings a token as a cookie, and does not say which page it is from: browsers do, when they open a WebSocket. */
export function hidesItsPage ({ headers: { origin, cookie } }: Pick<Request, 'headers'>, cookieName: string): boolean {
  return origin === undefined && cookie !== undefined && parseCookie(cookie)[cookieName] !== undefined
}

function cookieIn (headers: IncomingHttpHeaders, name: string | undefined): string | undefined {
  const { cookie } = headers
  if (name !== undefined && cookie !== undefined && mayBringCookies(headers)) return parseCookie(cookie)[name]
}

function parameterIn (query: unknown): string | undefined {
  const { token } = query as { token?: unknown }
  // Of several none can be meant: together they are a bad one.
  return Array.isArray(token) ? token.join() : typeof token === 'string' && token !== '' ? token : undefined
}
