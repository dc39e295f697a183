// A route of your own. Run it with: ROUTES_DIR=examples/routes npm start
export default async function orders (app) {
  app.post('/orders/:id/ship', async (request, reply) => {
    await app.connections.publish('orders', { order: request.params.id, state: 'shipped' })
    reply.code(204)
  })
}
