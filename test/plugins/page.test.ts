import t from 'tap'
import { build } from '../helper.ts'

t.test('the page and its files may use nothing but their own host, and be framed by nobody; other routes keep their own headers', async (t) => {
  const app = await build(t)
  for (const url of ['/', '/main.js', '/vendor/uplot/uPlot.min.css']) {
    const { statusCode, headers } = await app.inject(url)
    t.equal(statusCode, 200)
    t.match(headers['content-security-policy'], /^default-src 'none';script-src 'self';.*frame-ancestors 'none'$/, url)
    t.match(headers, { 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer' })
    t.notOk(headers['strict-transport-security'])
  }
  for (const url of ['/hello', '/health/live']) t.notOk((await app.inject(url)).headers['content-security-policy'], url)
})

t.test('PAGE=off: there is none', async (t) => {
  const app = await build(t, { page: false })
  t.equal((await app.inject('/')).statusCode, 404)
})
