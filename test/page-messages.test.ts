import t from 'tap'
import { button, join, messageBox, openBrowser, rows, say, sendFile, shows, texts } from './browser.ts'
import { start } from './helper.ts'

const browser = await openBrowser(t)

t.test('two people chat, each sees one order, their own marked as sent', async (t) => {
  const { url } = await start(t)
  const ann = await join(t, browser, url)
  const ben = await join(t, browser, url)

  await say(ann.page, 'Is the deploy finished?')
  await rows(ben.page, 'received').waitFor()
  await say(ben.page, 'Since 9:40, all green.')
  await rows(ann.page, 'received').waitFor()

  for (const { page } of [ann, ben]) {
    t.strictSame(await texts(page.locator('#rows [data-direction]')), ['Is the deploy finished?', 'Since 9:40, all green.'])
    await shows(page, 'connections', '2')
    await shows(page, 'total', '2')
    await shows(page, 'sent', '1 sent from here')
    t.match(await page.locator('#round-trip').textContent(), /^[\d.]+ m?s$/, 'the round trip is measured')
    t.equal(await page.locator('#on-their-way').getAttribute('data-count'), '0', 'nothing is on its way any more')
  }
  t.strictSame(await texts(rows(ann.page, 'sent')), ['Is the deploy finished?'])
  t.match(await rows(ann.page, 'sent').textContent(), /\d\d:\d\d:\d\d\.\d{3}↑sent/, 'time and direction are words, not colours')
  t.match(await rows(ann.page, 'received').textContent(), /\d\d:\d\d:\d\d\.\d{3}↓received/)
  t.strictSame([...ann.complaints, ...ben.complaints], [])
})

t.test('what is sent is shown, never run', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)
  const evil = '<img src=x onerror="globalThis.hacked = true"><script>globalThis.hacked = true</script>'

  await app.connections.publish('team', evil)
  await rows(page, 'received').waitFor()

  t.strictSame(await texts(rows(page, 'received')), [evil])
  t.equal(await page.locator('#rows :is(img, script)').count(), 0)
  t.equal(await page.evaluate('globalThis.hacked'), undefined)
  t.strictSame(complaints, [])
})

t.test('so is a channel name', async (t) => {
  const { url } = await start(t)
  const name = '"><img src=x onerror=alert(1)> & grüße/ü?'
  const { page, complaints } = await join(t, browser, url, name)

  await shows(page, 'messages-title', `Messages in ${name}`)
  t.equal(await page.locator('.messages img').count(), 0)
  t.strictSame(complaints, [])
})

t.test('binary comes as size, hex and ASCII', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)

  await sendFile(page, Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(65_528)]))
  await rows(page, 'sent').waitFor()
  t.match(await rows(page, 'sent').textContent(), /binary, 65,536 bytes, first 32/)
  t.match(await rows(page, 'sent').textContent(), /89 50 4e 47 0d 0a 1a 0a·PNG····/)

  await app.connections.publish('team', Buffer.from('<b>'))
  await rows(page, 'received').waitFor()
  t.match(await rows(page, 'received').textContent(), /binary, 3 bytes3c 62 3e<b>/)

  await sendFile(page, Buffer.alloc(65_537))
  await shows(page, 'problem', 'data.bin has 65,537 bytes; the server takes at most 65,536 bytes (64 KiB)')
  await shows(page, 'total', '2')
  t.strictSame(complaints, [])
})

t.test('a long text is cut, with a word about it', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, browser, url)

  await app.connections.publish('team', 'long '.repeat(10_000))
  await rows(page, 'received').waitFor()

  t.equal((await texts(rows(page, 'received')))[0]?.length, 2_000)
  t.match(await rows(page, 'received').textContent(), /first 2,000 of 50,000 characters/)
  t.strictSame(complaints, [])
})

t.test('a long word in the message box pushed the button to send it off the screen', async (t) => {
  const { url } = await start(t)
  for (const width of [1280, 360]) {
    const { page } = await join(t, browser, url, 'team', { viewport: { width, height: 700 } })
    await messageBox(page).fill('z'.repeat(2000))
    const box = await button(page, 'Send').boundingBox()
    t.ok(box && box.x + box.width <= width, `at ${width} it ends at ${box && box.x + box.width}`)
  }
})

t.test('a small screen begins at its top, where it is seen whether the page is connected', async (t) => {
  const { url } = await start(t)
  const { page } = await join(t, browser, url, 'team', { viewport: { width: 320, height: 568 } })
  t.equal(await page.evaluate(() => scrollY), 0)
  t.ok(await messageBox(page).evaluate((box) => box === document.activeElement))
})
