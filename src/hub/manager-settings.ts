import type { ConnectionLimitsSettings } from './connection-limits.ts'
import type { HeartbeatTimes } from './heartbeat.ts'
import type { InboxSettings } from './inbox.ts'
import type { Start } from './joining.ts'

/** The manager's limits; 0 switches a limit off where that is said. */
export interface ManagerSettings extends HeartbeatTimes, InboxSettings, ConnectionLimitsSettings {
  readonly maxChannels: number
  /** How long who is in a channel is remembered after its node has died, in seconds. */
  readonly presenceTtl: number
  /** What a hook may take, in seconds. */
  readonly hookTimeout: number
  /** Whether everyone may come, because nothing says who somebody is. */
  readonly openToAll: boolean
}

/** Where the manager reports what happens: any pino-like logger. */
export interface Log {
  warn (facts: object, sentence: string): void
  info (facts: object, sentence: string): void
  debug (facts: object, sentence: string): void
}

/** How a connection hears its channels. */
export interface Hearing extends Start {
  /** Whether it hears what it publishes itself; true by default. */
  readonly echo?: boolean
  /** Where it begins to hear a channel, if that is not the same for all of them. */
  readonly positions?: ReadonlyMap<string, Start['since']>
}
