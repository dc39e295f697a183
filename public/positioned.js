import { headers } from './token.js'

const DATA = '"data":'

/**
 * @typedef {{ epoch: string, offset: number }} Position where a message stands in its channel
 * @typedef {object} Publication
 * @property {string | ArrayBuffer} data
 * @property {string} [source] the data as it stands in the message
 * @property {Position} [position] none if it was published past the history
 */

/**
 * Reads a message of `/ws?positions=true`, such as `{"offset":7,"epoch":"Zx81kQpL","data":"hello"}`. JSON that was
 * published from code stays the text that it is: reading it would round its large numbers. A message that is
 * something else is what an older server sends, and is taken as it is.
 *
 * @param {string | ArrayBuffer} message
 * @returns {Publication}
 */
export function publicationOf (message) {
  const fields = fieldsOf(message)
  if (!fields) return { data: message }
  const { epoch, offset, base64, data } = fields
  const source = message.slice(message.indexOf(DATA) + DATA.length, message.lastIndexOf('}'))
  return {
    data: base64 ? bytesOf(data) : typeof data === 'string' ? data : source,
    source,
    position: epoch === undefined ? undefined : { epoch, offset }
  }
}

function bytesOf (base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer
}

function fieldsOf (message) {
  if (typeof message !== 'string') return
  try {
    const fields = JSON.parse(message)
    if (fields?.data !== undefined) return fields
  } catch {}
}

/**
 * Asks where a channel stands now.
 *
 * @param {string} channel
 * @param {AbortSignal} signal
 * @returns {Promise<{ ok: boolean, position?: Position, sentence?: string, code?: string, needsToken?: boolean, isWrong?: boolean }>}
 *   no position from an older server, which does not tell it; `sentence`: why the server refuses; `isWrong`: it always will
 */
export async function positionOf (channel, signal) {
  const url = new URL('position', document.baseURI)
  url.searchParams.set('channel', channel)
  try {
    const response = await fetch(url, { cache: 'no-store', signal, headers: headers() })
    if (response.status === 404) return { ok: true }
    const { epoch, offset, message, code } = await response.json()
    if (response.ok) return { ok: true, position: { epoch, offset } }
    return { ok: false, sentence: message, code, needsToken: response.status === 401, isWrong: response.status === 400 }
  } catch {
    return { ok: false }
  }
}
