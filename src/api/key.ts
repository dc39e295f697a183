import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/**
 * Makes a function that says whether a request brings the key, as `X-API-Key: KEY` or `Authorization: apikey KEY`. How
 * long it takes says nothing about the key.
 *
 * @param key empty: no request does
 */
export function keyChecker (key: string): (headers: IncomingHttpHeaders) => boolean {
  const digest = digestOf(Buffer.from(key))
  return ({ authorization = '', 'x-api-key': own }) => {
    const [, scheme = ''] = /^apikey +(.*)$/i.exec(authorization) ?? []
    // Node reads headers as latin1, but what is sent are the bytes of the key.
    return key !== '' && [own ?? '', scheme].flat().some((given) => timingSafeEqual(digestOf(Buffer.from(given, 'latin1')), digest))
  }
}

function digestOf (bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}
