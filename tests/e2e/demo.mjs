// Drives the demo page through its whole story in headless Chromium, compares what the server saw with what
// it should have seen, and exits with 1 and a sentence for each count that is wrong.
//
//   node demo.mjs --url http://127.0.0.1:8420 --api http://127.0.0.1:40123 --screenshot demo.png
//
// The server has to run with --faults and without rate limits, as `cargo xtask demo` starts it.
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { launch } from './kit/browser.mjs'

/** Django's tokens can be renewed after they expired, so more can be shown than with Sanctum. */
const PRESET = 'django'
/** Lifetimes of the page's list, s: the first is renewed after 10 s, the second outlives the story. */
const SHORT = '20'
const LONG = '240'
/** How long anything on the page may take, ms. The wait for the lead time is the longest. */
const PATIENCE = 20_000
/** No request for this long means that a phase is over, ms. */
const QUIET = 300

/** What is compared: a name for the table, and where the server or the tabs tell it. */
const COLUMNS = {
  requests: (seen) => seen.wire.requests,
  '401s': (seen) => seen.wire.unauthorized,
  refreshes: (seen) => seen.wire.refreshes,
  replays: (seen) => seen.wire.replays,
  'signed-out tabs': (seen) => seen.out,
}

/** Chromium's own words on an answer 401. */
const EXPECTED_NOISE = /^Failed to load resource: /

/** Each phase: its name, its counts in the order of the columns, and what is done. */
const PHASES = [
  ['sign in, remember me, tokens live 20 s', [0, 0, 0, 0, 0], signIn],
  ['wait for the lead time, touch nothing', [0, 0, 1, 0, 0], waitForRefresh],
  ['50 at once', [50, 0, 0, 0, 0], burst],
  ['choose a lifetime of 240 s', [0, 0, 1, 0, 0], chooseLong],
  ['expire on the server, 50 at once', [100, 50, 1, 50, 0], expireAndBurst],
  ['open a second tab', [0, 0, 0, 0, 0], openSecond],
  ['expire, 50 at once in the second tab', [100, 50, 1, 50, 0], expireAndBurstSecond],
  ['50 at once in the first tab again', [50, 0, 0, 0, 0], burst],
  ['revoke on the server, one request', [1, 1, 1, 0, 2], revoke],
  ['sign in again, the second tab follows', [0, 0, 0, 0, 0], signInAgain],
  ['log out, the second tab follows', [0, 0, 0, 0, 2], logOut],
]

async function main() {
  const { values } = parseArgs({
    options: { url: { type: 'string' }, api: { type: 'string' }, screenshot: { type: 'string' } },
  })
  if (!values.url || !values.api) {
    throw new Error('usage: node demo.mjs --url PAGE --api API [--screenshot FILE]')
  }
  const browser = await launch()
  try {
    const story = await begin(browser, values)
    const { rows, faults } = await tell(story)
    print(rows, faults)
    process.exitCode = faults.length > 0 ? 1 : 0
  } finally {
    await browser.close()
  }
}

/** What the phases share: the tabs, and what the pages complained about. */
async function begin(browser, { url, api, screenshot }) {
  const complaints = []
  const first = await browser.newPage()
  await watch(first, complaints)
  await first.goto(new URL(`?preset=${PRESET}`, url).href)
  await shows(first, 'anonymous')
  return { first, second: null, api, screenshot, complaints }
}

async function watch(page, complaints) {
  page.setDefaultTimeout(PATIENCE)
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => {
    const unexpected = message.type() === 'error' && !EXPECTED_NOISE.test(message.text())
    if (unexpected) complaints.push(message.text())
  })
  await page.setViewport({ width: 1280, height: 900 })
  // As if each tab had a screen of its own: hidden ones are slow.
  await page.emulateFocusedPage(true)
}

/** Goes through the phases. One that gets stuck ends the story. */
async function tell(story) {
  const rows = []
  const faults = []
  for (const [name, expected, act] of PHASES) {
    const before = await wire(story)
    let stuck = null
    try {
      await act(story)
    } catch (error) {
      stuck = `${name}: ${error.message.split('\n')[0]}`
    }
    const seen = await settled(story, before)
    rows.push({ name, expected, seen })
    if (stuck) faults.push(stuck)
    faults.push(...wrongCounts(name, expected, seen))
    // The state after both tabs have shared a refresh tells most; with trouble, the last one does.
    const telling = act === expireAndBurstSecond || stuck !== null
    if (telling && story.screenshot) await picture(story)
    if (stuck) break
  }
  faults.push(...story.complaints.map((text) => `The page complained: ${text}`))
  return { rows, faults }
}

async function signIn({ first }) {
  await first.select('#lifetime', SHORT)
  await logIn(first)
}

async function waitForRefresh({ first, api }) {
  const before = await wire({ api })
  const end = Date.now() + PATIENCE
  while ((await wire({ api })).refreshes === before.refreshes) {
    if (Date.now() > end) throw new Error('the token was not renewed ahead of time')
    await pause(100)
  }
  await shows(first, 'authenticated')
}

function burst({ first }) {
  return sendFifty(first)
}

async function chooseLong({ first, api }) {
  const before = await wire({ api })
  await first.select('#lifetime', LONG)
  while ((await wire({ api })).refreshes_ok === before.refreshes_ok) await pause(50)
  await shows(first, 'authenticated')
}

