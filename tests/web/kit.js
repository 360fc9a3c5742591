// The world around a client under test: a fake auth server in the place of fetch, a host that writes down
// what it is told, a clock that is moved by hand, and patches of the page that are always taken back.

const native = {
  setTimeout: globalThis.setTimeout.bind(globalThis),
  clearTimeout: globalThis.clearTimeout.bind(globalThis),
  performance: performance.now.bind(performance),
  listen: EventTarget.prototype.addEventListener,
  unlisten: EventTarget.prototype.removeEventListener,
}
const PATIENCE = 5_000 // ms; nothing here waits for real time unless it fails

let undo = []
let spilled = []
let jar

class Late extends Error {}

/** Replaces a member of the page until `restore`. */
export function patch(target, name, descriptor) {
  const before = Object.getOwnPropertyDescriptor(target, name)
  Object.defineProperty(target, name, { configurable: true, ...descriptor })
  undo.push(() => {
    delete target[name]
    if (before) Object.defineProperty(target, name, before)
  })
}

export function patchValue(target, name, value) {
  patch(target, name, { value, writable: true, enumerable: true })
}

/** Pollutes Object.prototype. Not enumerable: the web driver looks into this page with `for in`. */
export function pollute(name, value) {
  patch(Object.prototype, name, { value, writable: true, enumerable: false })
}

export function patchThrowing(target, name) {
  patch(target, name, {
    get() {
      throw new DOMException('The operation is insecure.', 'SecurityError')
    },
  })
}

/** From now on Storage.setItem throws. */
export function fillStorage() {
  patchValue(Storage.prototype, 'setItem', () => {
    throw new DOMException('full', 'QuotaExceededError')
  })
}

/** Takes back every patch, in reverse. */
export function restore() {
  for (const back of undo.reverse()) back()
  undo = []
  jar = undefined
}

export function realNow() {
  return native.performance()
}

/** One task of the event loop, real time or not. */
export function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(0)
  })
}

/** The promise, or a failure that says what did not happen. */
export function within(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = native.setTimeout(() => reject(new Late(`not in time: ${what}`)), PATIENCE)
  })
  return Promise.race([promise, late]).finally(() => native.clearTimeout(timer))
}

/** Says when a promise is settled. */
export class Outcome {
  known = false

  constructor(promise) {
    const note = () => {
      this.known = true
    }
    promise.then(note, note)
  }
}

/** What the promise rejects with. */
export async function rejection(promise, what) {
  try {
    await within(promise, what)
  } catch (error) {
    if (error instanceof Late) throw error
    spill(error)
    return error
  }
  throw new Error(`resolved instead of rejecting: ${what}`)
}

/** Notes a value whose text must not hold a token. */
export function spill(value) {
  spilled.push(describe(value))
}

/** Everything spilled so far; empties the list. */
export function takeSpilled() {
  const text = spilled.join('\n')
  spilled = []
  return text
}

function describe(value) {
  if (!(value instanceof Error)) return `${JSON.stringify(value)} ${value}`
  return `${JSON.stringify([value.name, value.message, value.stack, { ...value }])} ${value}`
}

/** What the server saw of one request. */
class Call {
  constructor(request, init) {
    const { method, url, mode, credentials, redirect, cache, referrerPolicy, keepalive } = request
    Object.assign(this, { method, url, mode, credentials, redirect, cache, referrerPolicy, keepalive })
    this.init = init
    this.headers = Object.fromEntries(request.headers)
    this.body = new Uint8Array()
    this.response = undefined
    this.error = undefined
    this.cancelled = false
    this.done = false
  }
  header(name) {
    return this.headers[name]
  }
  get text() {
    return new TextDecoder().decode(this.body)
  }
}

/** Answers from a script. Each route takes its answers in turn and stays with the last. */
export class Server {
  #routes = new Map()
  #gates = new Map()
  #calls = []
  #unexpected = []
  fetch = (request, init) => this.#take(request, init)

  /** `route`: a prefix of "METHOD url"; the longest that fits is taken. */
  script(route, answers) {
    this.#routes.set(route, answers)
  }
  calls(route) {
    return this.#calls.filter((call) => fits(call, route))
  }
  get unexpected() {
    return this.#unexpected.join('\n')
  }
  /** Lets answers with this `hold` go out, those to come included. */
  open(gate) {
    this.#gate(gate).open()
  }

