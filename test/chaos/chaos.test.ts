import t from 'tap'
import { anySeed, chaos } from './chaos.ts'

t.test('publications, cuts, node kills and Redis faults from a seed: nothing is lost in silence, doubled or out of order', async (t) => {
  await chaos(t, anySeed(), 8)
})
