/**
 * The names of things in Redis. Everything of one channel has the same hash tag, and so the same place in a cluster. No
 * channel can have a name that makes it another's, or that moves a part of it elsewhere: the characters that end a hash
 * tag are written otherwise.
 */
export class Keys {
  readonly #prefix: string
  readonly #pubSubPrefix: string

  /**
   * @param prefix that all names begin with
   * @param db number of the database, which Pub/Sub does not keep apart
   */
  constructor (prefix: string, db: number) {
    this.#prefix = prefix
    this.#pubSubPrefix = `${prefix}:${db}`
  }

  /** Where nodes hear each other. */
  get control (): string {
    return `${this.#pubSubPrefix}:control`
  }

  meta (channel: string): string {
    return `${this.#of(channel)}:meta`
  }

  stream (channel: string): string {
    return `${this.#of(channel)}:stream`
  }

  /** Until when each of those who are in a channel is known to be there, and what is known of each. */
  presence (channel: string): [expiry: string, facts: string] {
    return [`${this.#of(channel)}:members`, `${this.#of(channel)}:facts`]
  }

  idempotency (channel: string, key: string): string {
    return `${this.#of(channel)}:key:${key}`
  }

  /** What is written only to see whether anything can be. */
  attempt (channel: string): string {
    return `${this.#of(channel)}:attempt`
  }

  /** Where a channel's publications are heard. */
  pubSub (channel: string): string {
    return `${this.#pubSubPrefix}:{${escaped(channel)}}`
  }

  /** The channel that is heard there. */
  channelOf (pubSub: string): string {
    return pubSub.slice(this.#pubSubPrefix.length + 2, -1).replaceAll('%7D', '}').replaceAll('%25', '%')
  }

  #of (channel: string): string {
    return `${this.#prefix}:{${escaped(channel)}}`
  }
}

function escaped (channel: string): string {
  return channel.replaceAll('%', '%25').replaceAll('}', '%7D')
}
