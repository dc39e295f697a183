import type { Publication } from '../hub/publication.ts'

/**
 * Where publications go before anyone gets them.
 *
 * `publish` resolves once the publication has its place in the channel's order, or rejects; it never hangs. Every
 * publication comes back through `deliver`, also to the node that published it, and in the same order on every node, so
 * that there is one way for a message and one order for all.
 */
export interface Broker {
  /** In a word or two, for the start-up log. */
  readonly name: string

  /** Set by the connection manager: gets the publications of a channel in their order. */
  deliver: (channel: string, publications: readonly Publication[]) => void

  publish (channel: string, publication: Publication): Promise<void>
}
