import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'

const querystring = Type.Object({ channel: Type.String({ default: 'broadcast' }) })

/** `/position`: where a channel stands now. Who then hears it with its history knows by this which publications are from before. */
const position: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/position', { schema: { querystring } }, async ({ query: { channel } }) => {
    // Open mode: everyone may ask. Once there are permissions (issue 5), who may not hear this channel is refused here.
    const { position } = await app.connections.history(channel, { limit: 0 })
    return { channel, ...position }
  })
}

export default position
