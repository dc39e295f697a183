/** @fastify/websocket with the loop over its clients that its users write; with channels, rooms. */

import Fastify from 'fastify'
import websocket from '@fastify/websocket'
import { WebSocket } from 'ws'
import { Rooms, channelsOf } from './rooms.js'

const app = Fastify()
const rooms = new Rooms()

await app.register(websocket, { options: { perMessageDeflate: process.env.COMPRESSION === 'on' } })

app.get('/ws', { websocket: true }, (socket, request) => {
  const channels = channelsOf(request.url)
  for (const name of channels) rooms.join(name, socket)
  socket.on('error', console.error)
  socket.on('close', () => {
    for (const name of channels) rooms.leave(name, socket)
  })
  socket.on('message', (data, isBinary) => {
    const clients = channels.length === 0 ? app.websocketServer.clients : rooms.of(channels[0])
    for (const client of clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary })
    }
  })
})

await app.listen({ host: process.env.HOST, port: Number(process.env.PORT) })
