import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { STANDARD_CHANNEL } from '../src/hub/access-api.ts'
import type { Peer } from '../src/hub/connection.ts'

const querystring = Type.Object({ channel: Type.String({ default: STANDARD_CHANNEL }) })

/** `/position`: where a channel stands now. Who then hears it with its history knows by this which publications are from before. */
const position: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/position', { schema: { querystring }, preValidation: app.identify }, async ({ query: { channel }, peer }) => {
    await app.connections.authorize(peer as Peer, 'history', channel)
    return { channel, ...await app.connections.position(channel) }
  })
}

export default position
