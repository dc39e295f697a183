import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { bare } from './process.ts'

const run = promisify(execFile)

t.test('a smoke run of the benchmark ends well: every receiver got every message in order', async (t) => {
  const { stdout, stderr } = await run(...bare(process.execPath, ['bench/run.js', '--smoke']))
  for (const scenario of ['a', 'b', 'c', 'd']) {
    for (const peer of ['fanfare', 'fanfare-redis', 'ws']) t.match(stderr, new RegExp(`${scenario} ${peer} 1: [\\d,.]+ us a delivery`))
  }
  for (const scenario of ['b', 'c', 'd']) t.match(stderr, new RegExp(`${scenario} fanfare-centrifuge 1: [\\d,.]+ us a delivery`))
  t.match(stdout, /CPU us\/delivery/)
})

t.test('a smoke run of the scenario of receivers that stop reading ends well: all are cut, the others lose nothing and wait no longer', async (t) => {
  const { stderr } = await run(...bare(process.execPath, ['bench/run.js', '--smoke', '--scenario', 'stalled', '--peer', 'fanfare']))
  const [, before, stalled, grown] = /stalled fanfare 1: .* p99 ([\d.]+) ms, and ([\d.]+) ms while some did not read, grown by ([\d.]+) MiB/.exec(stderr) ?? []
  // A time at which the machine has done something else for 100 ms says nothing about the server.
  t.ok(Number(stalled) <= Math.max(2 * Number(before), 100), `p99 was ${before} ms before, ${stalled} ms with stalled receivers`)
  t.ok(Number(grown) <= 150, `the server grew by ${grown} MiB of 150`)
})

t.test('its load generator finds out a server that loses, doubles, swaps or alters a message, or recovers wrongly', async (t) => {
  const { stdout } = await run(...bare('npm', ['test', '--prefix', 'bench']))
  t.match(stdout, /^(#|ℹ) fail 0$/m)
})
