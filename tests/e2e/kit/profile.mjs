// A browser profile: tabs in it share storage, locks and channels, and nothing with other profiles.
import { browser } from './browser.mjs'

/** Starts what a page tells Node through its console. */
const OVERHEARD = 'overheard '

export class Profile {
  #context
  #watch
  #scripts = []

  /** `watch` gets each page, those that pages open by themselves too, before anything is loaded in it. */
  static async open(watch) {
    const profile = new Profile()
    profile.#watch = watch
    profile.#context = await (await browser()).createBrowserContext()
    profile.addInitScript(listenIn, OVERHEARD)
    return profile
  }

  /** Runs in each page opened from now on, before its own scripts. */
  addInitScript(work, argument) {
    this.#scripts.push([work, argument])
  }

  /** A page in a window of its own, so that none hides another and slows its timers down. */
  async newPage() {
    return this.#equip(await this.#context.newPage({ type: 'window' }))
  }

  /** The page that `open` makes that page open. */
  async popup(page, open) {
    const opening = new Promise((resolve) => page.once('popup', resolve))
    await open()
    return this.#equip(await opening)
  }

  close() {
    return this.#context.close()
  }

  async #equip(page) {
    this.#watch(page)
    for (const [work, argument] of this.#scripts) await page.evaluateOnNewDocument(work, argument)
    return page
  }
}

/** What `overheard(where, text)` of a page sent with this console message, if it did. */
export function overheard(message) {
  const text = message.text()
  if (!text.startsWith(OVERHEARD)) return null
  const end = text.indexOf('\n')
  return { where: text.slice(OVERHEARD.length, end), text: text.slice(end + 1) }
}

/** In the page. The console is the one way to Node that both browsers have at no cost for the page. */
function listenIn(mark) {
  const say = console.debug.bind(console)
  window.overheard = (where, text) => say(`${mark}${where}\n${text}`)
}
