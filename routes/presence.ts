import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { LRUCache } from 'lru-cache'
import { Type } from 'typebox'
import type { Member } from '../src/brokers/broker.ts'
import { STANDARD_CHANNEL } from '../src/hub/access-api.ts'
import type { Peer } from '../src/hub/connection.ts'

const MAX_MEMBERS = 100
// Many pages ask for the same channel, and the answer may be long to find.
const FRESH_MS = 250
const MAX_CHANNELS = 1000

const querystring = Type.Object({ channel: Type.String({ default: STANDARD_CHANNEL }) })

/** `/presence`: who is in a channel, on all nodes. `clients` and `users` count everyone, `members` holds 100 of them at most. */
const presence: FastifyPluginAsyncTypebox = async (app) => {
  const recent = new LRUCache<string, Promise<Member[]>>({ max: MAX_CHANNELS, ttl: FRESH_MS })

  app.get('/presence', { schema: { querystring }, preValidation: app.identify }, async ({ query: { channel }, peer }) => {
    await app.connections.authorize(peer as Peer, 'presence', channel)
    let asked = recent.get(channel)
    if (!asked) recent.set(channel, asked = app.connections.presence(channel))
    const members = await asked
    const users = new Set(members.map(({ user }) => user)).size
    return { channel, clients: members.length, users, members: members.slice(0, MAX_MEMBERS) }
  })
}

export default presence
