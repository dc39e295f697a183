/** Socket.IO: `io.emit` on each message; with channels, its rooms. */

import { createServer } from 'node:http'
import { Server } from 'socket.io'

const server = createServer()
const io = new Server(server, {
  transports: ['websocket'],
  perMessageDeflate: process.env.COMPRESSION === 'on'
})

io.on('connection', (socket) => {
  const channels = new URL(socket.request.url ?? '/', 'ws://server').searchParams.getAll('channel')
  if (channels.length > 0) socket.join(channels)
  socket.on('message', (data) => {
    if (channels.length === 0) io.emit('message', data)
    else io.to(channels[0]).emit('message', data)
  })
})

server.listen(Number(process.env.PORT), process.env.HOST)
