// What one test has for itself: a server and a browser context, with all that was said in its pages.
import assert from 'node:assert/strict'
import { browser } from './browser.mjs'
import { ADA, PRESETS } from './presets.mjs'
import { Secrets } from './secrets.mjs'
import { Server } from './server.mjs'
import { Tab } from './tab.mjs'

/** Auth endpoints: the only places whose answers hold tokens and whose bodies may. */
const AUTH = /^\/(api\/auth|auth|oauth)\//
/** What Chromium prints by itself about an answer 4xx or 5xx, or none. */
const EXPECTED_NOISE = /^Failed to load resource: /

export class World {
  secrets = new Secrets()
  #contexts = []
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
    const context = await (await browser()).newContext()
    this.#contexts.push(context)
    await context.exposeBinding('overheard', (_source, where, text) => this.secrets.say(where, text))
    context.on('page', (page) => this.#watch(page))
    context.on('request', (request) => this.#watchRequest(request))
    context.on('response', (response) => this.#watchResponse(response))
    return context
  }

  /** A tab with a client of that preset, `baseUrl` set. `init` runs in it before any script of the page. */
  async tab(preset, options = {}, { profile, init, ...how } = {}) {
    return (await this.blank(preset, options, { profile, init })).open(how)
  }

  /** The same, not loaded yet. */
  async blank(preset, options = {}, { profile, init } = {}) {
    const page = await (profile ?? (await this.#first())).newPage()
    if (init) await page.addInitScript(init)
    return new Tab(this, page, { baseUrl: this.server.api, ...PRESETS[preset].options, ...options })
  }

  /** A page that the client's page opened by itself. */
  adopt(page, preset) {
    return new Tab(this, page, { baseUrl: this.server.api, ...PRESETS[preset].options })
  }

  /** Signs in with a tab. */
  async login(tab, preset, { person = ADA, remember = false } = {}) {
    const credentials = await PRESETS[preset].credentials(this.server, person)
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
    await Promise.allSettled(this.#contexts.map((context) => context.close()))
    await this.server.stop()
  }

  async #first() {
    return this.#contexts[0] ?? this.profile()
  }

  #watch(page) {
    page.on('console', (message) => {
      const text = message.text()
      this.secrets.say('console', text)
      const expected = EXPECTED_NOISE.test(text) || this.#noise?.test(text)
      if (message.type() === 'error' && !expected) this.#problems.push(text)
    })
    // Uncaught errors and rejections that nobody handled.
    page.on('pageerror', (error) => {
      this.secrets.say('page error', `${error.message} ${error.stack}`)
      this.#problems.push(error.message)
    })
  }

  #watchRequest(request) {
    const { authorization, ...headers } = request.headers()
    const body = request.postData() ?? ''
    this.secrets.learn(authorization)
    this.secrets.say('url', request.url())
    this.secrets.say('header', JSON.stringify(headers))
    if (this.#isAuth(request.url())) this.secrets.learn(body)
    // DevTools shows the target of a redirect with the old body even where the browser does not go there;
    // what arrives at another origin is for the server's sink to tell.
    else if (!request.redirectedFrom()) this.secrets.say('body', body)
  }

  #watchResponse(response) {
    if (!this.#isAuth(response.url())) return
    // A page that is gone takes its answers along; what it sent was seen.
    this.#reading.push(response.text().then((text) => this.secrets.learn(text), () => {}))
  }

  #isAuth(url) {
    const { origin, pathname } = new URL(url)
    return origin === this.server.api && AUTH.test(pathname)
  }
}
