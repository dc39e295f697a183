import { setTimeout as wait } from 'node:timers/promises'

// So few clients are closed at once when the node stops; more are closed at this rate, so that they do not all come
// back to the remaining nodes at the same moment.
const AT_ONCE = 100
const PER_SECOND = 200
const STEP_MS = 50

/**
 * Does something to each of the items: to few at once, to many spread over time.
 *
 * @param seconds over which it is spread at most; nearly a third of them is left for the last ones to answer
 */
export async function spread<Item> (items: readonly Item[], seconds: number, act: (item: Item) => void): Promise<void> {
  const spanMs = Math.min(seconds * 700, items.length / PER_SECOND * 1000)
  const perStep = items.length <= AT_ONCE ? AT_ONCE : Math.ceil(items.length * STEP_MS / spanMs)
  for (let from = 0; from < items.length; from += perStep) {
    if (from > 0) await wait(STEP_MS)
    for (const item of items.slice(from, from + perStep)) act(item)
  }
}
