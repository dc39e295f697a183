/** ws alone, with the server broadcast of its README; with channels, rooms. */

import { WebSocket, WebSocketServer } from 'ws'
import { Rooms, channelsOf } from './rooms.js'

const server = new WebSocketServer({
  host: process.env.HOST,
  port: Number(process.env.PORT),
  path: '/ws',
  perMessageDeflate: process.env.COMPRESSION === 'on'
})
const rooms = new Rooms()

server.on('connection', (socket, request) => {
  const channels = channelsOf(request.url)
  for (const name of channels) rooms.join(name, socket)
  socket.on('error', console.error)
  socket.on('close', () => {
    for (const name of channels) rooms.leave(name, socket)
  })
  socket.on('message', (data, isBinary) => {
    const clients = channels.length === 0 ? server.clients : rooms.of(channels[0])
    for (const client of clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary })
    }
  })
})
