/** A broadcast server that spoils one delivery in the way that FAULT says, to see that the load generator notices. */

import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const { FAULT, PORT, HOST } = process.env
// Before any sender has sent twice: a busy machine may come no further.
const SPOILT = 5
const http = createServer()
const server = new WebSocketServer({ server: http })
let messages = 0
/** @type {import('ws').WebSocket[]} */
const clients = []
/** @type {Buffer | undefined} */
let held

const faults = {
  none: (client, data) => client.send(data),
  loses () {},
  doubles (client, data) {
    client.send(data)
    client.send(data)
  },
  swaps: (client, data) => { held = data },
  alters (client, data) {
    const other = Buffer.from(data)
    other[40] ^= 1
    client.send(other)
  },
  invents (client, data) {
    client.send(data)
    client.send(Buffer.from(data.toString().replace(/[a-p]{5}/, 'ppppp')))
  },
  shortens: (client, data) => client.send(data.subarray(0, 30)),
  closes: (client) => client.close(3008, 'slow'),
  crashes: () => process.exit(1)
}

server.on('connection', (client) => {
  clients.push(client)
  client.on('error', () => {})
  client.on('message', (/** @type {Buffer} */ data) => {
    messages++
    for (const [index, receiver] of clients.entries()) {
      // A message is only compared in full where it comes first, whichever receiver that is.
      const spoil = messages === SPOILT && (FAULT === 'alters' || index === 3)
      if (spoil) faults[FAULT](receiver, data)
      else receiver.send(data)
      if (held !== undefined && index === 3 && !spoil) {
        receiver.send(held)
        held = undefined
      }
    }
  })
})
http.listen(Number(PORT), HOST)
