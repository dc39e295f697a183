/** Socket.IO's protocol version 5 on Engine.IO's version 4, over WebSocket from the start. */

const PING = 0x32 // '2'
const PONG = '3'
const BEFORE = '42["message",'
const AFTER = ']'

/** @type {import('./plain.js').Protocol} */
export const socketIo = {
  path: (channels) => '/socket.io/?EIO=4&transport=websocket' + channels.map((name) => `&channel=${name}`).join(''),
  hello: () => '40',
  greet (connection, text) {
    if (text.startsWith('44')) throw new Error(`Socket.IO refused: ${text}`)
    if (text[0] === '2') connection.sendText(PONG)
    return text.startsWith('40')
  },
  around: () => [BEFORE, AFTER],
  hear (connection, buffer, start, end, arrived) {
    if (buffer[start] === PING && end - start === 1) connection.sendText(PONG)
    else arrived(connection.index, buffer, start + BEFORE.length, end - AFTER.length)
  }
}
