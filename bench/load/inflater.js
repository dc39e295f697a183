/** The receiving half of permessage-deflate (RFC 7692), one message at a time. */

import { constants, inflateRawSync } from 'node:zlib'

const TAIL = Buffer.from([0, 0, 0xff, 0xff])
/** As far back as deflate can point. */
const WINDOW = 2 ** 15

export class Inflater {
  /** What was inflated so far: with context takeover the next message may refer to it. */
  #window = Buffer.alloc(0)

  /** @param {string} extensions as the server chose them */
  constructor (extensions) {
    this.takeover = !extensions.includes('server_no_context_takeover')
  }

  /** @param {Buffer} bytes */
  inflate (bytes) {
    const dictionary = this.#window.length > 0 ? this.#window : undefined
    const message = inflateRawSync(Buffer.concat([bytes, TAIL]), { dictionary, finishFlush: constants.Z_SYNC_FLUSH })
    if (this.takeover) this.#window = Buffer.concat([this.#window, message]).subarray(-WINDOW)
    return message
  }
}
