// A client of the Centrifuge protocol. Run it with: node examples/centrifuge.js ws://127.0.0.1:8000/connection/websocket
import { Centrifuge } from 'centrifuge'
import { WebSocket } from 'ws'

// In a browser, and from Node 22 on, without the option `websocket`.
const client = new Centrifuge(process.argv[2], { websocket: WebSocket })
const orders = client.newSubscription('orders')

orders.on('publication', ({ data, offset }) => console.log(offset, data))
orders.subscribe()
client.connect()
await orders.publish({ id: 42, state: 'shipped' })
