// What one test has for itself: a server and a browser profile, with all that was said in its pages.
import assert from 'node:assert/strict'
import { BROWSER } from './browser.mjs'
import { ADA, KINDS } from './presets.mjs'
import { overheard, Profile } from './profile.mjs'
import { Secrets } from './secrets.mjs'
import { Server } from './server.mjs'
import { Tab } from './tab.mjs'

/** Auth endpoints: the only places whose answers hold tokens and whose bodies may. */
const AUTH = /^\/(api\/auth|auth|oauth|passport\/oauth|simplejwt\/api\/token|supabase\/auth|cookie)\//
/** What Chromium prints by itself about an answer 4xx or 5xx, or none. */
const EXPECTED_NOISE = /^Failed to load resource: /

export class World {
  secrets = new Secrets()
  #profiles = []
  #reading = []
  #problems = []
  #numbers = 0
  #noise

  /** `flags` for the server; `noise`: console errors that this test provokes. */
  static async open({ flags, noise } = {}) {
    const world = new World()
    world.#noise = noise
    world.server = await Server.start(flags)
    return world
  }

  /** A browser profile of its own. Without one, tabs share the first. */
  async profile() {
    const profile = await Profile.open((page) => this.#watch(page))
    this.#profiles.push(profile)
    return profile
  }

  /** A tab with a client of that preset, `baseUrl` set. `init` runs in it before any script of the page. */
  async tab(preset, options = {}, { profile, init, ...how } = {}) {
    return (await this.blank(preset, options, { profile, init })).open(how)
  }

  /** The same, not loaded yet. */
  async blank(preset, options = {}, { profile, init } = {}) {
    const home = profile ?? (await this.#first())
    const page = await home.newPage()
    if (init) await page.evaluateOnNewDocument(init)
    return this.#tab(home, page, preset, options)
  }

  /** A tab that the page of `tab` opens by itself, in its window group; not loaded anew. `open` runs there. */
  async popup(tab, open, preset, options = {}) {
    const page = await tab.profile.popup(tab.page, () => tab.run(open))
    return this.#tab(tab.profile, page, preset, options)
  }

  /** Signs in with a tab. */
  async login(tab, preset, { person = ADA, remember = false } = {}) {
    const credentials = await KINDS[preset].credentials(this.server, person)
    return tab.must('login', credentials, { remember })
  }

  /** A tab that is signed in. */
  async signedIn(preset, options = {}, { person, remember, ...how } = {}) {
    const tab = await this.tab(preset, options, how)
    await this.login(tab, preset, { person, remember })
    return tab
  }

  /** The first of `count` numbers that no other request of this test uses. */
  number(count) {
    const first = this.#numbers + 1
    this.#numbers += count
    return first
  }

  /** The calls of the refresh endpoint. */
  async refreshes() {
    return (await this.server.wire()).refreshes
  }

  /** Fails if a page complained or a token showed. */
  async check() {
    await Promise.all(this.#reading)
    assert.deepEqual(this.#problems, [], 'a page complained')
    assert.deepEqual(this.secrets.leaks(), [], 'a token was found there')
  }

  async close() {
    await Promise.allSettled(this.#profiles.map((profile) => profile.close()))
    await this.server.stop()
  }

  async #first() {
    return this.#profiles[0] ?? this.profile()
  }

  #tab(profile, page, preset, options) {
    const { path = '', init, options: usual } = KINDS[preset]
    return new Tab(this, profile, page, { baseUrl: this.server.api + path, ...usual, ...options }, init)
  }

  #watch(page) {
    page.on('console', (message) => this.#watchConsole(message))
    // Uncaught errors and rejections that nobody handled.
    page.on('pageerror', (error) => {
      this.secrets.say('page error', `${error.message} ${error.stack}`)
      this.#problems.push(error.message)
    })
    page.on('request', (request) => this.#watchRequest(request))
    page.on('response', (response) => this.#watchResponse(response))
  }

  #watchConsole(message) {
    const told = overheard(message)
    if (told) return this.secrets.say(told.where, told.text)
    const text = message.text()
    this.secrets.say('console', text)
    const expected = EXPECTED_NOISE.test(text) || this.#noise?.test(text)
    if (message.type() === 'error' && !expected) this.#problems.push(text)
  }

  #watchRequest(request) {
    // The browser's own business: no script ever sees it, or sets it.
    const { authorization, cookie, ...headers } = request.headers()
    this.secrets.learn(authorization)
    this.secrets.learn(cookie)
    this.secrets.say('url', request.url())
    this.secrets.say('header', JSON.stringify(headers))
    if (!request.hasPostData()) return
    const reading = Promise.resolve(BROWSER === 'firefox' ? request.fetchPostData() : request.postData())
    this.#read(reading, (body) => {
      if (this.#isAuth(request.url())) this.secrets.learn(body)
      // DevTools shows the target of a redirect with the old body even where the browser does not go there;
      // what arrives at another origin is for the server's sink to tell.
      else if (request.redirectChain().length === 0) this.secrets.say('body', body)
    })
  }

  #watchResponse(response) {
    this.secrets.learn(response.headers()['set-cookie'])
    if (this.#isAuth(response.url())) this.#read(response.text(), (text) => this.secrets.learn(text))
  }

  /** A page that is gone takes its texts along; what it sent was seen. */
  #read(reading, note) {
    this.#reading.push(reading.then(note, () => {}))
  }

  #isAuth(url) {
    const { origin, pathname } = new URL(url)
    return origin === this.server.api && AUTH.test(pathname)
  }
}
