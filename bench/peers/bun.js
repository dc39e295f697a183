/** Bun's native publish and subscribe. */

/* global Bun */

const server = Bun.serve({
  hostname: process.env.HOST,
  port: Number(process.env.PORT),
  fetch (request, server) {
    const url = new URL(request.url)
    const asked = url.searchParams.getAll('channel')
    const channels = asked.length > 0 ? asked : ['all']
    if (url.pathname === '/ws' && server.upgrade(request, { data: { channels } })) return
    return new Response('Upgrade failed', { status: 400 })
  },
  websocket: {
    perMessageDeflate: process.env.COMPRESSION === 'on',
    open (socket) {
      for (const name of socket.data.channels) socket.subscribe(name)
    },
    message (socket, message) {
      server.publish(socket.data.channels[0], message)
    },
    close (socket) {
      for (const name of socket.data.channels) socket.unsubscribe(name)
    }
  }
})
