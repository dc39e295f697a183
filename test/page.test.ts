import { once } from 'node:events'
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Locator, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openBrowser, openPage } from './browser.ts'
import { start } from './helper.ts'

const browser = await openBrowser(t)

/** Opens the page of a channel and waits until it is connected. */
async function join (t: Test, url: string, channel = 'team', options = {}) {
  const opened = await openPage(t, browser, `${url}/?channel=${encodeURIComponent(channel)}`, options)
  await state(opened.page, 'open')
  return opened
}

const state = (page: Page, name: string) => page.locator(`#status-bar[data-state=${name}]`).waitFor()
const messageBox = (page: Page) => page.getByRole('textbox', { name: 'Message' })
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })
const rows = (page: Page, direction: 'sent' | 'received') => page.locator(`#rows [data-direction=${direction}]`)
const texts = (rows: Locator) => rows.locator('.row-text').allTextContents()

/** Waits until an element has a text. */
const shows = (page: Page, id: string, text: string) => page.locator(`#${id}`, { hasText: text }).waitFor()

async function say (page: Page, text: string) {
  await messageBox(page).fill(text)
  await button(page, 'Send').click()
}

async function sendFile (page: Page, buffer: Buffer) {
  await page.locator('#file').setInputFiles({ name: 'data.bin', mimeType: 'application/octet-stream', buffer })
}

/** Stands between page and server like a network that can fail, and leads wherever `target` says. */
async function network (t: Test, target: string) {
  const sockets = new Set<Socket>()
  const between = {
    target,
    url: '',
    /** Every connection ends at once, without a word. */
    cut () { for (const socket of sockets) socket.destroy() }
  }
  const server = createServer((inner) => {
    const outer = connectTcp(Number(new URL(between.target).port), '127.0.0.1')
    for (const [socket, other] of [[inner, outer], [outer, inner]] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    between.cut()
  })
  between.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return between
}

t.test('two people chat, each sees one order, their own marked as sent', async (t) => {
  const { url } = await start(t)
  const ann = await join(t, url)
  const ben = await join(t, url)

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
  const { page, complaints } = await join(t, url)
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
  const { page, complaints } = await join(t, url, name)

  await shows(page, 'messages-title', `Messages in ${name}`)
  t.equal(await page.locator('.messages img').count(), 0)
  t.strictSame(complaints, [])
})

t.test('binary comes as size, hex and ASCII', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, url)

  await sendFile(page, Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(65_528)]))
  await rows(page, 'sent').waitFor()
  t.match(await rows(page, 'sent').textContent(), /binary, 65,536 bytes, first 32/)
  t.match(await rows(page, 'sent').textContent(), /89 50 4e 47 0d 0a 1a 0a·PNG····/)

  await app.connections.publish('team', Buffer.from('<b>'))
  await rows(page, 'received').waitFor()
  t.match(await rows(page, 'received').textContent(), /binary, 3 bytes3c 62 3e<b>/)

  await sendFile(page, Buffer.alloc(65_537))
  await shows(page, 'problem', 'data.bin has 65,537 bytes; 65,536 (64 KiB) are the most')
  await shows(page, 'total', '2')
  t.strictSame(complaints, [])
})

t.test('a long text is cut, with a word about it', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, url)

  await app.connections.publish('team', 'long '.repeat(10_000))
  await rows(page, 'received').waitFor()

  t.equal((await texts(rows(page, 'received')))[0]?.length, 2_000)
  t.match(await rows(page, 'received').textContent(), /first 2,000 of 50,000 characters/)
  t.strictSame(complaints, [])
})

t.test('1,000 messages at once are all counted, the last 500 are in the list', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, url)
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
  const { page } = await join(t, url)
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

t.test('a screen reader hears sums, not every message', async (t) => {
  const { app, url } = await start(t)
  const { page } = await join(t, url)
  t.equal(await page.getByRole('log').getAttribute('aria-live'), 'off')

  await Promise.all(Array.from({ length: 50 }, (_, n) => app.connections.publish('team', `message ${n + 1}`)))
  await page.locator('#announcer[aria-live=polite]', { hasText: '50 new messages, the last one: message 50' }).waitFor({ state: 'attached' })
})

t.test('the keyboard is enough', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, url)

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

t.test('a lost connection comes back by itself', async (t) => {
  const { app, url } = await start(t)
  const between = await network(t, url)
  const { page } = await join(t, between.url)

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
  const { page } = await join(t, between.url)

  await first.app.close()
  await page.locator('#rows [data-kind=notice]', { hasText: 'The server is restarting (code 1012' }).waitFor()
  await shows(page, 'status', 'Could not connect: the server does not answer')
  t.match(await page.locator('#countdown').textContent(), /Reconnecting in \d+ s \(try \d+\)/)
  await messageBox(page).fill('keep me')
  await page.keyboard.press('Enter')
  await shows(page, 'problem', 'Not connected, so this was not sent')

  between.target = second.url
  await Promise.race([state(page, 'open'), button(page, 'Reconnect now').click()])
  await state(page, 'open')
  await messageBox(page).press('Enter')
  await rows(page, 'sent').waitFor()
  t.strictSame(await texts(rows(page, 'sent')), ['keep me'])
})

t.test('a page that the server disconnects says why, and stays away', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, url)

  app.connections.disconnect({ channel: 'team' })
  await state(page, 'closed')

  t.match(await page.getByRole('status').textContent(), /Disconnected by the server \(code 3503, the server says “disconnected by the server”\)/)
  t.notOk(await page.locator('#retry').isVisible())
  await button(page, 'Connect').click()
  await state(page, 'open')
  t.strictSame(complaints, [])
})

t.test('it fits a phone', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, url, 'team', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })

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
  const { page, complaints } = await join(t, url, 'team', { colorScheme: 'light' })
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  await page.locator('#chart canvas').waitFor()

  const light = await background()
  await page.emulateMedia({ colorScheme: 'dark' })
  t.not(await background(), light)
  t.equal(await page.locator('#chart canvas').count(), 1)
  t.strictSame(complaints, [])
})

t.test('messages per second reach the line and its words', async (t) => {
  const { app, url } = await start(t)
  const { page, complaints } = await join(t, url)

  await Promise.all(Array.from({ length: 20 }, () => app.connections.publish('team', 'tick')))
  // Twenty or, at the turn of a second, a part of them.
  await page.locator('#chart[aria-label*="at most"]:not([aria-label$="at most 0"])').waitFor()
  t.ok(await page.locator('#chart canvas').isVisible())
  t.strictSame(complaints, [])
})
