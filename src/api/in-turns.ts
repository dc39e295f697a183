import { setImmediate } from 'node:timers/promises'
import pLimit from 'p-limit'

// Whoever asks for much at once gets so much of the event loop in one go.
const TURN_MS = 5

/**
 * Does something with many items, some at a time, and lets the event loop go on with other things now and then.
 *
 * @param parallel how many at a time; with 1 each begins when the one before has ended
 * @returns the results, in the order of the items
 * @throws what the first of them throws
 */
export async function inTurns<Item, Result> (items: readonly Item[], parallel: number, run: (item: Item) => Result | Promise<Result>): Promise<Result[]> {
  let since = performance.now()
  return pLimit(parallel).map(items, async (item) => {
    if (performance.now() - since > TURN_MS) {
      await setImmediate()
      since = performance.now()
    }
    return run(item)
  })
}
