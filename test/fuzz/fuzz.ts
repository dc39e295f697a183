import fc from 'fast-check'
import type { Arenas, Parser } from './arena.ts'
import { frames } from './frames.ts'
import { protocol } from './protocol.ts'
import { requests } from './requests.ts'

const MOST_SEEDS = 2 ** 31
// A failing case is made smaller as long as that.
const SHRINKING_MS = 60_000

const parsers = { frames, protocol, requests }
export type ParserName = keyof typeof parsers
export const parserNames = Object.keys(parsers) as ParserName[]

/** A seed for who names none. */
export function anySeed (): number {
  return Math.floor(Math.random() * MOST_SEEDS)
}

/**
 * Feeds a parser with the cases of a seed.
 *
 * @param count of cases
 * @returns what does not hold, in lines that say how to repeat it; empty if all does
 */
export async function fuzz (arenas: Arenas, name: ParserName, seed: number, count: number): Promise<string[]> {
  return feedAll(arenas, parsers[name] as Parser<unknown>, seed, count)
}

async function feedAll (arenas: Arenas, parser: Parser<unknown>, seed: number, count: number): Promise<string[]> {
  // Of a server that has ended the following ones say nothing.
  let first: Error | undefined
  const property = fc.asyncProperty(parser.cases, async (fed) => {
    const arena = parser.arenaOf(arenas, fed)
    // Nor can it tell which part of the case it was.
    if (first && arena.dead) return
    try {
      await parser.feed(arena, fed)
      await arena.verify()
    } catch (error) {
      first ??= await arena.causeOf(error as Error)
      throw error
    }
  })
  let failedAt = Infinity
  const details = await fc.check(property.beforeEach(() => {
    if (first) failedAt = Math.min(failedAt, performance.now())
    // Ends the shrinking: without failures there is nothing to follow.
    if (performance.now() > failedAt + SHRINKING_MS) throw new fc.PreconditionFailure()
  }), { seed, numRuns: count })
  if (!details.failed) return []
  const { counterexample, numShrinks } = details
  return [
    `${parser.name}: ${first?.message}`,
    `again with: npm run test:fuzz -- --parser ${parser.name} --seed ${seed} --cases ${count}`,
    `the case, made smaller ${numShrinks} times: ${fc.stringify(counterexample)}`
  ]
}
