/** A server that knows positions and recovers from them, and spoils one thing in the way that FAULT says. */

import { WebSocketServer } from 'ws'

const { FAULT, PORT, HOST } = process.env
const EPOCH = 'epoch1'
const SPOILT_RECOVERY = 5
const SPOILT_MESSAGE = 20
const server = new WebSocketServer({ host: HOST, port: Number(PORT), path: '/ws' })
/** @type {Map<string, { clients: Set<import('ws').WebSocket>, history: string[] }>} */
const channels = new Map()
let recoveries = 0
let messages = 0
let ignored = ''

/** @type {Record<string, (missed: string[], client: import('ws').WebSocket) => string[]>} what becomes of a recovery */
const recoveryFaults = {
  forgets: (missed) => missed.slice(1),
  repeats: (missed) => [...missed.slice(0, 1), ...missed],
  swaps: (missed) => missed.toReversed(),
  gives_up (_missed, client) {
    client.close(3010, 'insufficient state')
    return []
  }
}

const publicationFaults = {
  alters: (/** @type {string} */ text) => text.replace(/x"/, 'y"'),
  moves: (/** @type {string} */ text) => text.replace(EPOCH, 'epoch2')
}

/** @param {string} name */
function open (name) {
  const channel = channels.get(name) ?? { clients: new Set(), history: [] }
  channels.set(name, channel)
  return channel
}

server.on('connection', (client, request) => {
  const { searchParams } = new URL(request.url ?? '/', 'ws://server')
  const channel = open(searchParams.get('channel') ?? '')
  const since = searchParams.get('since')
  if (since !== null) {
    const missed = channel.history.slice(Number(since.split(':')[1]))
    const spoil = FAULT in recoveryFaults && missed.length > 1 && ++recoveries === SPOILT_RECOVERY
    for (const text of spoil ? recoveryFaults[FAULT](missed, client) : missed) client.send(text)
  }
  channel.clients.add(client)
  client.on('error', () => {})
  client.on('close', () => channel.clients.delete(client))
  client.on('message', (data) => {
    messages++
    if (FAULT === 'ignores' && messages === SPOILT_MESSAGE) ignored = data.toString()
    // A client that is cut off says again what it has not heard.
    if (data.toString() === ignored) return
    const text = JSON.stringify({ offset: channel.history.length + 1, epoch: EPOCH, data: data.toString() })
    channel.history.push(text)
    const spoilt = FAULT in publicationFaults && messages === SPOILT_MESSAGE ? publicationFaults[FAULT](text) : text
    let first = true
    for (const receiver of channel.clients) {
      receiver.send(first ? text : spoilt)
      first = false
    }
  })
})
