/**
 * The token that the page shows the server. It lives as long as the page, and nowhere else: not in the address, which is
 * shared and logged, and not in the browser's storage, which every script of the host may read.
 */
let token = ''

/** @param {string} text */
export function setToken (text) {
  token = text.trim()
}

/** Headers that a request of this page needs. */
export function headers () {
  return token ? { authorization: `Bearer ${token}` } : {}
}

/** Subprotocols of a WebSocket of this page: a browser can say nothing else with it. */
export function subprotocols () {
  return token ? ['fanfare', `fanfare.token.${token}`] : []
}
