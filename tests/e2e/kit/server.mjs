// The test server: its process, its wire counts and its faults.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const PROGRAM = process.env.KEEPFRESH_SERVER ?? here('../../../target/debug/keepfresh-server')
const PAGES = here('../pages')
const PACKAGE = process.env.KEEPFRESH_PKG ?? here('../../../pkg/dist')

/** How long the server may take until it listens, ms. */
const START_MS = 10_000

/** Lifetimes are generous and limits off, so that only what a test asks for happens. Seconds. */
const FLAGS = {
  'short-lived': 3600,
  'long-lived': 3600,
  'access-lifetime': 3600,
  'refresh-lifetime': 1_209_600,
  'single-device': false,
  'max-refreshes-per-hour': 0,
  'login-per-minute': 0,
  'refresh-per-minute': 0,
}

export class Server {
  #child
  #flags

  /** `flags` as the server's README lists them, without the dashes. */
  static async start(flags = {}) {
    const server = new Server()
    server.#flags = { ...FLAGS, ...flags }
    await server.#launch()
    return server
  }

  async #launch() {
    const flags = Object.entries(this.#flags).flatMap(([name, value]) => [`--${name}`, String(value)])
    const args = ['--www', PAGES, '--pkg', PACKAGE, '--faults', '--watch-stdin', ...flags]
    // Its log is one line per start; what goes wrong there shows as a missing READY.
    this.#child = spawn(PROGRAM, args, { stdio: ['pipe', 'pipe', 'ignore'] })
    const line = await firstLine(this.#child)
    const { api, www } = JSON.parse(line.replace(/^READY /, ''))
    this.api = api
    this.www = www
    // The address stays the same over a restart.
    this.#flags = { ...this.#flags, port: new URL(api).port, 'www-port': new URL(www).port }
  }

  async stop() {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    child.stdin.end()
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  /** After `stop`: with `--db`, its sessions are still there. */
  start() {
    return this.#launch()
  }

  /** What arrived: counts. */
  wire() {
    return this.#call('GET', '/wire')
  }

  /** What arrived: one entry per request, in order. `path` and `query` narrow it down. */
  async log(path, query) {
    const { log } = await this.#call('GET', '/wire?log=1')
    return log.filter((entry) => (!path || entry.path === path) && (!query || entry.query.includes(query)))
  }

  resetWire() {
    return this.#call('DELETE', '/__test/wire')
  }

  /** One rule of misbehaviour; see the server's README. */
  fault(rule) {
    return this.#call('POST', '/__test/faults', rule)
  }

  clearFaults() {
    return this.#call('DELETE', '/__test/faults')
  }

  /** All access tokens end now; refresh tokens stay. */
  expire() {
    return this.#call('POST', '/__test/expire', {})
  }

  /** All tokens are revoked. */
  revoke() {
    return this.#call('POST', '/__test/revoke', {})
  }

  /** How the server's dialects behave; see its README. */
  switch(how) {
    return this.#call('POST', '/__test/switches', how)
  }

  /** Moves the server's idea of now, seconds. */
  clock(offset_s) {
    return this.#call('POST', '/__test/clock', { offset_s })
  }

  /** Lifetimes of tokens to come, seconds. */
  lifetimes(seconds) {
    return this.#call('POST', '/__test/lifetimes', seconds)
  }

  /** Whether an access token is good for anything, asked from here. */
  async accepts(token) {
    const response = await fetch(`${this.api}/api/bookings?n=node`, {
      headers: { authorization: `Bearer ${token}` },
    })
    await response.arrayBuffer()
    return response.ok
  }

  async #call(method, path, body) {
    const response = await fetch(this.api + path, {
      method,
      headers: body ? { 'content-type': 'application/json' } : {},
      body: body && JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text ? JSON.parse(text) : null
  }
}

function firstLine(child) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('the server does not start')), START_MS)
    const settle = (act) => (value) => {
      clearTimeout(late)
      act(value)
    }
    createInterface({ input: child.stdout }).once('line', settle(resolve))
    child.once('error', settle(reject))
    child.once(
      'exit',
      settle((code) => reject(new Error(`the server ended with ${code}`))),
    )
  })
}
