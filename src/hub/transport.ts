/** How the bytes of one connection travel. The hub calls it, and knows nothing else of the wire. */
export interface Transport {
  /** Bytes that wait in this process because the peer does not take them; of no meaning once closing has begun. */
  readonly bufferedBytes: number

  /** Sends bytes that an encoding made for this kind of transport; does nothing once closing has begun. */
  write (bytes: Buffer): void

  /** The same for several pieces, at the price of one. */
  writeAll (pieces: readonly Buffer[]): void

  /** Whether the peer answers pings. */
  readonly answersPings: boolean

  /** Asks the peer for a sign of life, or keeps what is between awake where there is no answer. */
  ping (): void

  /** Stops and goes on reading from the peer. */
  pause (): void
  resume (): void

  /** Calls back once, when all that was written has left the process. */
  onceDrained (callback: () => void): void

  /** Says goodbye after all that was written, and cuts a peer that does not answer within seconds. */
  close (code: number, reason: string): void
}
