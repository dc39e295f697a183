/** The Centrifuge client protocol in JSON: a WebSocket message holds one or more replies, one a line. */

const NEW_LINE = 0x0a
const PUSH = '{"push":{"channel":"'
const PUB = '","pub":{"data":'
/** A reply to a command starts `{"id":`, a push `{"push":`, and a ping is `{}`. */
const KIND_AT = 2
const PUSH_KIND = 0x70 // 'p'
const PING_END = 0x7d // '}'

/**
 * With no channels a scenario means "everyone": one channel for all.
 * @param {string[]} channels
 */
const subscribed = (channels) => channels.length === 0 ? ['all'] : channels

/** @param {string} line */
function refuseErrors (line) {
  if (line.includes('"error":')) throw new Error(`Centrifuge refused: ${line}`)
}

/** @type {import('./plain.js').Protocol} */
export const centrifuge = {
  path: () => '/connection/websocket',
  hello: (channels) => ['{"id":1,"connect":{}}',
    ...subscribed(channels).map((channel, index) => JSON.stringify({ id: index + 2, subscribe: { channel } }))].join('\n'),
  greet (connection, text) {
    for (const line of text.split('\n')) {
      if (line === '') continue
      if (line === '{}') connection.sendText('{}')
      const reply = JSON.parse(line)
      refuseErrors(line)
      if (reply.id !== undefined) connection.replies++
    }
    return connection.replies === 1 + subscribed(connection.channels).length
  },
  around: (channel) => [`{"id":1,"publish":{"channel":"${channel || 'all'}","data":`, '}}'],
  hear (connection, buffer, start, end, arrived) {
    while (start < end) {
      const ping = buffer[start + 1] === PING_END
      const push = !ping && buffer[start + KIND_AT] === PUSH_KIND
      let lineEnd = start
      if (push) {
        // All channels of a run have names of one length, so the payload stands at a fixed place; who published may follow it.
        const payload = start + PUSH.length + (connection.channels[0] ?? 'all').length + PUB.length
        lineEnd = payload + connection.target.payloadBytes
        arrived(connection.index, buffer, payload, lineEnd)
      }
      while (lineEnd < end && buffer[lineEnd] !== NEW_LINE) lineEnd++
      if (ping) connection.sendText('{}')
      else if (!push) refuseErrors(buffer.toString('latin1', start, lineEnd))
      start = lineEnd + 1
    }
  }
}
