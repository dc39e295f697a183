import t, { type Test } from 'tap'
import type { Page } from 'playwright-core'
import { plain } from '../src/protocols/plain.ts'
import { transportOf, WebSocketEncodings } from '../src/transports/websocket.ts'
import { announcements, button, join, messageBox, openBrowser, openPage, rows, say, sendFile, shows, state } from './browser.ts'
import { build, connect, connectMany, listen, start, until, type Running } from './helper.ts'
import { startSecure, tokenOf } from './tokens.ts'

const browser = await openBrowser(t)
const present = (page: Page, clients: number): Promise<void> => page.locator(`#present[data-clients="${clients}"]`).waitFor()
const panel = (page: Page) => page.getByRole('region', { name: 'In this channel' })
const members = (page: Page) => panel(page).getByRole('listitem')

/** A server with a route `/as?user=NAME`, over which a user comes to the channel `team`. */
async function startWithUsers (t: Test): Promise<Running> {
  const app = await build(t)
  const encodings = new WebSocketEncodings(plain, 1024)
  app.get<{ Querystring: { user: string } }>('/as', { websocket: true }, (socket, request) => {
    const { ip: address, query: { user } } = request
    const connection = app.connections.open(transportOf(socket, request.raw), encodings.for(socket), { peer: { address, user }, channels: ['team'] })
    socket.on('close', (code) => app.connections.closed(connection, code))
  })
  return listen(app)
}

t.test('the page shows who is in the channel, as they come and go', async (t) => {
  const { url, wsUrl } = await start(t)
  const { page, complaints } = await join(t, browser, url)
  await present(page, 1)
  t.match(await members(page).allTextContents(), [/^[\da-f]{8}$/])
  await until(async () => (await announcements(page)).some((text) => text.includes('1 in this channel')))

  const ben = await connect(t, `${wsUrl}?channel=team`)
  await connect(t, `${wsUrl}?channel=elsewhere`)
  await present(page, 2)
  t.equal(await members(page).count(), 2)
  await shows(page, 'connections', '3')
  ben.ws.close()
  await present(page, 1)
  t.equal(await members(page).count(), 1)

  await button(page, 'Disconnect').click()
  await state(page, 'closed')
  await present(page, 0)
  t.ok(await panel(page).isVisible())
  t.strictSame(complaints, [])
})

t.test('users are shown by their names, escaped', async (t) => {
  const { url } = await startWithUsers(t)
  const evil = '<img src=x onerror="globalThis.hacked = true">'
  for (const user of ['ada', 'ada', evil]) await connect(t, `${url.replace('http', 'ws')}/as?user=${encodeURIComponent(user)}`)
  const { page, complaints } = await join(t, browser, url)
  await present(page, 4)

  t.match(await members(page).allTextContents(), ['ada', 'ada', evil, /^[\da-f]{8}$/])
  t.equal(await page.locator('#users').textContent(), '3 users')
  t.equal(await page.locator('#members img').count(), 0)
  t.equal(await page.evaluate('globalThis.hacked'), undefined)
  t.strictSame(complaints, [])
})

t.test('of many it shows 100 and how many more there are, and fits a phone', async (t) => {
  const { url, wsUrl } = await start(t)
  await connectMany(t, `${wsUrl}?channel=team`, 1_199)
  const { page, complaints } = await join(t, browser, url, 'team', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
  await present(page, 1_200)
  t.equal(await page.locator('#present').textContent(), '1,200')
  t.equal(await members(page).count(), 101)
  t.equal(await members(page).last().textContent(), 'and 1,100 more')
  t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, 'nothing sticks out')
  t.ok(await button(page, 'Send').isVisible())
  t.strictSame(complaints, [])
})

t.test('where presence is off there is nothing to see, and nothing is asked again', async (t) => {
  const { url } = await start(t, { presence: false })
  let asked = 0
  const { page } = await join(t, browser, url)
  page.on('request', (request) => { if (request.url().includes('/presence')) asked++ })
  await panel(page).waitFor({ state: 'hidden' })
  // The next look at the server's health comes when the next look at the channel would.
  for (let n = 0; n < 2; n++) await page.waitForResponse((response) => response.url().includes('/health/ready'))
  t.equal(asked, 0)
  await say(page, 'all the same')
  await rows(page, 'sent').waitFor()
})

t.test('the limit for messages and files is the one of the server', async (t) => {
  const { url } = await start(t, { maxMessageBytes: 2_000 })
  const { page, complaints } = await join(t, browser, url)
  await page.locator('#choose-file[title*="at most 2,000 bytes,"]').waitFor()
  await sendFile(page, Buffer.alloc(2_001))
  await shows(page, 'problem', 'data.bin has 2,001 bytes; the server takes at most 2,000 bytes')
  await say(page, 'ü'.repeat(1_001))
  await shows(page, 'problem', 'The message has 2,002 bytes; the server takes at most 2,000 bytes')
  t.equal((await messageBox(page).inputValue()).length, 1_001, 'what is not sent stays in the box')
  await sendFile(page, Buffer.alloc(2_000))
  await rows(page, 'sent').waitFor()
  await state(page, 'open')
  t.strictSame(complaints, [])
})

t.test('a channel that the page may not hear showed who was in the one before, and not why', async (t) => {
  const { url } = await startSecure(t)
  const { page } = await openPage(t, browser, `${url}/?channel=team`)
  await page.getByLabel('Token').fill(await tokenOf({ sub: 'ada' }))
  await page.keyboard.press('Enter')
  await present(page, 1)
  await page.getByRole('textbox', { name: 'Channel' }).fill('$secret')
  await page.keyboard.press('Enter')
  await page.getByRole('status').filter({ hasText: 'You may not hear channel $secret' }).waitFor()
  t.equal(await page.locator('#present').textContent(), '–')
  t.equal(await members(page).count(), 0)
})
