/**
 * What a close code means to the person in front of the page. The server sends a short reason with most codes;
 * the browser itself makes up 1005 and 1006, and never says more.
 */
const sentences = {
  401: 'The server wants a token',
  1000: 'Closed normally',
  1001: 'The server is going away',
  1002: 'The server saw a protocol error',
  1003: 'The server does not take this kind of message',
  1005: 'Closed without a code',
  1006: 'Connection lost: it ended without a close frame',
  1007: 'The server got text that is not UTF-8',
  1008: 'The server refused by policy',
  1009: 'A message was too big for the server',
  1011: 'The server had an internal error',
  1012: 'The server is restarting',
  1013: 'The server is too busy, try again later',
  3005: 'The token has expired',
  3006: 'The right to hear this channel has expired',
  3008: 'This page read too slowly, so the server let it go',
  3010: 'Some messages may be missing here: the server no longer has all of them',
  3012: 'No pong: the server did not hear from this page in time',
  3501: 'The server refused the request as wrong',
  3503: 'Disconnected by the server',
  3507: 'That is not allowed here'
}

/**
 * One sentence for a close, without its code and the server's reason.
 *
 * @param {{ code: number, opened: boolean, byUser: boolean }} close
 */
export function sentenceOf ({ code, opened, byUser }) {
  if (byUser) return 'You disconnected'
  if (code === 1006 && !opened) return 'Could not connect'
  return sentences[code] ?? (isTerminal(code) ? 'The server ended this connection for good' : 'Closed by the server')
}

/** Whether the server says with this code that coming back does not help. */
export function isTerminal (code) {
  return (code >= 3500 && code <= 3999) || (code >= 4500 && code <= 4999)
}
