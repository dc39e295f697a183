import test from 'node:test'
import assert from 'node:assert/strict'
import { runOne } from '../lib/run-one.js'
import { scenarios, small } from '../lib/scenarios.js'
import { server } from './server.js'

const scenario = (/** @type {string} */ key) => small(scenarios.find((one) => one.key === key).cases[0])

/** The same for longer: a busy machine may take more than 0.3 s for a thousand deliveries. */
const longer = (/** @type {string} */ key) => {
  const what = scenario(key)
  return { ...what, job: { ...what.job, seconds: 1 } }
}

test('a faultless server passes', async () => {
  const { failures, delivered } = await runOne(server('faulty-server', 'plain', { FAULT: 'none' }), longer('b'))
  assert.deepEqual(failures, [])
  assert.ok(delivered > 1000)
})

for (const [fault, message] of [
  ['loses', /lost, doubled, out of order/],
  ['doubles', /lost, doubled, out of order/],
  ['swaps', /lost, doubled, out of order/],
  ['alters', /with another content/],
  ['invents', /which nobody sent|lost, doubled/],
  ['shortens', /payload of 30 bytes/],
  ['closes', /closed with 3008 slow/],
  ['crashes', /the server ended/]
]) {
  test(`a server that ${fault} one message is found out`, async () => {
    const { failures } = await runOne(server('faulty-server', 'plain', { FAULT: fault }), scenario('b'))
    assert.match(failures.join('; '), message)
  })
}

for (const key of ['a', 'b', 'c', 'd']) {
  test(`the Centrifuge protocol, scenario ${key}`, async () => {
    const { failures, delivered } = await runOne(server('centrifuge-server', 'centrifuge'), longer(key))
    assert.deepEqual(failures, [])
    assert.ok(delivered > 1000)
  })
}

test('a server that keeps everything for those that do not read is found out', async () => {
  const { failures } = await runOne(server('faulty-server', 'plain', { FAULT: 'none' }), scenario('stalled'))
  assert.match(failures.join('; '), /4 of 4 that did not read were not cut/)
})
