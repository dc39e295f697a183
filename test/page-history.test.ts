import t from 'tap'
import { button, join, messageBox, network, notices, openBrowser, rows, say, shows, state, texts } from './browser.ts'
import { start, until } from './helper.ts'

const browser = await openBrowser(t)
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, n) => `message ${from + n}`)

t.test('a page that opens shows the history first, marked as earlier and without a time', async (t) => {
  const { app, url } = await start(t)
  await app.connections.publish('team', 'the first')
  await app.connections.publish('team', { order: 4711, 1: 'kept in its place' })
  await app.connections.publish('team', Buffer.from('PNG'))
  const { page, complaints } = await join(t, browser, url)
  await shows(page, 'total', '3')
  await app.connections.publish('team', 'the fourth')
  await shows(page, 'total', '4')

  t.strictSame(await rows(page).locator('.row-time').allTextContents().then((times) => times.slice(0, 3)), ['earlier', 'earlier', 'earlier'])
  t.strictSame(await rows(page).evaluateAll((rows) => rows.map((row) => (row as HTMLElement).dataset.when)), ['earlier', 'earlier', 'earlier', 'new'])
  t.equal(await page.locator('#rows [data-when=earlier] time').count(), 0, 'no time is made up')
  t.match(await rows(page).last().locator('time').textContent(), /^\d\d:\d\d:\d\d\.\d{3}$/)
  t.strictSame(await texts(rows(page)), ['the first', '{"1":"kept in its place","order":4711}', 'the fourth'])
  t.match(await rows(page).nth(2).textContent(), /binary, 3 bytes50 4e 47PNG/)
  await page.locator('#chart[aria-label$="at most 1"]').waitFor()
  t.strictSame(complaints, [])
})

t.test('it begins with the last 50, and misses and doubles nothing while messages stream in', async (t) => {
  const { app, url } = await start(t)
  const publish = (text: string): Promise<unknown> => app.connections.publish('team', text)
  await Promise.all(numbers(1, 200).map(publish))
  let last = 200
  const stream = setInterval(() => publish(`message ${++last}`), 25)
  t.teardown(() => clearInterval(stream))
  const { page, complaints } = await join(t, browser, url)
  const joinedAt = last
  await until(() => last >= joinedAt + 20)
  clearInterval(stream)
  await rows(page).last().getByText(`message ${last}`, { exact: true }).waitFor()

  const shown = await texts(rows(page))
  const earlier = await page.locator('#rows [data-when=earlier]').count()
  t.comment(`${earlier} of ${shown.length} messages are marked as earlier; ${last - joinedAt} were published after it was connected`)
  t.strictSame(shown, numbers(last + 1 - shown.length, last))
  t.ok(earlier > 0 && earlier <= 50)
  t.ok(shown.length <= 50 + last - 200, 'of the 200 from before it shows no more than 50')
  t.strictSame(complaints, [])
})

t.test('a page that comes back shows what it missed, once and in order, its own among it', async (t) => {
  const { app, url } = await start(t)
  const between = await network(t, url)
  const { page } = await join(t, browser, between.url)
  await app.connections.publish('team', 'message 1')
  await say(page, 'message 2')
  await rows(page, 'sent').waitFor()

  // What the page sends now arrives, but nothing comes back to it any more.
  between.deaf = true
  await say(page, 'message 3')
  await until(async () => (await app.connections.history('team')).publications.length === 3)
  between.down = true
  between.cut()
  await notices(page).filter({ hasText: 'Connection lost' }).waitFor()
  for (const text of numbers(4, 20)) await app.connections.publish('team', text)
  between.deaf = between.down = false
  await rows(page).last().getByText('message 20', { exact: true }).waitFor()
  await app.connections.publish('team', 'message 21')
  await rows(page).last().getByText('message 21', { exact: true }).waitFor()

  t.strictSame(await texts(rows(page)), numbers(1, 21))
  t.strictSame(await texts(page.locator('#rows [data-when=missed]')), numbers(3, 20))
  t.strictSame(await texts(rows(page, 'sent')), numbers(2, 3))
  t.equal(await page.locator('#rows .row-round-trip').count(), 1, 'what came late has no round trip')
  t.equal(await page.locator('#round-trip-note').textContent(), 'median of 1')
  t.equal(await page.locator('#on-their-way').getAttribute('data-count'), '0')
  t.equal(await notices(page).filter({ hasText: 'lost' }).count(), 1, 'only the connection was lost')
})

t.test('what did not reach the server is said to be lost, after what was missed', async (t) => {
  const { url, app } = await start(t)
  const between = await network(t, url)
  const { page } = await join(t, browser, between.url)
  between.mute = true
  await say(page, 'into the void')
  await shows(page, 'on-their-way', '1 on their way')
  between.cut()
  between.mute = false
  await notices(page).filter({ hasText: 'Connection lost' }).waitFor()
  await notices(page).filter({ hasText: '1 message had not come back and may be lost' }).waitFor()
  t.equal(await rows(page).count(), 0)
  t.equal((await app.connections.history('team')).position.offset, 0)
})

