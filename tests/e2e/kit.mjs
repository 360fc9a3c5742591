// The language of these tests. Every scenario has a server and a browser profile of its own; the wire is
// asked first and the client second. After each of them no page may have complained, and no token, nor any
// piece of one, may have shown up in what was said (behaviour.md 6.11, 7.23).
import { after, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { BROWSER, closeBrowser, lacking } from './kit/browser.mjs'
import { World } from './kit/world.mjs'

export { BROWSER } from './kit/browser.mjs'
export { ADA, API_KEY, DIALECTS, GRACE, PRESETS } from './kit/presets.mjs'

/** The longest that one scenario may take, ms. */
const LIMIT = 60_000

after(closeBrowser)

/**
 * A test with a world of its own. `options`: server `flags`, the console `noise` it provokes, the skills that it
 * `needs` of the browser (without them it is skipped, and says so), and `todo`: what is known to be missing, so
 * that its failure fails nobody.
 */
export function scenario(name, { todo, needs = [], ...options }, body) {
  const lacks = lacking(needs)
  const skip = lacks.length > 0 && `${BROWSER} cannot: ${lacks.join(', ')}`
  test(name, { timeout: LIMIT, todo, skip }, async () => {
    const world = await World.open(options)
    try {
      await body(world)
      await world.check()
    } finally {
      await world.close()
    }
  })
}

/** What `look` finds, as soon as it finds something. */
export async function eventually(look) {
  const end = Date.now() + 5000
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error('it did not come')
    await pause(20)
  }
}
