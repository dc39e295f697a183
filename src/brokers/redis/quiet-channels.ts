import type { Feed } from '../feed.ts'

// A channel that was silent for this long is looked at: its last publication may have been lost on the way.
const QUIET_MS = 15_000
// Of very many channels so many are looked at in a second; each costs Redis and this node some 50 us.
const LOOKS_AT_ONCE = 500

/** A channel that the node hears. */
interface Followed { readonly feed: Feed, readonly heard: boolean }

/** What looking at channels needs of those who own them. */
export interface QuietChannelsParts<Channel extends Followed> {
  readonly channels: ReadonlyMap<string, Channel>
  /** Fetches what is missing of a channel, as far as that can be reached. */
  fetch (channel: Channel): Promise<void>
  /** Gets each channel that was thought to be heard, and was not. */
  onUnheard (name: string): void
}

/** Looks at channels that say nothing: whether there was nothing to hear. */
export class QuietChannels<Channel extends Followed> {
  readonly #parts: QuietChannelsParts<Channel>
  /** Where the last look ended. */
  #looking: IterableIterator<[string, Channel]> | undefined

  constructor (parts: QuietChannelsParts<Channel>) {
    this.#parts = parts
  }

  /** To be called once a second. Goes on where it was the last time, so that each has its turn however many there are. */
  look (): void {
    const now = performance.now()
    const looking = this.#looking ??= this.#parts.channels.entries()
    let looks = 0
    while (looks < LOOKS_AT_ONCE) {
      const { value } = looking.next()
      if (!value) {
        this.#looking = undefined
        return
      }
      const [name, channel] = value as [string, Channel]
      const { heard, feed } = channel
      if (!heard || feed.fetching || (feed.live && now - feed.checkedAt < QUIET_MS)) continue
      this.#lookAt(name, channel)
      looks++
    }
  }

  // Redis ends a subscription without the connection where a slot of a cluster moves away, also if it comes back at once.
  async #lookAt (name: string, channel: Channel): Promise<void> {
    const { live, offset } = channel.feed
    await this.#parts.fetch(channel)
    if (live && channel.feed.live && channel.feed.offset !== offset && this.#parts.channels.get(name) === channel) this.#parts.onUnheard(name)
  }
}
