import t from 'tap'
import { RecentDisconnects } from '../../src/hub/recent-disconnects.ts'

const MOST_BYTES = 4_194_304
const close = { code: 3503, reason: 'disconnected' }

t.test('of very many disconnects the latest are kept, and told a few at a time, in their order', async (t) => {
  const recent = new RecentDisconnects()
  const last = 100_000
  for (let number = 1; number <= last; number++) recent.add({ filter: { user: `user ${number}` }, close })
  const pieces = Array.from(recent.within(60_000))
  for (const piece of pieces) t.ok(JSON.stringify(piece).length < 32_768)
  const users = pieces.flat().map(({ filter }) => Number(filter.user?.slice('user '.length)))
  t.same(users, Array.from({ length: users.length }, (_none, index) => last - users.length + 1 + index))
  t.ok(users.length > 20_000 && JSON.stringify(pieces).length < 2 * MOST_BYTES, `${users.length} are kept`)
  t.ok(pieces.flat().every(({ agoMs }) => agoMs >= 0 && agoMs < 60_000))
  t.same(Array.from(recent.within(-1)), [], 'none is told to a node that was not there yet')
})

t.test('one that is larger than all that is kept does not stay', async (t) => {
  const recent = new RecentDisconnects()
  recent.add({ filter: { user: 'ada', except: ['x'.repeat(MOST_BYTES)] }, close })
  t.same(Array.from(recent.within(60_000)), [])
  recent.add({ filter: { user: 'ada' }, close })
  t.match(Array.from(recent.within(60_000)), [[{ filter: { user: 'ada' }, close }]])
})
