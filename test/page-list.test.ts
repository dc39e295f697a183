import t from 'tap'
import { button, join, openBrowser, rows, shows, texts } from './browser.ts'
import { start } from './helper.ts'

const browser = await openBrowser(t)

t.test('1,000 messages at once are all counted, the last 500 are in the list', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)
  await page.evaluate(() => {
    const list = document.getElementById('rows')!
    list.dataset.most = '0'
    new MutationObserver(() => {
      list.dataset.most = String(Math.max(Number(list.dataset.most), list.childElementCount))
    }).observe(list, { childList: true })
  })

  await Promise.all(Array.from({ length: 1_000 }, (_, n) => app.connections.publish('team', `message ${n + 1}`)))
  await page.locator('#total[data-total="1000"]').waitFor()
  await rows(page, 'received').last().getByText('message 1000', { exact: true }).waitFor()

  t.strictSame(await texts(page.locator('#rows > li')), Array.from({ length: 500 }, (_, n) => `message ${n + 501}`))
  t.equal(await page.locator('#rows').getAttribute('data-most'), '500', 'there never were more')
  await shows(page, 'summary', 'last 500 of 1,000')
  t.ok(await page.locator('#log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2), 'the list is at its end')
  t.strictSame(complaints, [])
})

t.test('who scrolls up to read is left in peace', async (t) => {
  const { app, url } = await start(t)
  const { page } = await join(t, browser, url)
  const publish = (from: number, to: number) => Promise.all(Array.from({ length: to - from + 1 }, (_, n) => app.connections.publish('team', `message ${from + n}`)))
  await publish(1, 600)
  await rows(page, 'received').last().getByText('message 600', { exact: true }).waitFor()

  await page.locator('#log').evaluate((log) => { log.scrollTop = 1_000 })
  await button(page, '↓ To the latest').waitFor()
  await publish(601, 700)
  await button(page, '↓ 100 new messages').waitFor()
  t.equal(await page.locator('#log').evaluate((log) => log.scrollTop), 1_000)
  t.equal(await rows(page, 'received').first().locator('.row-text').textContent(), 'message 101')

  await button(page, '↓ 100 new messages').click()
  await rows(page, 'received').last().getByText('message 700', { exact: true }).waitFor()
  t.equal(await rows(page, 'received').count(), 500)
})

t.test('messages per second reach the line and its words', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)

  await Promise.all(Array.from({ length: 20 }, () => app.connections.publish('team', 'tick')))
  // Twenty or, at the turn of a second, a part of them.
  await page.locator('#chart[aria-label*="at most"]:not([aria-label$="at most 0"])').waitFor()
  t.ok(await page.locator('#chart canvas').isVisible())
  t.strictSame(complaints, [])
})
