import { readFileSync } from 'node:fs'
import t from 'tap'
import { join, messageBox, openBrowser, rows } from './browser.ts'
import { connect } from './helper.ts'
import { startProcess } from './process.ts'
import { startRedis } from './redis.ts'

t.test('README.md: the two commands of the cluster make two pages on different nodes chat', async (t) => {
  const section = readFileSync('README.md', 'utf8').split('\n## A cluster\n')[1]?.split('\n## ')[0] ?? ''
  const commands = Array.from(section.matchAll(/^ {4}(REDIS_URL=(\S+) PORT=(\d+) npm start)$/gm))
  t.equal(commands.length, 2)
  const redis = await startRedis(t)
  const urls = await Promise.all(commands.map(async ([, , address = '', port = '']) => {
    t.equal(address, 'redis://127.0.0.1:6379')
    t.match(port, /^800[01]$/)
    // What `npm start` runs once it has built.
    return startProcess(t, { REDIS_URL: address.replace('6379', String(redis.port)) })
  }))
  const browser = await openBrowser(t)
  const [ada, bob] = [await join(t, browser, urls[0]?.url ?? ''), await join(t, browser, urls[1]?.url ?? '')]
  await messageBox(ada.page).fill('Hello from the first node')
  await messageBox(ada.page).press('Enter')
  await rows(bob.page, 'received').filter({ hasText: 'Hello from the first node' }).waitFor()
  await messageBox(bob.page).fill('And from the second')
  await messageBox(bob.page).press('Enter')
  await rows(ada.page, 'received').filter({ hasText: 'And from the second' }).waitFor()

  const [first, second] = await Promise.all(urls.map(({ wsUrl }) => connect(t, `${wsUrl}?channel=team&history=2`)))
  t.same(await first?.hears(2), ['Hello from the first node', 'And from the second'])
  t.same(await second?.hears(2), ['Hello from the first node', 'And from the second'])
})
