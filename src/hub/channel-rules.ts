import { LRUCache } from 'lru-cache'
import { matcherOf } from './glob.ts'
import type { Permissions } from './permissions.ts'
import type { Publication } from './publication.ts'

// Names are made by clients, so that what is known about them must be bounded.
const REMEMBERED_NAMES = 10_000

/** What happens to a receiver that has too much waiting for it. */
export type SlowReceiver = 'close' | 'drop'

/** How a channel behaves. */
export interface ChannelBehaviour {
  /** How many publications it keeps; 0: none. */
  readonly historySize: number
  /** How long it keeps them after its last publication, in seconds. */
  readonly historyTtl: number
  /** Whether it is known who is there. */
  readonly presence: boolean
  /** `drop`: it misses publications until it has caught up; `close`: it is closed, and can recover. */
  readonly slowReceiver: SlowReceiver
  /** Who may do what. */
  readonly allow: Permissions
  /**
   * Looks at a publication.
   *
   * @returns what is wrong with it, in a sentence, if so
   */
  readonly refuse?: ((publication: Publication) => string | undefined) | undefined
  /** The rule that says so; none where no rule matches. */
  readonly match?: string
}

/** How the channels behave whose name matches; what is left out is as for all others. */
export interface ChannelRule extends Partial<Omit<ChannelBehaviour, 'allow' | 'match'>> {
  readonly allow?: Partial<Permissions> | undefined
  /** A name or a glob: `orders`, `chat:*`, `{news,sports}/**`. */
  readonly match: string
}

/** Which behaviour a channel has: the first rule that matches its name says so. */
export class ChannelRules {
  readonly #standard: ChannelBehaviour
  readonly #rules: { readonly matches: (name: string) => boolean, readonly behaviour: ChannelBehaviour }[]
  readonly #known = new LRUCache<string, ChannelBehaviour>({ max: REMEMBERED_NAMES })

  /**
   * @param standard for names that no rule matches, and for what rules leave out
   * @param rules the first one that matches counts
   */
  constructor (standard: ChannelBehaviour, rules: readonly ChannelRule[] = []) {
    this.#standard = standard
    this.#rules = rules.map(({ match, allow, ...rule }) => ({
      matches: matcherOf(match),
      behaviour: { ...standard, ...rule, match, allow: { ...standard.allow, ...allow } }
    }))
  }

  /** Whether there is such a rule. */
  has (match: string): boolean {
    return this.#rules.some(({ behaviour }) => behaviour.match === match)
  }

  of (channel: string): ChannelBehaviour {
    if (this.#rules.length === 0) return this.#standard
    let behaviour = this.#known.get(channel)
    if (!behaviour) {
      behaviour = this.#rules.find(({ matches }) => matches(channel))?.behaviour ?? this.#standard
      this.#known.set(channel, behaviour)
    }
    return behaviour
  }
}
