import { withoutHooks, type Connection } from '../../hub/connection.ts'
import type { ConnectionManager } from '../../hub/connection-manager.ts'
import type { Beginning } from '../../hub/joining.ts'
import type { Position } from '../../hub/publication.ts'
import type { Result } from './codec.ts'

// Clients ask for a new token when their time is over. They are told a little less than they have, so that the new one
// comes before the server, which gives nobody more, ends the connection.
const SPARE_SHARE = 0.2
const MOST_SPARE_S = 20
// In Protobuf it has 32 bits.
const LONGEST_TTL_S = 2 ** 31 - 1

/**
 * When a client is to bring a new token.
 *
 * @param expiresAt by the wall clock in milliseconds; never, if that is not given
 */
export function expiryOf (expiresAt = Infinity): Result {
  if (expiresAt === Infinity) return {}
  const left = (expiresAt - Date.now()) / 1000
  return { expires: true, ttl: Math.min(LONGEST_TTL_S, Math.max(1, Math.floor(left - Math.min(MOST_SPARE_S, left * SPARE_SHARE)))) }
}

/**
 * How a channel begins for somebody who is put into it, or has asked for it.
 *
 * @param since where it says that it was
 */
export function subscriptionResult (connections: ConnectionManager, { peer }: Connection, channel: string, beginning: Beginning | undefined, since: Position | undefined): Result {
  const grant = peer.grants?.get(channel)
  // Only a token can be renewed by its client. What hooks have limited it is asked about anew when it comes back.
  const token = withoutHooks(grant)
  const granted = { ...token?.single && !token.byServer && expiryOf(token.expiresAt), ...grant?.data !== undefined && { data: grant.data } }
  if (!beginning) return { ...granted, ...since && { was_recovering: true } }
  const { position: { epoch, offset }, recovered, publications } = beginning
  return {
    ...granted,
    ...connections.mayRead(peer, channel) && { recoverable: true },
    positioned: true,
    epoch,
    // Clients count on from where they were with each publication.
    offset: recovered ? since?.offset ?? 0 : offset,
    ...since && { was_recovering: true, recovered },
    ...publications.length > 0 && { publications }
  }
}
