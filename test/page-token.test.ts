import t from 'tap'
import { button, messageBox, openBrowser, openPage, rows, state, texts } from './browser.ts'
import { secondsFromNow, startSecure, tokenOf } from './tokens.ts'

const browser = await openBrowser(t)

t.test('where a token is needed the page asks for one, says what is wrong with it, and brings it along', async (t) => {
  const { url } = await startSecure(t)
  const { page, complaints } = await openPage(t, browser, `${url}/?channel=team`)
  const field = page.getByLabel('Token')
  await field.waitFor()
  await page.getByRole('status').filter({ hasText: 'The server wants a token: A token is needed' }).waitFor()
  t.ok(await field.evaluate((input) => input === document.activeElement), 'the focus is where the token goes')

  await field.fill(await tokenOf({ sub: 'ada', exp: secondsFromNow(-60) }))
  await page.keyboard.press('Enter')
  await page.getByRole('status').filter({ hasText: 'The token has expired; get a new one' }).waitFor()

  await field.fill(await tokenOf({ sub: 'ada' }))
  await page.keyboard.press('Enter')
  await state(page, 'open')
  await messageBox(page).fill('from ada')
  await button(page, 'Send').click()
  await rows(page, 'sent').waitFor()
  t.strictSame(await texts(rows(page, 'sent')), ['from ada'])
  await page.locator('#members', { hasText: 'ada' }).waitFor()
  t.notMatch(page.url(), /eyJ/, 'the token is not in the address')
  // Chromium itself reports each 401.
  t.strictSame(complaints.filter((complaint) => !complaint.includes('401')), [])
})

t.test('a page whose user may not read the history hears what comes', async (t) => {
  const { app, url } = await startSecure(t, { channels: [{ match: 'team', allow: { history: 'server' } }] })
  const { page } = await openPage(t, browser, `${url}/?channel=team`)
  await page.getByLabel('Token').fill(await tokenOf({ sub: 'ada' }))
  await page.keyboard.press('Enter')
  await state(page, 'open')
  await app.connections.publish('team', 'live')
  await rows(page, 'received').waitFor()
  t.strictSame(await texts(rows(page, 'received')), ['live'])
})

t.test('a token that ends closes the connection, and the page asks for another', async (t) => {
  const { url } = await startSecure(t)
  const { page } = await openPage(t, browser, `${url}/?channel=team`)
  await page.getByLabel('Token').fill(await tokenOf({ sub: 'ada', exp: secondsFromNow(2) }))
  await page.keyboard.press('Enter')
  await state(page, 'open')
  await page.locator('#rows', { hasText: 'The token has expired (code 3005' }).waitFor()
})
