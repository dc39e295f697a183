/**
 * How a client says and hears things.
 * @typedef {object} Protocol
 * @property {(channels: string[]) => string} path
 * @property {(channels: string[]) => string} hello what to say first, if anything
 * @property {null | ((connection: import('../connection.js').Connection, text: string) => boolean)} greet takes a message before
 *   the connection is ready, and says whether it is now; null: it is ready once upgraded
 * @property {(channel: string) => [string, string]} around what stands before and after a payload to publish it
 * @property {(connection: import('../connection.js').Connection, buffer: Buffer, start: number, end: number, arrived: Arrived) => void} hear
 *   finds the payloads in a message
 *
 * @typedef {(receiver: number, buffer: Buffer, start: number, end: number) => void} Arrived
 */

/**
 * A message is the payload and nothing else; the address names the channels.
 * @type {Protocol}
 */
export const plain = {
  path: (channels) => '/ws' + (channels.length === 0 ? '' : '?' + channels.map((name) => `channel=${name}`).join('&')),
  hello: () => '',
  greet: null,
  around: () => ['', ''],
  hear (connection, buffer, start, end, arrived) {
    arrived(connection.index, buffer, start, end)
  }
}