  async #take(request, init) {
    if (request.signal.aborted) throw request.signal.reason
    const call = new Call(request, init)
    this.#calls.push(call)
    const answer = this.#answerTo(call)
    const aborted = watch(request.signal)
    try {
      return await Promise.race([this.#respond(call, answer, request), aborted.promise])
    } finally {
      aborted.stop()
      call.done = true
    }
  }
  #answerTo(call) {
    const routes = [...this.#routes.keys()].filter((route) => fits(call, route))
    const route = routes.sort((a, b) => b.length - a.length)[0]
    const answers = this.#routes.get(route)
    if (!answers) {
      this.#unexpected.push(`${call.method} ${call.url}`)
      return { status: 599 }
    }
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    const denied = answer.token !== undefined && call.headers.authorization !== `Bearer ${answer.token}`
    return denied ? { status: 401, json: { message: 'Unauthenticated.' }, hold: answer.hold } : answer
  }
  async #respond(call, answer, request) {
    call.body = new Uint8Array(await request.arrayBuffer())
    if (answer.hold) await this.#gate(answer.hold).opened
    if (jar && answer.cookies !== undefined) jar.text = answer.cookies
    if (answer.network) {
      call.error = new TypeError('Failed to fetch')
      throw call.error
    }
    call.response = respond(call, answer, answer.half && this.#gate(answer.half).opened)
    return call.response
  }
  #gate(name) {
    if (!this.#gates.has(name)) {
      let open
      const opened = new Promise((resolve) => {
        open = resolve
      })
      this.#gates.set(name, { open, opened })
    }
    return this.#gates.get(name)
  }
}

function fits(call, route) {
  return `${call.method} ${call.url}`.startsWith(route)
}

/** `rest`: what the second half of the body waits for. */
function respond(call, answer, rest) {
  const { status = 200, json, text, spy, headers = {}, ...shown } = answer
  let body = json === undefined ? (text ?? null) : JSON.stringify(json)
  if (spy) {
    body = new ReadableStream({
      cancel() {
        call.cancelled = true
      },
    })
  }
  if (rest) body = inHalves(body, rest)
  const init = { status, headers: new Headers(headers) }
  if (json !== undefined && !init.headers.has('content-type')) init.headers.set('content-type', 'application/json')
  const response = new Response(body, init)
  // What only the network stack can set.
  for (const name of ['type', 'url', 'redirected']) {
    if (name in shown) Object.defineProperty(response, name, { value: shown[name] })
  }
  if (shown.type === 'opaqueredirect') Object.defineProperty(response, 'status', { value: 0 })
  return response
}

function inHalves(text, rest) {
  const bytes = new TextEncoder().encode(text)
  const middle = bytes.length >> 1
  return new ReadableStream({
    async start(controller) {
      controller.enqueue(bytes.slice(0, middle))
      await rest
      controller.enqueue(bytes.slice(middle))
      controller.close()
    },
  })
}

function watch(signal) {
  let listener
  const promise = new Promise((_, reject) => {
    listener = () => reject(signal.reason)
    native.listen.call(signal, 'abort', listener)
  })
  return { promise, stop: () => native.unlisten.call(signal, 'abort', listener) }
}

/** The host of a client: writes down what it is told. */
export class Recorder {
  #entries = []
  throwing = false
  onEvent = undefined

  changed(snapshot) {
    this.#note('changed', snapshot.status, snapshot)
  }
  event(name, detail) {
    this.#note('event', name, detail)
    this.onEvent?.(name)
  }
  log(entry) {
    this.#note('log', entry.event, entry)
  }
  /** The names of what was told, in order: events, log events, or statuses for 'changed'. */
  names(kind) {
    return this.#entries.filter((entry) => entry.kind === kind).map((entry) => entry.name)
  }
  /** Kind and name of all that was told, in order. */
  story() {
    return this.#entries.map(({ kind, name }) => `${kind} ${name}`)
  }
  /** What came with the last of that name. */
  last(kind, name) {
    return this.#entries.findLast((entry) => entry.kind === kind && entry.name === name)?.value
  }
  forget() {
    this.#entries = []
  }
  get text() {
    return JSON.stringify(this.#entries)
  }

  #note(kind, name, value) {
    this.#entries.push({ kind, name, value })
    spill(value)
    if (this.throwing) throw new Error('the host is broken')
  }
}

/** Time that only moves by hand, in the place of the page's clocks and timers. */
export class Clock {
  #wall = Date.now()
  #mono = performance.now()
  #timers = new Map()
  #id = 1_000_000

