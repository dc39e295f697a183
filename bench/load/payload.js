/**
 * What the senders say. Every payload is a JSON object that starts with a five-letter id and is padded to an exact size:
 * `{"id":"aaabc","text":"…"}`. Letters a to p are four bits each, so a receiver finds the id at a fixed place and reads
 * it with shifts alone, without making a string.
 */

export const ID_AT = '{"id":"'.length
export const ID_LETTERS = 5
/** Ids wrap here; never more than a few thousand are under way at once. */
export const ID_COUNT = 2 ** (4 * ID_LETTERS)
const FIRST_LETTER = 97
const NO_ID = 'aaaaa'

/**
 * @param {Buffer} buffer
 * @param {number} at
 */
export function readId (buffer, at) {
  return ((buffer[at] - FIRST_LETTER) << 16) | ((buffer[at + 1] - FIRST_LETTER) << 12) |
    ((buffer[at + 2] - FIRST_LETTER) << 8) | ((buffer[at + 3] - FIRST_LETTER) << 4) | (buffer[at + 4] - FIRST_LETTER)
}

/**
 * @param {Buffer} buffer
 * @param {number} at
 * @param {number} id
 */
export function writeId (buffer, at, id) {
  for (let letter = ID_LETTERS - 1; letter >= 0; letter--) {
    buffer[at + letter] = FIRST_LETTER + (id & 15)
    id >>= 4
  }
}

/** A small repeatable source of numbers, so that every peer gets the same bytes. */
function numbers (seed) {
  let state = seed
  return (/** @type {number} */ limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * limit)
  }
}

/**
 * Position updates as a fleet tracker would send them: they compress as real JSON does, to about a third.
 * @param {number} bytes
 * @param {number} seed
 */
function jsonPayload (bytes, seed) {
  const next = numbers(seed)
  const vehicles = []
  const build = (/** @type {string} */ text) => JSON.stringify({ id: NO_ID, vehicles, text })
  while (build('').length < bytes - 120) {
    vehicles.push({ vehicle: 1000 + next(9000), latitude: next(9e7) / 1e6, longitude: next(18e7) / 1e6, speed: next(130), state: ['moving', 'parked', 'offline'][next(3)] })
  }
  const words = 'abcdefghijklmnopqrstuvwxyz'
  const room = bytes - build('').length
  return build(Array.from({ length: room }, () => words[next(26)]).join(''))
}

/**
 * The payloads of a run; message n says the (n modulo length)-th of them, with its own id.
 * @param {number} bytes
 * @param {'text' | 'json'} kind
 * @returns {string[]}
 */
export function payloads (bytes, kind) {
  if (kind === 'json') return Array.from({ length: 64 }, (_, index) => jsonPayload(bytes, index + 1))
  const bare = JSON.stringify({ id: NO_ID, text: '' })
  if (bytes < bare.length) throw new RangeError(`a payload takes at least ${bare.length} bytes`)
  return [JSON.stringify({ id: NO_ID, text: 'x'.repeat(bytes - bare.length) })]
}
