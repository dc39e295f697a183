import type { Server } from 'node:http'
import { Socket } from 'node:net'
import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { WebSocket } from 'ws'
import { chooseSubprotocol } from '../src/auth/token-of-request.ts'
import { closeCodes } from '../src/close-codes.ts'
import type { PluginSettings } from '../src/config.ts'
import { SettingError } from '../src/errors.ts'
import { cutHalfFrames } from '../src/transports/half-frames.ts'
import { guardReceivers } from '../src/transports/receiver-guard.ts'
import { Upgrades } from '../src/transports/upgrades.ts'

// A peer gets this long to answer our close frame before its socket is destroyed.
const CLOSE_TIMEOUT_MS = 5000
// A client may send a message in so many pieces; the default of ws, 16,384, is made for messages of 100 MiB.
const MAX_FRAGMENTS = 1024
// A frame may come in so many reads, one of 128 bytes on average at least. Each keeps 200 bytes beside what it holds: by
// default, 262,144 of them, a client that writes single bytes would take 13 MB for a message of 64 KiB.
const MIN_CHUNK_BYTES = 128
const FEW_CHUNKS = 512
// `ws` counts in 32 bits: a larger limit would be none.
const MOST_BYTES = 2 ** 31 - 1

// Two of them would both answer each upgrade.
const served = new WeakSet<object>()

/** Lets the app take WebSockets, within what one client may cost, and ends them all when it closes. */
async function webSockets (app: FastifyInstance, settings: PluginSettings): Promise<void> {
  const { compression, compressionThreshold: threshold, drainTimeout } = settings
  const maxMessageBytes = Math.min(settings.maxMessageBytes, MOST_BYTES)

  async function stop (): Promise<void> {
    clearInterval(looking)
    const deadline = setTimeout(() => { for (const client of app.websocketServer.clients) client.terminate() }, drainTimeout * 1000)
    upgrades.stop()
    await app.connections.drain(drainTimeout)
    upgrades.end()
    await Promise.all(Array.from(app.websocketServer.clients, closed))
    clearTimeout(deadline)
    app.websocketServer.close()
  }

  const options = {
    handleProtocols: chooseSubprotocol,
    maxPayload: maxMessageBytes,
    maxFragments: MAX_FRAGMENTS,
    maxBufferedChunks: Math.max(FEW_CHUNKS, Math.ceil(maxMessageBytes / MIN_CHUNK_BYTES)),
    closeTimeout: CLOSE_TIMEOUT_MS,
    // For what clients send; what we send is compressed once for all, see src/transports.
    perMessageDeflate: compression && { threshold, serverNoContextTakeover: true, clientNoContextTakeover: true }
  }
  if (app.hasDecorator('injectWS')) throw new SettingError('@fastify/websocket', 'is registered by Fanfare itself, with its own limits: leave it out, and WebSocket routes of your own work beside /ws')
  if (served.has(app.server)) throw new SettingError('Fanfare', 'is registered on this server already: once is enough, with channels for all that is to be kept apart')
  served.add(app.server)
  guardReceivers()
  const before = app.server.listeners('upgrade')
  await app.register(websocket, {
    options,
    preClose: (done) => { stop().then(() => done(), done) }
  })
  const [answer] = app.server.listeners('upgrade').filter((listener) => !before.includes(listener)) as [ConstructorParameters<typeof Upgrades>[1]]
  // A context inherits what the app itself has.
  const isContext = !Object.hasOwn(app, 'server')
  const upgrades = new Upgrades(app.server as Server, answer, isContext)
  app.server.off('upgrade', answer).on('upgrade', upgrades.take)
  app.websocketServer.on('connection', (_client, request) => upgrades.done(request))
  const looking = cutHalfFrames(app.websocketServer.clients)
}

// A WebSocket of a route that is not ours has nobody else to close it.
async function closed (client: WebSocket & { _socket?: unknown }): Promise<void> {
  // The pipe that `injectWS` makes does not end on this side when it ends on the other.
  if (!(client._socket instanceof Socket)) client.terminate()
  if (client.readyState === client.OPEN) client.close(closeCodes.restart.code, closeCodes.restart.reason)
  // `once` of node:events would reject when the client sends something wrong.
  if (client.readyState !== client.CLOSED) await new Promise((resolve) => client.once('close', resolve))
}

export default fp(webSockets, { name: 'websocket', dependencies: ['connections'] })
