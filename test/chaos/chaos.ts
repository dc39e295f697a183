import type { Test } from 'tap'
import { planOf } from './plan.ts'
import { figuresOf, storyOf } from './report.ts'
import { playRound } from './round.ts'
import { verdictOf } from './verdict.ts'

const MOST_SEEDS = 2 ** 31
// Of many violations the first say most.
const MOST_STORIES = 5

/** A seed for who names none. */
export function anySeed (): number {
  return Math.floor(Math.random() * MOST_SEEDS)
}

/**
 * Plays one round, and holds it against the model.
 *
 * @param seed says all that is to happen
 * @param seconds how long there are faults
 */
export async function chaos (t: Test, seed: number, seconds: number): Promise<void> {
  t.comment(`seed ${seed}; again with: npm run test:chaos -- --seed ${seed} --seconds ${seconds}`)
  const plan = planOf(seed, seconds)
  const recorder = await playRound(t, plan)
  const violations = verdictOf(recorder)
  for (const line of figuresOf(plan, recorder)) t.comment(line)
  t.comment(`${violations.length} violations`)
  for (const violation of violations.slice(0, MOST_STORIES)) {
    for (const line of storyOf(violation, recorder)) t.comment(line)
  }
  t.same(recorder.failures, [], 'every node lives until it is ended, and everybody is served in the end')
  t.same(violations.map(({ promise, sentence }) => `${promise}: ${sentence}`), [], `no promise is broken with seed ${seed}`)
}
