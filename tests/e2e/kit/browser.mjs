// One headless Chromium per test file.
import { chromium } from 'playwright-core'

const FLAGS = [
  '--headless=new',
  // Needed by root and in containers; nothing but our own pages is opened.
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

let launching

/** The browser of this process. */
export function browser() {
  launching ??= launch()
  return launching
}

/** Ends it, if there is one. */
export async function closeBrowser() {
  await (await launching)?.close()
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.KEEPFRESH_CHROMIUM ?? '/usr/bin/chromium',
    args: FLAGS,
  })
}
