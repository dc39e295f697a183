/** The little of RFC 6455 that a client needs to load a server. */

import { createHash } from 'node:crypto'

export const TEXT = 1
export const CLOSE = 8
export const PING = 9
export const PONG = 10

/** Section 5.3 asks for a mask per frame that nobody can guess; between two processes of one benchmark it guards nothing. */
const MASK = Buffer.from([0x5a, 0xc3, 0x17, 0x8e])

/** One nonce for all, so the expected answer is computed once. */
const NONCE = Buffer.from('fanfare-loadtest').toString('base64')
const ACCEPT = createHash('sha1').update(NONCE + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')

/**
 * A masked client frame.
 * @param {Buffer} body
 * @param {number} [opcode]
 */
export function clientFrame (body, opcode = TEXT) {
  const head = body.length < 126 ? 2 : body.length < 65536 ? 4 : 10
  const frame = Buffer.allocUnsafe(head + 4 + body.length)
  frame[0] = 0x80 | opcode
  if (head === 2) {
    frame[1] = 0x80 | body.length
  } else if (head === 4) {
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(body.length, 2)
  } else {
    frame[1] = 0x80 | 127
    frame.writeBigUInt64BE(BigInt(body.length), 2)
  }
  MASK.copy(frame, head)
  const start = head + 4
  for (let at = 0; at < body.length; at++) frame[start + at] = body[at] ^ MASK[at & 3]
  return frame
}

/**
 * @param {string} host
 * @param {string} path
 * @param {boolean} deflate offer permessage-deflate the way browsers do
 * @param {string} [token] to be brought along
 */
export function upgradeRequest (host, path, deflate, token) {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${NONCE}\r\n` +
    (token === undefined ? '' : `Authorization: Bearer ${token}\r\n`) +
    (deflate ? 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n' : '') + '\r\n'
}

/**
 * Reads the answer's head.
 * @param {string} head
 * @returns {string} the extensions the server chose
 */
export function checkUpgrade (head) {
  if (!head.startsWith('HTTP/1.1 101')) throw new Error(`upgrade refused: ${head.split('\r\n', 1)[0]}`)
  if (/^sec-websocket-accept: *(\S+)/im.exec(head)?.[1] !== ACCEPT) throw new Error('wrong Sec-WebSocket-Accept')
  return /^sec-websocket-extensions: *([^\r]+)/im.exec(head)?.[1] ?? ''
}
