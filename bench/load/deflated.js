/**
 * The same checks where messages are compressed. The first receiver's message is inflated and compared in full; all others
 * must get the very same compressed bytes. That holds for servers that compress per connection as well, as each of their
 * compressors is given the same messages from the start. Where a server has already sent a connection something compressed
 * of its own, its bytes are its own too, and all its messages are inflated.
 */

import { Deliveries, RING } from './deliveries.js'
import { Inflater } from './inflater.js'

export class DeflatedDeliveries extends Deliveries {
  /** @type {Buffer[]} the compressed bytes of each place in the order */
  #bytes = new Array(RING)
  /** @type {Inflater | undefined} */
  #inflater

  /** @type {import('./connection.js').Listener['message']} */
  message (connection, buffer, start, end, compressed) {
    if (!compressed) {
      if (end - start >= this.plan.bytes) return this.fail('a message that is not compressed')
      return connection.protocol.hear(connection, buffer, start, end, this.arrived)
    }
    if (connection.inflater !== undefined) return this.#hear(connection, connection.inflater, buffer.subarray(start, end))
    const position = this.positions[connection.index]
    const place = position % RING
    if (position === this.heads[0]) {
      this.#bytes[place] = Buffer.from(buffer.subarray(start, end))
      this.#inflater ??= new Inflater(connection.extensions)
      this.#hear(connection, this.#inflater, this.#bytes[place])
    } else if (buffer.compare(this.#bytes[place], 0, this.#bytes[place].length, start, end) !== 0) {
      this.fail(`receiver ${connection.index} got other compressed bytes than the first receiver`)
    } else {
      this.count(connection.index, this.order[place], 0)
    }
  }

  /**
   * @param {import('./connection.js').Connection} connection
   * @param {Inflater} inflater
   * @param {Buffer} bytes
   */
  #hear (connection, inflater, bytes) {
    const message = inflater.inflate(bytes)
    connection.protocol.hear(connection, message, 0, message.length, this.arrived)
  }
}
