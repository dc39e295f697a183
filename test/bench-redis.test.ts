import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { bare } from './process.ts'

const run = promisify(execFile)

t.test('a smoke run of the scenarios with Redis ends well: cluster, publishing, jitter', async (t) => {
  const { stdout, stderr } = await run(...bare(process.execPath, ['bench/run.js', '--smoke', '--scenario', 'cluster,publish,jitter']))
  for (const line of stderr.trim().split('\n')) t.comment(line)
  for (const scenario of ['cluster-b', 'cluster-e']) t.match(stderr, new RegExp(`${scenario} fanfare-redis 1: [\\d,.]+ us a delivery.* commands a publication`))
  for (const scenario of ['publish-1', 'publish-1000']) {
    t.match(stderr, new RegExp(`${scenario} fanfare 1: [\\d,.]+ us a publication`))
    t.match(stderr, new RegExp(`${scenario} fanfare-redis 1: [\\d,.]+ us a publication.* commands a publication`))
  }
  t.match(stderr, /jitter fanfare-redis 1: 100 % of [\d,]+ delivered, p99 [\d.]+ s/)
  t.match(stdout, /senders' node +│ receivers' node +│ +Redis/)
  t.match(stdout, /fanfare-redis +│ +100 % │ +[\d,]+ │ +0 │ +0 │ +0 │/)
  t.match(stdout, /\d+ cuts, \d+ returns, \d+ recoveries, 0 closed with 3010/)
})

t.test('without redis-server all else is run, and it is said what is not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-bench-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  symlinkSync(execFileSync('which', ['taskset'], { encoding: 'utf8' }).trim(), join(folder, 'taskset'))
  const args = ['bench/run.js', '--smoke', '--scenario', 'b,cluster']
  const { code, stdout, stderr } = await run(...bare(process.execPath, args), { env: { PATH: folder } }).then(() => t.fail('cluster was asked for'), (error) => error)
  t.equal(code, 1, 'a scenario that was asked for by name was not run')
  t.match(stderr, /b fanfare 1: [\d,.]+ us a delivery/)
  t.match(stdout, /fanfare-redis was not run, nor therefore cluster-b, cluster-e: redis-server is not installed/)
})
