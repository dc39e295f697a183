import { Command, InvalidArgumentError, Option } from 'commander'
import t from 'tap'
import { startArenas } from './arena.ts'
import { anySeed, fuzz, parserNames, type ParserName } from './fuzz.ts'

const PROGRESS_MS = 5000

interface Options { readonly minutes: number, readonly seed: number, readonly parser?: ParserName, readonly cases: number }

const number = (text: string): number => {
  const value = Number(text)
  if (!(value >= 0)) throw new InvalidArgumentError('It takes a number, 0 or more.')
  return value
}
const whole = (text: string): number => {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('It takes a whole number, 0 or more.')
  return Number(text)
}

const options = new Command('npm run test:fuzz --')
  .description('Feeds the parsers that clients reach with bytes from a seed, round by round, each round from a seed of its own.')
  .option('--minutes <minutes>', 'how long to go on; 0: one round', number, 0)
  .option('--seed <seed>', 'of the first round', whole, anySeed())
  .addOption(new Option('--parser <name>', 'only this one').choices(parserNames))
  .option('--cases <count>', 'for each parser and round', whole, 200)
  .parse()
  .opts<Options>()

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    process.stderr.write(`Ended by ${signal}\n`)
    process.exit(1)
  })
}
t.setTimeout(0)
await t.test('fuzz', { timeout: 0 }, async (t) => {
  const arenas = await startArenas(t)
  const begin = performance.now()
  let [rounds, shownAt] = [0, begin]
  do {
    const seed = options.seed + rounds
    for (const name of options.parser ? [options.parser] : parserNames) {
      const failure = await fuzz(arenas, name, seed, options.cases)
      for (const line of failure) t.comment(line)
      t.same(failure, [], `${name}, seed ${seed}`)
    }
    rounds++
    if (performance.now() - shownAt < PROGRESS_MS) continue
    shownAt = performance.now()
    const { open, guarded } = arenas
    t.comment(`${((shownAt - begin) / 60_000).toFixed(1)} of ${options.minutes} minutes: ${rounds} rounds of ${options.cases} cases, longest stall ${Math.max(open.longestStallMs, guarded.longestStallMs).toFixed(0)} ms, memory + ${Math.max(open.grownMiB, guarded.grownMiB).toFixed(0)} MiB`)
  } while (t.passing() && performance.now() - begin < options.minutes * 60_000)
  t.comment(`${rounds} rounds, seeds ${options.seed} to ${options.seed + rounds - 1}`)
})
