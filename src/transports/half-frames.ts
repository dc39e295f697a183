import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { closeCodes } from '../close-codes.ts'

const LOOK_EVERY_MS = 1000
// Looks, and not time: a loop that was blocked has not looked.
const SILENT_LOOKS = 8

// States of the receiver of ws in which it waits for more bytes of a frame; in the first for its two first ones.
const BETWEEN_FRAMES = 0
const LAST_WAITING = 4

/** What says where in a frame a WebSocket is. `ws` tells it nowhere else; test/security/cost-silence.test.ts notices if it changes. */
interface Insides {
  readonly _receiver?: { readonly _state: number, readonly _bufferedBytes: number }
  readonly _socket?: Socket
}

/**
 * Cuts those who begin a frame and fall silent. They could not answer a ping even if they wanted to, so they are not given
 * the time that others have for it.
 *
 * @param clients of this node
 * @returns the timer, to be cleared in the end
 */
export function cutHalfFrames (clients: ReadonlySet<WebSocket>): NodeJS.Timeout {
  let waiting = new Map<WebSocket, { readonly bytesRead: number, readonly looks: number }>()
  return setInterval(() => {
    const still: typeof waiting = new Map()
    for (const client of clients) {
      if (!isWithinFrame(client)) continue
      const { bytesRead = 0 } = (client as Insides)._socket ?? {}
      const before = waiting.get(client)
      const looks = before?.bytesRead === bytesRead ? before.looks + 1 : 0
      if (looks < SILENT_LOOKS) still.set(client, { bytesRead, looks })
      else cut(client)
    }
    waiting = still
  }, LOOK_EVERY_MS).unref()
}

// Who is held back is silent because we do not read.
function isWithinFrame (client: WebSocket): boolean {
  const { _receiver: receiver } = client as Insides
  if (!receiver || client.isPaused || client.readyState !== client.OPEN) return false
  return receiver._state === BETWEEN_FRAMES ? receiver._bufferedBytes > 0 : receiver._state <= LAST_WAITING
}

function cut (client: WebSocket): void {
  client.close(closeCodes.noPong.code, closeCodes.noPong.reason)
  client.terminate()
}