t.test('a page that was away for too long says that messages may be missing, and shows what there is, without doubles', async (t) => {
  const { app, url } = await start(t, { historySize: 5 })
  const between = await network(t, url)
  const { page } = await join(t, browser, between.url)
  for (const text of numbers(1, 4)) await app.connections.publish('team', text)
  await shows(page, 'total', '4')
  between.down = true
  between.cut()
  await notices(page).filter({ hasText: 'Connection lost' }).waitFor()
  for (const text of numbers(5, 20)) await app.connections.publish('team', text)
  between.down = false

  const loss = page.locator('#rows [data-loss]')
  await loss.filter({ hasText: 'Some messages may be missing here: the server no longer has all of them (code 3010' }).waitFor()
  await rows(page).last().getByText('message 20', { exact: true }).waitFor()
  t.strictSame(await texts(rows(page)), [...numbers(1, 4), ...numbers(16, 20)])
  t.equal(await loss.count(), 1)
  t.strictSame(await page.locator('#rows [data-loss] ~ li').evaluateAll((rows) => rows.map((row) => (row as HTMLElement).dataset.when)), Array(5).fill('missed'), 'what is left comes right after that')
})

t.test('a server that has lost the end of a channel does not make a page show twice what it still has', async (t) => {
  // As after a failover to a replica that lags: the same beginning, in another epoch.
  const [first, second] = [await start(t), await start(t)]
  const between = await network(t, first.url)
  const { page } = await join(t, browser, between.url)
  for (const text of numbers(1, 10)) await first.app.connections.publish('team', text)
  await shows(page, 'total', '10')
  for (const text of [...numbers(1, 7), 'another 8', 'another 9']) await second.app.connections.publish('team', text)
  between.target = second.url
  between.cut()
  await page.locator('#rows [data-loss]').waitFor()
  await rows(page).last().getByText('another 9', { exact: true }).waitFor()
  t.strictSame(await texts(rows(page)), [...numbers(1, 10), 'another 8', 'another 9'])
})

t.test('a server that says 3010 to a page that has everything does not make it show it twice', async (t) => {
  const { app, url } = await start(t)
  const { page } = await join(t, browser, url)
  for (const text of numbers(1, 4)) await app.connections.publish('team', text)
  await shows(page, 'total', '4')
  await app.connections.disconnect({ channel: 'team' }, { code: 3010, reason: 'insufficient state' })
  await notices(page).filter({ hasText: 'code 3010' }).waitFor()
  await state(page, 'open')
  await app.connections.publish('team', 'message 5')
  await rows(page).last().getByText('message 5', { exact: true }).waitFor()
  t.strictSame(await texts(rows(page)), numbers(1, 5))
})

t.test('with HISTORY_SIZE=0 it works as ever, and says what it may have missed', async (t) => {
  const { app, url } = await start(t, { historySize: 0 })
  await app.connections.publish('team', 'before anybody came')
  const between = await network(t, url)
  const { page, complaints } = await join(t, browser, between.url)
  await say(page, 'message 1')
  await rows(page, 'sent').locator('.row-round-trip').waitFor()
  t.strictSame(complaints, [])

  between.cut()
  await notices(page).filter({ hasText: 'Connected' }).nth(1).waitFor()
  await say(page, 'message 2')
  await rows(page, 'sent').nth(1).waitFor()
  t.equal(await page.locator('#rows [data-loss]').count(), 0, 'nothing was missed')

  between.down = true
  between.cut()
  await notices(page).filter({ hasText: 'Connection lost' }).nth(1).waitFor()
  await app.connections.publish('team', 'nobody hears this')
  between.down = false
  await page.locator('#rows [data-loss]').waitFor()
  await state(page, 'open')
  await say(page, 'message 3')
  await rows(page, 'sent').nth(2).waitFor()
  t.strictSame(await texts(rows(page)), numbers(1, 3))
})

t.test('what is in the history is shown, never run, and never taken for something else', async (t) => {
  const { app, url } = await start(t)
  const evil = [
    '<img src=x onerror="globalThis.hacked = true"><script>globalThis.hacked = true</script>',
    '{"offset":1000000,"epoch":"__proto__","data":"not what it looks like"}',
    '{"base64":true,"data":"PGI+"}'
  ]
  for (const text of evil) await app.connections.publish('team', text)
  await app.connections.publish('team', { __proto__: null, data: '<b>', offset: 1e6, tag: '"data":' })
  const { page, complaints } = await join(t, browser, url)
  await shows(page, 'total', '4')

  t.strictSame(await texts(rows(page)), [...evil, '{"data":"<b>","offset":1000000,"tag":"\\"data\\":"}'])
  t.equal(await page.locator('#rows :is(img, script, b)').count(), 0)
  t.equal(await page.evaluate('globalThis.hacked'), undefined)
  t.strictSame(complaints, [])
})

t.test('who disconnects and comes back later goes on where they were; another channel begins anew', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)
  await app.connections.publish('team', 'message 1')
  await shows(page, 'total', '1')
  await button(page, 'Disconnect').click()
  await state(page, 'closed')
  await app.connections.publish('team', 'message 2')
  await button(page, 'Connect').click()
  await rows(page).nth(1).waitFor()
  t.strictSame(await texts(rows(page)), numbers(1, 2))

  await app.connections.publish('other', 'elsewhere')
  await page.getByRole('textbox', { name: 'Channel' }).fill('other')
  await button(page, 'Connect').click()
  await shows(page, 'messages-title', 'Messages in other')
  await rows(page).waitFor()
  t.strictSame(await texts(rows(page)), ['elsewhere'])
  t.equal(await rows(page).getAttribute('data-when'), 'earlier')
  await messageBox(page).waitFor()
  t.strictSame(complaints, [])
})
