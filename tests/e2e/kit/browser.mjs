// One headless browser per test file: Chromium, or the Firefox that people have. KEEPFRESH_BROWSER says which.
import puppeteer from 'puppeteer-core'

/** What not every browser can, or its driver. Scenarios say what they need. */
const SKILLS = {
  chromium: [
    // To stop a page as if memory were short; WebDriver BiDi knows no command for it.
    'freeze',
    // To take a page off the network; the same.
    'offline',
    // To put a page into the back-forward cache that lets go of its locks in pagehide. Firefox decides before.
    'park',
  ],
  firefox: [],
}

/** `chromium` or `firefox`. */
export const BROWSER = process.env.KEEPFRESH_BROWSER ?? 'chromium'

const CHROMIUM_FLAGS = [
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
  launching ??= launch(BROWSER)
  return launching
}

/** Ends it, if there is one. */
export async function closeBrowser() {
  await (await launching)?.close()
}

/** Which of these skills this browser lacks. */
export function lacking(skills) {
  return skills.filter((skill) => !SKILLS[BROWSER].includes(skill))
}

export function launch(name = 'chromium') {
  if (!(name in SKILLS)) throw new Error(`KEEPFRESH_BROWSER has to be ${Object.keys(SKILLS).join(' or ')}`)
  const headless = { headless: true, defaultViewport: null }
  if (name === 'firefox') {
    const executablePath = process.env.KEEPFRESH_FIREFOX ?? '/usr/bin/firefox-esr'
    return puppeteer.launch({ ...headless, browser: 'firefox', executablePath })
  }
  const executablePath = process.env.KEEPFRESH_CHROMIUM ?? '/usr/bin/chromium'
  return puppeteer.launch({ ...headless, executablePath, args: CHROMIUM_FLAGS })
}
