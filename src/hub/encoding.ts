import type { Close } from '../close-codes.ts'
import type { Position, Publication } from './publication.ts'

/**
 * One protocol on one kind of transport, compressed or not. All subscribers of a channel that share an encoding get the
 * very same bytes, so there is one object of each encoding, and the hub compares them by identity.
 */
export interface Encoding {
  /**
   * All of these publications, ready for the wire, in one Buffer.
   *
   * @param channel name of their channel
   * @param publications in order, at least one
   */
  encode (channel: string, publications: readonly Publication[]): Buffer

  /**
   * Starts what is too heavy for the tick in which this publication would be encoded. The channel holds the publication
   * and all later ones until the promise resolves. `encode` must do without it.
   *
   * @returns nothing where there is nothing to prepare
   */
  prepare? (channel: string, publication: Publication): Promise<void> | undefined

  /**
   * What tells a subscriber that it did not get `count` publications of the channel; absent where the protocol has no
   * word for it.
   */
  encodeSkipped? (channel: string, count: number): Buffer

  /**
   * What tells a subscriber where it stands: that it goes on where it was, or that publications are lost to it. Where
   * the protocol has no word for it (absent), a subscriber that lost something is closed with 3010.
   */
  encodeRecovery? (channel: string, recovered: boolean, position: Position): Buffer

  /**
   * What tells a subscriber that it hears the channel no more, and why. Its client may subscribe again; where there is no
   * word for that (absent), who cannot go on in a channel is closed.
   */
  encodeEnd? (channel: string, end: Close): Buffer

  /**
   * What tells somebody that the server has put it into a channel, where that stands, if it has positions, and whether what
   * comes after that can be recovered; absent where there is no word for it.
   *
   * @param data any JSON value for its client; none, if undefined
   */
  encodePlaced? (channel: string, position: Position | undefined, recoverable: boolean, data: unknown): Buffer
}

/**
 * Starts what each of these encodings has to prepare for each of these publications.
 *
 * @returns nothing where there is nothing to prepare
 */
export function prepareAll (encodings: Iterable<Encoding>, channel: string, publications: readonly Publication[]): Promise<unknown> | undefined {
  const preparations: Promise<void>[] = []
  for (const encoding of encodings) {
    for (const publication of publications) {
      const preparation = encoding.prepare?.(channel, publication)
      if (preparation) preparations.push(preparation)
    }
  }
  return preparations.length > 0 ? Promise.all(preparations) : undefined
}