  constructor() {
    patchValue(Date, 'now', () => this.#wall)
    patchValue(performance, 'now', () => this.#mono)
    patchValue(globalThis, 'setTimeout', (work, delay = 0) => {
      this.#id += 1
      this.#timers.set(this.#id, { work, at: this.#mono + delay })
      return this.#id
    })
    patchValue(globalThis, 'clearTimeout', (id) => void this.#timers.delete(id))
  }
  get pending() {
    return this.#timers.size
  }
  get now() {
    return this.#wall
  }
  /** Moves on without a timer firing, as in a computer that slept. */
  jump(ms) {
    this.#wall += ms
    this.#mono += ms
  }
  /** Moves on, and fires what is due on the way. */
  advance(ms) {
    const end = this.#mono + ms
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end)
      const [first] = due.sort(([, a], [, b]) => a.at - b.at)
      if (!first) break
      const [id, { work, at }] = first
      this.#timers.delete(id)
      this.jump(Math.max(0, at - this.#mono))
      work()
    }
    this.jump(end - this.#mono)
  }
}

/** What scripts see of the cookies. An answer with `cookies` replaces them. */
export class CookieJar {
  writes = 0

  constructor(text) {
    this.text = text
    jar = this
    const write = () => {
      this.writes += 1
    }
    patch(document, 'cookie', { get: () => this.text, set: write })
  }
}

/** Where the page wants to go; it goes nowhere. */
export class Departures {
  #urls = []

  constructor() {
    const stay = (event) => {
      event.preventDefault()
      this.#urls.push(event.destination.url)
    }
    native.listen.call(navigation, 'navigate', stay)
    undo.push(() => native.unlisten.call(navigation, 'navigate', stay))
  }
  get urls() {
    return [...this.#urls]
  }
}

/** Promises that nobody handled, and errors that nobody caught. */
export class Unhandled {
  #seen = 0

  constructor() {
    const note = (event) => {
      event.preventDefault()
      this.#seen += 1
    }
    for (const name of ['unhandledrejection', 'error']) {
      native.listen.call(globalThis, name, note)
      undo.push(() => native.unlisten.call(globalThis, name, note))
    }
  }
  get seen() {
    return this.#seen
  }
}

/** Counts the listeners that are added to a target and not removed. */
export class ListenerCount {
  #live = []
  added = 0

  constructor(target) {
    const live = this
    const same = (a, b) => a[0] === b[0] && a[1] === b[1]
    patchValue(target, 'addEventListener', function (...given) {
      live.added += 1
      live.#live.push(given)
      return native.listen.apply(target, given)
    })
    patchValue(target, 'removeEventListener', function (...given) {
      live.#live = live.#live.filter((other) => !same(other, given))
      return native.unlisten.apply(target, given)
    })
  }
  get live() {
    return this.#live.length
  }
}

/** Writes down what goes over a BroadcastChannel, and can speak on it. */
export class Eavesdropper {
  #channel
  #heard = []

  constructor(name) {
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = ({ data }) => {
      this.#heard.push(data)
      spill(data)
    }
  }
  get heard() {
    return this.#heard.length
  }
  say(message) {
    this.#channel.postMessage(message)
  }
  close() {
    this.#channel.close()
  }
}

/** Holds a Web Lock until `release` is called. Resolves to the function once the lock is held. */
export function holdLock(name) {
  return new Promise((held) => {
    navigator.locks.request(name, () => new Promise((release) => held(release)))
  })
}

/** The names of the locks that are held or waited for. */
export async function locks() {
  const { held, pending } = await navigator.locks.query()
  return [...held, ...pending].map(({ name }) => name)
}

/** A POST whose body is a stream where the browser can send one; elsewhere a text stands in. */
export function streamed(url) {
  const body = new Blob(['in pieces']).stream()
  const request = new Request(url, { method: 'POST', body, duplex: 'half' })
  return request.headers.has('content-type') ? new Request(url, { method: 'POST', body: 'in pieces' }) : request
}

/** The names and values of a form body. */
export function formFields(text) {
  return [...new URLSearchParams(text)]
}

/** One body of each kind that can be sent twice. */
export function body(kind) {
  const bytes = new Uint8Array([0, 1, 2, 253, 254, 255])
  switch (kind) {
    case 'string':
      return '{"naïve":"\u{1F600}"}'
    case 'FormData': {
      const form = new FormData()
      form.append('name', 'Ada Lovelace')
      form.append('file', new Blob([bytes], { type: 'image/png' }), 'a.png')
      return form
    }
    case 'Blob':
      return new Blob([bytes, 'text'], { type: 'application/x-thing' })
    case 'URLSearchParams':
      return new URLSearchParams({ a: '1 2', b: 'ä&=' })
    case 'ArrayBuffer':
      return bytes.buffer
    case 'Uint8Array':
      return bytes
    default:
      throw new Error(kind)
  }
}