async function expireAndBurst({ first }) {
  await first.click('#expire')
  await first.waitForSelector('#break-message:not([hidden])')
  await sendFifty(first)
}

async function openSecond(story) {
  const opening = story.first.browser().waitForTarget((target) => opened(target, story))
  await story.first.click('#second-tab')
  story.second = await (await opening).page()
  await watch(story.second, story.complaints)
  await shows(story.second, 'authenticated')
}

/** It has no opener, so it is known by being new. */
function opened(target, { first }) {
  return target.type() === 'page' && target !== first.target() && target.url() !== 'about:blank'
}

async function expireAndBurstSecond({ first, second }) {
  await expireAndBurst({ first: second })
  await shows(first, 'authenticated')
}

async function revoke({ first, second }) {
  await first.click('#revoke')
  await first.waitForSelector('#break-message:not([hidden])')
  await first.click('#one-request')
  for (const tab of [first, second]) await shows(tab, 'reauth_required')
}

async function signInAgain({ first, second }) {
  await logIn(first)
  await shows(second, 'authenticated')
}

async function logOut({ first, second }) {
  await first.click('#logout')
  for (const tab of [first, second]) await shows(tab, 'signed_out')
}

async function logIn(tab) {
  await tab.$eval('#remember', (box) => box.checked || box.click())
  await tab.click('#login-submit')
  await shows(tab, 'authenticated')
}

/** Presses "50 at once" and waits for the last of the answers. */
async function sendFifty(tab) {
  const before = await tab.evaluate(() => document.querySelector('#tiles').firstElementChild?.title ?? '')
  await tab.click('#burst')
  const done = (before) => {
    const { total, busy } = document.querySelector('#result').dataset
    const title = document.querySelector('#tiles').firstElementChild?.title
    return !busy && total === '50' && title && title !== before
  }
  await tab.waitForFunction(done, {}, before)
  const failed = await attribute(tab, '#result', 'data-failed')
  if (failed !== '0') throw new Error(`${failed} of 50 requests failed`)
}

/** Waits until the tab shows this status. */
async function shows(tab, status) {
  await tab.waitForSelector(`#status[data-status="${status}"]`).catch(async () => {
    const now = await attribute(tab, '#status', 'data-status')
    throw new Error(`a tab shows "${now}" instead of "${status}"`)
  })
}

function attribute(tab, selector, name) {
  return tab.$eval(selector, (element, name) => element.getAttribute(name), name)
}

async function wire({ api }) {
  return (await fetch(`${api}/wire`)).json()
}

/** What has happened since `before`, once nothing happens any more; one number for each column. */
async function settled(story, before) {
  let last
  let now = await wire(story)
  do {
    last = now
    await pause(QUIET)
    now = await wire(story)
  } while (JSON.stringify(now) !== JSON.stringify(last))
  const since = Object.fromEntries(Object.keys(before).map((name) => [name, now[name] - before[name]]))
  const seen = { wire: since, out: await signedOut(story) }
  return Object.values(COLUMNS).map((count) => count(seen))
}

/** How many tabs ask for a new sign-in. */
async function signedOut({ first, second }) {
  const tabs = [first, second].filter(Boolean)
  const statuses = await Promise.all(tabs.map((tab) => attribute(tab, '#status', 'data-status')))
  return statuses.filter((status) => status === 'signed_out' || status === 'reauth_required').length
}

async function picture({ first, api, screenshot }) {
  await first.bringToFront()
  // The page asks for the server's counts by itself, a little later.
  const { requests } = await wire({ api })
  const caughtUp = (requests) => document.querySelector('#wire-rows').textContent.includes(String(requests))
  await first.waitForFunction(caughtUp, { timeout: 5000 }, requests).catch(() => {})
  // The header sticks to the top of the window, wherever that is.
  await first.evaluate(() => scrollTo({ top: 0, behavior: 'instant' }))
  // Colours and bars move for a moment after each change.
  await first.evaluate(() => Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {}))))
  await first.screenshot({ path: screenshot, fullPage: true })
}

function wrongCounts(name, expected, seen) {
  return Object.keys(COLUMNS).flatMap((column, at) =>
    seen[at] === expected[at] ? [] : [`${name}: ${seen[at]} ${column} instead of ${expected[at]}.`],
  )
}

function print(rows, faults) {
  const columns = Object.keys(COLUMNS)
  const width = Math.max(...rows.map((row) => row.name.length))
  const wide = (at) => Math.max(columns[at].length, 'exp. seen'.length) + 2
  const aligned = (cells) => cells.map((cell, at) => cell.padStart(wide(at))).join('')
  const line = (name, cells) => `  ${name.padEnd(width)}${aligned(cells)}`
  const four = (count) => String(count).padStart(4)
  console.log(line('', columns))
  console.log(line('', columns.map(() => 'exp. seen')))
  for (const { name, expected, seen } of rows) {
    console.log(line(name, expected.map((count, at) => `${four(count)} ${four(seen[at])}`)))
  }
  console.log('')
  for (const fault of faults) console.log(`  ${fault}`)
  const good = rows.filter(({ expected, seen }) => expected.every((count, at) => count === seen[at])).length
  console.log(`${good} passed, ${PHASES.length - good} failed`)
}

main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
