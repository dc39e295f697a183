/** Just enough of a server of the Centrifuge protocol in JSON to try the load generator's half of it. */

import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: process.env.HOST, port: Number(process.env.PORT), path: '/connection/websocket' })
/** @type {Map<string, Set<import('ws').WebSocket>>} */
const channels = new Map()

/**
 * @param {import('ws').WebSocket} client
 * @param {any} command
 */
function answer (client, command) {
  if (command.connect !== undefined) return { id: command.id, connect: { client: 'x', ping: 25, pong: true } }
  if (command.subscribe !== undefined) {
    const { channel } = command.subscribe
    channels.set(channel, (channels.get(channel) ?? new Set()).add(client))
    return { id: command.id, subscribe: {} }
  }
  const { channel, data } = command.publish
  const push = JSON.stringify({ push: { channel, pub: { data, info: { user: '', client: 'x' } } } })
  // Two in one message now and then, and a ping, as a real server does it.
  for (const subscriber of channels.get(channel) ?? []) if (subscriber !== client) subscriber.send(Math.random() < 0.1 ? `${push}\n{}` : push)
  client.send(`${push}\n${JSON.stringify({ id: command.id, publish: {} })}\n`)
}

server.on('connection', (client) => {
  client.on('message', (data) => {
    const lines = data.toString().split('\n').filter((line) => line !== '{}')
    const replies = lines.map((line) => answer(client, JSON.parse(line))).filter((reply) => reply !== undefined)
    if (replies.length > 0) client.send(replies.map((reply) => JSON.stringify(reply)).join('\n'))
  })
})
