const STEPS = 4

/** A time for which something is waited. */
export interface Patience {
  /** Resolves when it is over; never if it was ended before. */
  readonly over: Promise<void>
  end (): void
}

/**
 * Begins to wait for something. Of a time in which the process stood still a quarter of the whole counts at most, and
 * what lies unread in its sockets at the end is read first: nobody is late for a delay of our own.
 *
 * @param ms how long, at least; it keeps no process alive
 * @example
 * const { over, end } = patience(1000)
 * await Promise.race([answer, over]).finally(end)
 */
export function patience (ms: number): Patience {
  // Timers go off up to a millisecond early.
  const stepMs = Math.ceil(ms / STEPS) + 1
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => {
    let left = STEPS
    const wait = (): void => { timer = setTimeout(step, stepMs).unref() }
    const step = (): void => {
      left--
      if (left > 0) wait()
      // Immediates run after sockets have been read.
      else setImmediate(resolve)
    }
    wait()
  })
  return { over, end: () => clearTimeout(timer) }
}
