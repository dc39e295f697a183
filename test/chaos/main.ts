import { parseArgs } from 'node:util'
import t from 'tap'
import { anySeed, chaos } from './chaos.ts'

const SETUP_AND_SETTLING_SECONDS = 180

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '0' }, seconds: { type: 'string', default: '20' }, seed: { type: 'string' } } })
const [minutes, seconds, seed] = [Number(values.minutes), Number(values.seconds), Number(values.seed ?? anySeed())]
if (!(minutes >= 0 && seconds > 0 && seconds <= 120 && Number.isInteger(seed) && seed >= 0)) {
  process.stderr.write('--minutes takes how long to go on, --seconds the length of a round up to 120, --seed a whole number\n')
  process.exit(2)
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    process.stderr.write(`Ended by ${signal}\n`)
    process.exit(1)
  })
}
t.setTimeout(0)
const begin = performance.now()
let round = 0
do {
  // A round of its own for each seed: what was found can be repeated without the rounds before.
  await t.test(`round ${round + 1}`, { timeout: (seconds + SETUP_AND_SETTLING_SECONDS) * 1000 }, (t) => chaos(t, seed + round, seconds))
  round++
} while (t.passing() && performance.now() - begin < minutes * 60_000)
t.comment(`${round} rounds, seeds ${seed} to ${seed + round - 1}`)
