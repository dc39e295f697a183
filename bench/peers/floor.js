/**
 * No server that anybody would use, but the least that a fan-out costs on Node: each message is framed once, and nothing is done but writing it to
 * each socket. What a server costs more than this is its own; what this costs is the stream's and the kernel's.
 */

import { Sender, WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: process.env.HOST, port: Number(process.env.PORT), path: '/ws', perMessageDeflate: false })
/** @type {Set<import('node:net').Socket>} */
const sockets = new Set()

server.on('connection', (webSocket, { socket }) => {
  sockets.add(socket)
  webSocket.on('error', console.error)
  webSocket.on('close', () => sockets.delete(socket))
  webSocket.on('message', (data, isBinary) => {
    const frame = Buffer.concat(Sender.frame(/** @type {Buffer} */ (data), { fin: true, rsv1: false, opcode: isBinary ? 2 : 1, mask: false, readOnly: true }))
    for (const socket of sockets) socket.write(frame)
  })
})
