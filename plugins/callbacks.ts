import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { BackEnd } from '../src/callbacks/back-end.ts'
import { Decisions } from '../src/callbacks/decisions.ts'
import { EventQueue } from '../src/callbacks/event-queue.ts'
import { Occupancy } from '../src/callbacks/occupancy.ts'
import type { PluginSettings } from '../src/config.ts'

// What the back end may take to answer when it is told something; for decisions there is HOOK_TIMEOUT.
const EVENTS_TIMEOUT_MS = 10_000
// What a stopping node gives it to take what waits.
const FLUSH_MS = 1000

/** Lets a back end decide, and know, by HTTP what hooks do in code. */
async function callbacks (app: FastifyInstance, settings: PluginSettings): Promise<void> {
  const { connections, log } = app
  const { callbackUrl, callbackEvents } = settings
  if (!callbackUrl) return
  const wanted = new Set(callbackEvents)
  const backEnd = new BackEnd(settings)
  const decisions = new Decisions(backEnd, settings, log)
  const queue = new EventQueue((body, id) => backEnd.post('events', body, { id, timeout: EVENTS_TIMEOUT_MS }), log)
  const occupancy = wanted.has('channel') ? new Occupancy(connections.cluster, queue) : undefined

  if (wanted.has('connect')) connections.addHook('onConnect', decisions.connect)
  if (wanted.has('refresh')) connections.addHook('onRefresh', decisions.refresh)
  if (wanted.has('subscribe')) connections.addHook('onSubscribe', decisions.subscribe)
  if (wanted.has('publish')) connections.addHook('onPublish', decisions.publish)
  if (wanted.has('rpc')) connections.addHook('onRpc', decisions.rpc)
  if (wanted.has('disconnect')) {
    connections.addHook('onDisconnect', ({ caller: { user, id: client }, code }) => queue.add({ type: 'disconnect', user, client, code, time: Date.now() }))
  }
  if (wanted.has('unsubscribe')) {
    connections.addHook('onUnsubscribe', ({ caller: { user, id: client }, channel }) => queue.add({ type: 'unsubscribe', channel, user, client, time: Date.now() }))
  }
  if (occupancy) {
    connections.addHook('onOccupied', ({ channel }) => occupancy.occupied(channel))
    connections.addHook('onVacated', ({ channel }) => occupancy.vacated(channel))
  }

  // Before the manager stops: the other nodes can still be asked.
  app.addHook('onClose', async () => {
    const late = setTimeout(() => { backEnd.close() }, FLUSH_MS)
    await occupancy?.stop(FLUSH_MS / 2)
    await queue.stop()
    clearTimeout(late)
    await backEnd.close()
  })
  log.info(`Callbacks go to ${new URL(callbackUrl).origin}: ${callbackEvents.join(', ')}`)
}

export default fp(callbacks, { name: 'callbacks', dependencies: ['connections'] })
