import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
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
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  await page.goto(url)
  return { page, complaints }
}
