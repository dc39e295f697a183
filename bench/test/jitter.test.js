import { describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { runOne } from '../lib/run-one.js'
import { scenarios, small } from '../lib/scenarios.js'
import { server } from './server.js'

const [jitter] = scenarios.find(({ key }) => key === 'jitter').cases
/** Long enough for each to come back a few times. */
const what = { ...small(jitter), nodes: 1 }
what.job = { ...what.job, seconds: 2 }

describe('the jitter profile', { concurrency: 4 }, () => {
  test('clients that are cut off again and again miss nothing of a faultless server', async () => {
    const result = await runOne(server('positions-server', 'plain', { FAULT: 'none' }), what)
    assert.deepEqual(result.failures, [])
    assert.equal(result.delivered, result.due)
    assert.ok(result.recoveries > 30, `${result.recoveries} recoveries`)
    assert.ok(result.longest >= 200, 'who was away heard later')
  })

  for (const [fault, message] of [
    ['forgets', /^1 of .* deliveries are missing$/],
    ['repeats', /^1 of .* deliveries came twice$/],
    ['swaps', /deliveries came out of order$/],
    ['alters', /got another message at offset \d+ than others did/],
    ['moves', /heard of the epoch epoch2, where there was epoch1/],
    ['ignores', /deliveries are missing/]
  ]) {
    test(`a server that ${fault} something is found out`, async () => {
      const { failures } = await runOne(server('positions-server', 'plain', { FAULT: fault }), what)
      assert.match(failures.join('\n'), new RegExp(message, 'm'))
    })
  }

  test('who cannot recover is counted, and what it misses by that', async () => {
    const { failures, insufficient } = await runOne(server('positions-server', 'plain', { FAULT: 'gives_up' }), what)
    assert.equal(insufficient, 1)
    assert.match(failures.join('\n'), /deliveries are missing/)
  })
})
