import { isIPv6 } from 'node:net'
import { Address6 } from 'ip-address'
import { fanfareError, type FanfareError } from '../errors.ts'

// What one customer of a provider gets of IPv6: whoever has one address has them all.
const IPV6_NETWORK_BITS = 64

/** How many may be connected; 0 for one address: no limit. */
export interface ConnectionLimitsSettings {
  readonly maxConnections: number
  readonly maxConnectionsPerIp: number
}

/** Counts who is connected: each as long as it has a socket, and while hooks are asked whether it may come. */
export class ConnectionLimits {
  readonly #settings: ConnectionLimitsSettings
  readonly #networks = new Map<string, number>()
  #count = 0

  constructor (settings: ConnectionLimitsSettings) {
    this.#settings = settings
  }

  /** Why nobody may come from an address any more, if so: FANFARE_FULL or FANFARE_TOO_MANY_FROM_ADDRESS. */
  refusalOf (address: string): FanfareError | undefined {
    const { maxConnections, maxConnectionsPerIp } = this.#settings
    if (this.#count >= maxConnections) return fanfareError('FANFARE_FULL', maxConnections)
    if (maxConnectionsPerIp > 0 && this.#countFrom(networkOf(address)) >= maxConnectionsPerIp) {
      return fanfareError('FANFARE_TOO_MANY_FROM_ADDRESS', maxConnectionsPerIp)
    }
  }

  add (address: string): void {
    const network = networkOf(address)
    this.#networks.set(network, this.#countFrom(network) + 1)
    this.#count++
  }

  remove (address: string): void {
    const network = networkOf(address)
    const left = this.#countFrom(network) - 1
    if (left > 0) this.#networks.set(network, left)
    else this.#networks.delete(network)
    this.#count--
  }

  #countFrom (network: string): number {
    return this.#networks.get(network) ?? 0
  }
}

// As @fastify/rate-limit counts for CONNECT_RATE.
function networkOf (address: string): string {
  if (!isIPv6(address)) return address
  const parsed = new Address6(address)
  return parsed.isMapped4() ? parsed.to4().correctForm() : new Address6(`${address}/${IPV6_NETWORK_BITS}`).startAddress().correctForm()
}
