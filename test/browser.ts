import { once } from 'node:events'
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net'
import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from 'playwright-core'
import type { Test } from 'tap'

/** A page of the browser, and everything that it has complained about: errors, warnings, breaches of the CSP. */
export interface OpenPage {
  page: Page
  complaints: string[]
}

/**
 * Starts a real headless Chromium that ends with the test. CHROMIUM_PATH says where it is. It keeps to itself: nothing
 * of it talks to anyone but the server under test.
 */
export async function openBrowser (t: Test): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'
    ]
  })
  t.teardown(() => browser.close())
  return browser
}

/**
 * Opens a page in a window of its own, as another person would: nothing is shared with other pages. It is closed with
 * the test, which must have started its server before, so that the page goes first.
 */
export async function openPage (t: Test, browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<OpenPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  t.teardown(() => context.close())
  await context.addInitScript(keepAnnouncements)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  await page.goto(url)
  return { page, complaints }
}

// In the page: what its live region says is gone after two seconds.
function keepAnnouncements (): void {
  document.addEventListener('DOMContentLoaded', () => {
    const region = document.getElementById('announcer')
    if (!region) return
    const said: string[] = []
    Object.assign(window, { said })
    new MutationObserver(() => { if (region.textContent) said.push(region.textContent) }).observe(region, { childList: true })
  })
}

/** All that the page has announced to a screen reader. */
export const announcements = (page: Page): Promise<string[]> => page.evaluate('said')

/** Opens the page of a channel and waits until it is connected. */
export async function join (t: Test, browser: Browser, url: string, channel = 'team', options: BrowserContextOptions = {}): Promise<OpenPage> {
  const opened = await openPage(t, browser, `${url}/?channel=${encodeURIComponent(channel)}`, options)
  await state(opened.page, 'open')
  return opened
}

/** Waits until the page's connection is in a state. */
export const state = (page: Page, name: string): Promise<void> => page.locator(`#status-bar[data-state=${name}]`).waitFor()
/** Waits until an element has a text. */
export const shows = (page: Page, id: string, text: string): Promise<void> => page.locator(`#${id}`, { hasText: text }).waitFor()

export const messageBox = (page: Page): Locator => page.getByRole('textbox', { name: 'Message' })
export const button = (page: Page, name: string): Locator => page.getByRole('button', { name, exact: true })
/** The rows of messages. */
export const rows = (page: Page, direction?: 'sent' | 'received'): Locator => page.locator(`#rows [data-direction${direction ? `=${direction}` : ''}]`)
/** The rows in which the page itself says something. */
export const notices = (page: Page): Locator => page.locator('#rows [data-kind=notice]')
export const texts = (rows: Locator): Promise<string[]> => rows.locator('.row-text').allTextContents()

export async function say (page: Page, text: string): Promise<void> {
  await messageBox(page).fill(text)
  await button(page, 'Send').click()
}

export async function sendFile (page: Page, buffer: Buffer): Promise<void> {
  await page.locator('#file').setInputFiles({ name: 'data.bin', mimeType: 'application/octet-stream', buffer })
}

/** Stands between page and server. */
export interface Network {
  /** Where it leads. */
  target: string
  /** Where the page finds it. */
  url: string
  /** Whether it lets nobody new through. */
  down: boolean
  /** Whether what the page sends gets lost. */
  mute: boolean
  /** Whether what the server sends gets lost. */
  deaf: boolean
  /** Every connection ends at once, without a word. */
  cut (): void
}

/** Puts a network that can fail between page and server. */
export async function network (t: Test, target: string): Promise<Network> {
  const sockets = new Set<Socket>()
  const between: Network = {
    target,
    url: '',
    down: false,
    mute: false,
    deaf: false,
    cut () { for (const socket of sockets) socket.destroy() }
  }
  const server = createServer((inner) => {
    if (between.down) return inner.destroy()
    const outer = connectTcp(Number(new URL(between.target).port), '127.0.0.1')
    for (const [socket, other, loses] of [[inner, outer, 'mute'], [outer, inner, 'deaf']] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.on('data', (data) => { if (!between[loses]) other.write(data) })
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
