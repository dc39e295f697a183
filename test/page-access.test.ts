import t from 'tap'
import { announcements, button, join, messageBox, openBrowser, rows, state, texts } from './browser.ts'
import { start, until } from './helper.ts'

const browser = await openBrowser(t)

t.test('a screen reader hears sums, not every message', async (t) => {
  const { app, url } = await start(t)
  const { page } = await join(t, browser, url)
  t.equal(await page.getByRole('log').getAttribute('aria-live'), 'off')
  t.equal(await page.locator('#announcer').getAttribute('aria-live'), 'polite')

  await Promise.all(Array.from({ length: 50 }, (_, n) => app.connections.publish('team', `message ${n + 1}`)))
  await until(async () => (await announcements(page)).some((text) => text.endsWith('message 50')))
  const said = (await announcements(page)).join('\n')
  const sums = Array.from(said.matchAll(/(\d+) new messages|Received/g), ([, count = '1']) => Number(count))
  t.equal(sums.reduce((all, sum) => all + sum, 0), 50, 'each message is counted once')
  // One, unless the machine takes more than the 300 ms for which the page waits for others.
  t.ok(sums.length <= 3)
})

t.test('the keyboard is enough', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)

  await page.keyboard.type('typed')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('in two lines')
  await page.keyboard.press('Enter')
  await rows(page, 'sent').waitFor()
  t.strictSame(await texts(rows(page, 'sent')), ['typed\nin two lines'])
  t.equal(await messageBox(page).inputValue(), '', 'the box is empty again')
  await page.keyboard.press('Enter')

  // Backwards from the message box: the log, the button above it, Disconnect.
  for (let n = 0; n < 3; n++) await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Enter')
  await state(page, 'closed')
  t.match(await page.getByRole('status').textContent(), /Disconnected\.\s+You disconnected \(code 1000\)/)
  t.notOk(await page.locator('#retry').isVisible(), 'it does not come back by itself')

  // The focus went on to Connect; before that is the channel.
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('ControlOrMeta+A')
  await page.keyboard.type('elsewhere')
  await page.keyboard.press('Enter')
  await state(page, 'open')
  t.equal(new URL(page.url()).searchParams.get('channel'), 'elsewhere', 'the address leads to the channel')
  await app.connections.publish('elsewhere', 'found')
  await rows(page, 'received').waitFor()
  t.strictSame(await texts(page.locator('#rows [data-direction]')), ['found'])
  t.strictSame(complaints, [])
})

t.test('it fits a phone', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url, 'team', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })

  await app.connections.publish('team', 'unbroken'.repeat(50))
  await app.connections.publish('team', Buffer.alloc(40, 'binary'))
  await rows(page, 'received').nth(1).waitFor()
  for (const width of [390, 320]) {
    await page.setViewportSize({ width, height: 844 })
    t.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, `nothing sticks out at ${width} pixels`)
  }
  t.ok(await button(page, 'Send').isVisible())
  t.strictSame(complaints, [])
})

t.test('it follows light and dark, chart included', async (t) => {
  const { url } = await start(t)
  const { page, complaints } = await join(t, browser, url, 'team', { colorScheme: 'light' })
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  await page.locator('#chart canvas').waitFor()

  const light = await background()
  await page.emulateMedia({ colorScheme: 'dark' })
  t.not(await background(), light)
  t.equal(await page.locator('#chart canvas').count(), 1)
  t.strictSame(complaints, [])
})
