// One page with one client, driven from Node.
import { setTimeout as pause } from 'node:timers/promises'
import { BROWSER } from './browser.mjs'

/** How long a page may take for anything that a test waits for, ms. */
const PATIENCE = 10_000
/** Time between two looks, ms. */
const LOOK = 20

export class Tab {
  #world
  #options
  #init
  #session

  /** `init` goes along with every request that has none. */
  constructor(world, profile, page, options, init) {
    this.#world = world
    this.profile = profile
    this.page = page
    this.#options = options
    this.#init = init
  }

  /** Loads the page and makes the client. `wait: false` leaves before it is ready. */
  async open({ path = '/bare.html', entry = 'slim', wait = true } = {}) {
    await this.page.goto(this.#world.server.www + path)
    await this.run((how) => harness.create(how), { entry, wait, options: this.#options })
    return this
  }

  /** The same tab after a reload: the same sessionStorage, a new client. */
  reload() {
    return this.open()
  }

  run(work, argument) {
    return this.page.evaluate(work, argument)
  }

  /** Resolves when `test` holds in the page. Asks from here: the page's timers may be slow, or not its own. */
  async until(test, argument) {
    const end = Date.now() + PATIENCE
    // A page that is just being left or entered has nothing to say.
    const look = () => this.run(test, argument).catch(whileMoving)
    while (!(await look())) {
      if (Date.now() > end) throw new Error(`it did not come: ${test}`)
      await pause(LOOK)
    }
  }

  /** Calls a method of the client: `{ value }`, or `{ error }` with its members. */
  call(method, ...given) {
    return this.run(({ method, given }) => harness.call(method, given), { method, given })
  }

  /** As `call`, for calls that have to succeed. */
  async must(method, ...given) {
    const { value, error } = await this.call(method, ...given)
    if (error) throw new Error(`${method}: ${error.code} ${error.message}`)
    return value
  }

  /** Sends `count` requests at once, each with a query of its own; counts their outcomes. */
  burst(count, { path = '/api/bookings', init = this.#init } = {}) {
    const first = this.#world.number(count)
    return this.run((what) => harness.burst(what), { count, first, path, init })
  }

  /** Sends one request; tells all about its answer. */
  async send(input, init = this.#init) {
    return this.run(({ input, init }) => harness.send(input, init), { input, init })
  }

  /** The outcome of one more request for bookings: a status or an error code. */
  async one() {
    const [[outcome]] = Object.entries(await this.burst(1))
    return outcome
  }

  /** Resolves with the detail of the `nth` event of that name. */
  async event(name, nth = 1) {
    const found = ({ name, nth }) => harness.events(name).length >= nth
    await this.until(found, { name, nth }).catch((cause) => {
      throw new Error(`no event ${name} (${nth})`, { cause })
    })
    return this.run(({ name, nth }) => harness.events(name)[nth - 1], { name, nth })
  }

  /** The details of all events of that name so far. */
  events(name) {
    return this.run((name) => harness.events(name), name)
  }

  /** Resolves when the client has this status. */
  async status(wanted) {
    await this.until((wanted) => client.state.status === wanted, wanted).catch(async (cause) => {
      throw new Error(`the status is ${(await this.state()).status}, not ${wanted}`, { cause })
    })
  }

  state() {
    return this.run(() => client.state)
  }

  metrics() {
    return this.run(() => client.metrics())
  }

  /** What the origin's storage holds for this tab. */
  storage() {
    return this.run(() => ({ local: { ...localStorage }, session: { ...sessionStorage } }))
  }

  /** Moves the page's wall clock, ms. */
  shift(ms) {
    return this.run((ms) => harness.shift(ms), ms)
  }

  /** As if the page had been there for so many ms more, on both of its clocks. */
  pass(ms) {
    return this.run((ms) => harness.pass(ms), ms)
  }

  /** Goes to a page without a client. This one is left to the back-forward cache. */
  async leave() {
    await this.page.goto(`${this.#world.server.www}/away.html`)
  }

  /** Comes back. `kept`: whether this is the page that was left, and not a new copy; if not, `why`. */
  async back() {
    await this.run(() => void setTimeout(() => history.back()))
    await this.until(() => window.harness?.shows.length > 0 && document.readyState === 'complete')
    return this.run(() => {
      const [{ notRestoredReasons }] = performance.getEntriesByType('navigation')
      return { kept: harness.shows.at(-1), why: JSON.stringify(notRestoredReasons ?? null) }
    })
  }

  /** Stops the page as the browser does to save memory. Needs the skill `freeze`. */
  async freeze() {
    const before = await this.run(() => harness.freezes())
    this.#session ??= await this.page.createCDPSession()
    await this.#session.send('Page.setWebLifecycleState', { state: 'frozen' })
    await this.until((before) => harness.freezes() > before, before)
  }

  /** Lets a frozen page go on. */
  thaw() {
    return this.#session.send('Page.setWebLifecycleState', { state: 'active' })
  }

  /** Ends the page with no event in it: its process in Chromium, the page alone in Firefox. */
  async kill() {
    if (BROWSER === 'firefox') return this.page.close({ runBeforeUnload: false })
    const gone = new Promise((resolve) => this.page.once('error', resolve))
    const session = await this.page.createCDPSession()
    // It is never answered.
    session.send('Page.crash').catch(() => {})
    await gone
  }

  close() {
    return this.page.close()
  }
}

function whileMoving(error) {
  if (/context.*(destroyed|not found|discarded)|detached|no such (frame|window)/i.test(error.message))
    return false
  throw error
}
