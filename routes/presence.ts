import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { STANDARD_CHANNEL } from '../src/hub/access-api.ts'
import { statsOf } from '../src/hub/channel-api.ts'
import type { Peer } from '../src/hub/connection.ts'

const MAX_MEMBERS = 100

const querystring = Type.Object({ channel: Type.String({ default: STANDARD_CHANNEL }) })

/** `/presence`: who is in a channel, on all nodes. `clients` and `users` count everyone, `members` holds 100 of them at most. */
const presence: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/presence', { schema: { querystring }, preValidation: app.identify }, async ({ query: { channel }, peer }) => {
    await app.connections.authorize(peer as Peer, 'presence', channel)
    const members = await app.connections.recentPresence(channel)
    return { channel, ...statsOf(members), members: members.slice(0, MAX_MEMBERS) }
  })
}

export default presence
