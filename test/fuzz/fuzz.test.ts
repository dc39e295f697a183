import t from 'tap'
import { startArenas } from './arena.ts'
import { anySeed, fuzz, parserNames } from './fuzz.ts'

const SECONDS = 8
const CASES = 50

t.test('the parsers that clients reach, fed from a seed: the server lives, answers no 5xx, logs no error, stalls for 200 ms at most, and serves a healthy client meanwhile', { timeout: 400_000 }, async (t) => {
  const arenas = await startArenas(t)
  const begin = performance.now()
  const first = anySeed()
  let seed = first
  do {
    for (const name of parserNames) {
      const failure = await fuzz(arenas, name, seed, CASES)
      for (const line of failure) t.comment(line)
      t.same(failure, [], `${name}, seed ${seed}`)
    }
    seed++
  } while (t.passing() && performance.now() - begin < SECONDS * 1000)
  const { open, guarded } = arenas
  const stall = Math.max(open.longestStallMs, guarded.longestStallMs)
  t.comment(`${(seed - first) * CASES} cases for each of ${parserNames.length} parsers, seeds ${first} to ${seed - 1}: longest stall ${stall.toFixed(0)} ms of 200, memory + ${Math.max(open.grownMiB, guarded.grownMiB).toFixed(0)} MiB`)
})
