import t from 'tap'
import { button, join, messageBox, network, openBrowser, openPage, rows, say, shows, state, texts } from './browser.ts'
import { start } from './helper.ts'

const browser = await openBrowser(t)

t.test('a lost connection comes back by itself', async (t) => {
  const { app, url } = await start(t)
  const between = await network(t, url)
  const { page } = await join(t, browser, between.url)

  between.cut()
  await page.locator('#rows [data-kind=notice]', { hasText: 'Connection lost: it ended without a close frame (code 1006)' }).waitFor()
  await state(page, 'open')
  await app.connections.publish('team', 'here again')
  await rows(page, 'received').waitFor()
  t.strictSame(await texts(rows(page, 'received')), ['here again'])
})

t.test('a restarted server gets its pages back, what is not sent stays in the box', async (t) => {
  const first = await start(t)
  const second = await start(t)
  const between = await network(t, first.url)
  const { page } = await join(t, browser, between.url)

  await first.app.close()
  await page.locator('#rows [data-kind=notice]', { hasText: 'The server is restarting (code 1012' }).waitFor()
  await shows(page, 'status', 'Could not connect: the server does not answer')
  t.match(await page.locator('#countdown').textContent(), /Reconnecting in \d+ s \(try \d+\)/)
  await messageBox(page).fill('keep me')
  await page.keyboard.press('Enter')
  await shows(page, 'problem', 'Not connected, so this was not sent')

  between.target = second.url
  await Promise.race([state(page, 'open'), button(page, 'Reconnect now').click()])
  // The other server knows nothing of the position that the page comes back with: it is closed with 3010, and begins anew.
  await page.locator('#rows', { hasText: 'Some messages may be missing' }).waitFor()
  await state(page, 'open')
  await messageBox(page).press('Enter')
  await rows(page, 'sent').waitFor()
  t.strictSame(await texts(rows(page, 'sent')), ['keep me'])
})

t.test('a page that the server disconnects says why, and stays away', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)

  app.connections.disconnect({ channel: 'team' })
  await state(page, 'closed')

  t.match(await page.getByRole('status').textContent(), /Disconnected by the server \(code 3503, the server says “force disconnect”\)/)
  t.notOk(await page.locator('#retry').isVisible())
  await button(page, 'Connect').click()
  await state(page, 'open')
  t.strictSame(complaints, [])
})

t.test('a server that refuses a channel for good is quoted, and not asked again', async (t) => {
  const { url } = await start(t)
  const { page } = await openPage(t, browser, `${url}/?channel=${'ü'.repeat(200)}`)
  await shows(page, 'status', 'Could not connect: A channel name is 1 to 255 bytes of text without control characters; got 400 bytes (code 1006)')
  await state(page, 'closed')
})

t.test('an older server, which tells no positions, is used without history', async (t) => {
  const { app, url } = await start(t)
  await app.connections.publish('team', 'before')
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const page = await context.newPage()
  for (const path of ['position', 'presence']) await page.route(`${url}/${path}?*`, (route) => route.fulfill({ status: 404, json: {} }))
  const [socket] = await Promise.all([page.waitForEvent('websocket'), page.goto(`${url}/?channel=team`)])
  t.equal(new URL(socket.url()).search, '?channel=team')
  await state(page, 'open')
  await say(page, '{"offset":1,"epoch":"x","data":"as it is"}')
  await rows(page, 'sent').waitFor()
  t.strictSame(await texts(rows(page)), ['{"offset":1,"epoch":"x","data":"as it is"}'])
  t.notOk(await page.locator('#presence').isVisible())
})
