/** Publishes from code, and says how that went. */
export default async function publish (app) {
  app.post('/publish', async ({ body: { channel, data, idempotencyKey } }) => app.connections.publish(channel, data, { idempotencyKey }))

  // A node does not outlive its test, however that ends.
  const { ppid } = process
  setInterval(() => { if (process.ppid !== ppid) process.exit() }, 1000).unref()
}
