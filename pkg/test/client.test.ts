import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { makeClient } from '../src/client.js'
import { isKeepfreshError, makeError } from '../src/error.js'
import type { ClientOptions, LogEntry, Snapshot } from '../src/types.js'
import { fakeLoad, only, SESSION, SIGNED_IN } from './fake-core.js'

const OPTIONS: ClientOptions = { baseUrl: 'https://api.example.com/v1/', logLevel: 'silent' }

const unhandled: unknown[] = []
const note = (reason: unknown) => void unhandled.push(reason)
beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', note)
})
afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  assert.deepEqual(unhandled, [])
})

// known-failures 47
test('createClient stores the options and does nothing else', async () => {
  const { load, loads } = fakeLoad()
  const client = makeClient(OPTIONS, load)
  assert.equal(client.state.status, 'loading')
  assert.equal(client.metrics().requests, 0)
  client.clearSessionCache()
  client.dispose()
  assert.equal(loads(), 0)
})

// README: Use it
test('one core is made, at first use', async () => {
  const { load, loads, cores } = fakeLoad()
  const client = makeClient(OPTIONS, load)
  await Promise.all([client.ready, client.fetch('a'), client.getSession(), client.ready])
  assert.equal(loads(), 1)
  assert.deepEqual(only(cores).options, { ...OPTIONS, fetch: globalThis.fetch })
})

// README: Use it
test('reading the state starts the client in a browser, and not on a server', () => {
  const { load, loads } = fakeLoad()
  const client = makeClient(OPTIONS, load)
  assert.equal(client.state.status, 'loading')
  assert.equal(loads(), 0)
  Object.defineProperty(globalThis, 'location', { value: { href: 'http://localhost/' }, configurable: true })
  try {
    assert.equal(client.state.status, 'loading')
    assert.equal(client.state, client.state)
    assert.equal(loads(), 1)
  } finally {
    Reflect.deleteProperty(globalThis, 'location')
  }
})

// README: Use it
test('ready is one promise', async () => {
  const client = makeClient(OPTIONS, fakeLoad().load)
  assert.equal(client.ready, client.ready)
  assert.equal(await client.ready, undefined)
})

// README: Use it
test('methods hand their arguments on', async () => {
  const { load, cores } = fakeLoad()
  const { login, register, getAccessToken, setSession, me, logoutAll } = makeClient(OPTIONS, load)
  assert.equal(await login({ email: 'a' }, { remember: true }), SESSION)
  await register({ email: 'b' })
  await getAccessToken({ minValidity: 60_000 })
  await getAccessToken()
  await setSession({ access_token: 't', expires_at: 1 })
  assert.deepEqual(await me(), { name: 'Ada' })
  assert.deepEqual(await logoutAll(), { confirmed: true, revokedCount: 2 })
  assert.deepEqual(only(cores).calls, [
    ['login', { email: 'a' }, true],
    ['register', { email: 'b' }, false],
    ['getAccessToken', 60_000],
    ['getAccessToken', undefined],
    ['setSession', { access_token: 't', expires_at: 1 }, false],
    ['me'],
    ['logoutAll'],
  ])
})

// README: States, events, errors
test('a config error rejects ready and every method with the same error', async () => {
  const wrong = makeError('config', 'option `preset` is wrong')
  const entries: LogEntry[] = []
  const client = makeClient({ logger: (entry) => entries.push(entry) }, async () => {
    throw wrong
  })
  client.subscribe(() => {})
  await assert.rejects(client.ready, (error) => error === wrong)
  await assert.rejects(client.fetch('https://a.example/'), (error) => error === wrong)
  await assert.rejects(client.login({}), (error) => error === wrong)
  assert.equal(client.state.error, 'config')
  assert.equal(client.state.status, 'loading')
  assert.deepEqual(
    entries.map(({ level, event }) => [level, event]),
    [['error', 'config']],
  )
})

// README: States, events, errors
test('a load that failed for good is not tried again, a download is', async () => {
  let loads = 0
  const failing = (retryable: boolean) => async () => {
    loads += 1
    throw makeError('wasm_unavailable', 'no', { retryable })
  }
  const final = makeClient(OPTIONS, failing(false))
  await assert.rejects(final.refresh())
  await assert.rejects(final.refresh())
  assert.equal(loads, 1)

  loads = 0
  const passing = makeClient(OPTIONS, failing(true))
  const { ready } = passing
  await assert.rejects(passing.refresh())
  await assert.rejects(passing.refresh())
  assert.equal(loads, 2)
  // A view that renders again on the change must not load in a loop.
  passing.on('signed_in', () => {})
  passing.subscribe(() => {})
  assert.equal(loads, 2)
  assert.notEqual(passing.ready, ready)
})

// known-failures 47
test('after dispose nothing is loaded and methods reject', async () => {
  const { load, loads } = fakeLoad()
  const client = makeClient(OPTIONS, load)
  client.dispose()
  client.subscribe(() => {})()
  for (const call of [() => client.ready, () => client.fetch('a'), () => client.logout(), client.me]) {
    await assert.rejects(call(), (error) => isKeepfreshError(error) && error.code === 'disposed')
  }
  assert.equal(loads(), 0)
})

// known-failures 47
test('dispose while loading makes no core; afterwards it disposes the core and keeps the counts', async () => {
  const early = fakeLoad(true)
  const one = makeClient(OPTIONS, early.load)
  const waiting = one.refresh()
  one.dispose()
  early.open()
  await assert.rejects(waiting, { code: 'disposed' })
  assert.equal(early.cores.length, 0)

  const late = fakeLoad()
  const two = makeClient(OPTIONS, late.load)
  await two.fetch('a')
  two.dispose()
  two.dispose()
  assert.deepEqual(only(late.cores).calls, [['dispose']])
  assert.equal(two.metrics().requests, 1)
  await assert.rejects(two.fetch('a'), { code: 'disposed' })
})

// 4.5
test('fetch goes to the core in the same turn once it is there', async () => {
  const { load, cores } = fakeLoad()
  const client = makeClient(OPTIONS, load)
  await client.ready
  const core = only(cores)
  const answer = client.fetch('bookings', { auth: false })
  assert.equal(core.sent.length, 1)
  assert.equal(core.sent[0]?.request.url, 'https://api.example.com/v1/bookings')
  assert.deepEqual(core.sent[0]?.extra, { auth: false })
  assert.equal(await (await answer).text(), 'ok')
})

// 4.2, 4.19
test('fetch never throws, and works detached', async () => {
  const { fetch } = makeClient(OPTIONS, fakeLoad().load)
  await assert.rejects(fetch('https://user:secret@a.example/'), TypeError)
  await assert.rejects(fetch('/x', { method: 'GET', body: 'no' }), TypeError)
  // @ts-expect-error: what untyped callers do
  await assert.rejects(fetch('/x', 7), TypeError)
  assert.equal((await fetch('/x', {})).status, 200)
})

// 4.8
test('the body of a Request is taken at once', async () => {
  const { load } = fakeLoad(true)
  const client = makeClient(OPTIONS, load)
  const request = new Request('https://a.example/', { method: 'POST', body: 'text' })
  const first = client.fetch(request)
  assert.equal(request.bodyUsed, true)
  await assert.rejects(client.fetch(request), TypeError)
  client.dispose()
  first.catch(() => {})
})

// 4.14
test('a signal that has fired rejects with its reason before anything is loaded', async () => {
  const { load, loads } = fakeLoad(true)
  const client = makeClient(OPTIONS, load)
  const reason = { mine: true }
  const order: string[] = []
  const signal = AbortSignal.abort(reason)
  const rejected = client.fetch('/x', { signal }).catch((error: unknown) => {
    order.push('rejected')
    assert.equal(error, reason)
  })
  void Promise.resolve().then(() => order.push('later'))
  await rejected
  assert.deepEqual(order, ['rejected', 'later'])
  assert.equal(loads(), 0)
  // The constructor's own errors come first.
  await assert.rejects(client.fetch('/x', { signal, method: 'GET', body: 'no' }), TypeError)
})

// 4.15, known-failures 11
test('abort while the wasm is loading rejects at once and leaves no listener', async () => {
  const { load, open, cores } = fakeLoad(true)
  const client = makeClient(OPTIONS, load)
  const { signal, added, removed, abort } = countedSignal()
  const other = client.fetch('/y')
  const calls = [client.fetch('/x', { signal }), client.fetch('/x', { signal })]
  const reason = new Error('changed my mind')
  abort(reason)
  for (const call of calls) await assert.rejects(call, (error) => error === reason)
  open()
  assert.equal((await other).status, 200)
  assert.equal(only(cores).sent.length, 1)
  assert.ok(removed() >= added() - 2, `${added()} listeners added, ${removed()} removed`)
})

// README: States, events, errors
test('a wrong baseUrl is reported by the name of the option', async () => {
  const wrong = makeError('config', 'option `baseUrl` is wrong')
  const client = makeClient({ baseUrl: 'nonsense', logLevel: 'silent' }, async () => {
    throw wrong
  })
  await assert.rejects(client.fetch('/x'), (error) => error === wrong)
})

// known-failures 45
test('the state is replaced only when something changed', async () => {
  const { load, cores } = fakeLoad()
  const client = makeClient(OPTIONS, load)
  let changes = 0
  client.subscribe(() => (changes += 1))
  await client.ready
  const { host } = only(cores)
  const copy = (more: Partial<Snapshot> = {}) => ({ ...structuredClone(SIGNED_IN), ...more })
  host.changed(copy())
  const { state } = client
  host.changed(copy())
  assert.equal(client.state, state)
  assert.equal(changes, 1)
  host.changed(copy({ status: 'refreshing' }))
  assert.notEqual(client.state, state)
  assert.equal(client.state.session, state.session)
  assert.equal(changes, 2)
  host.changed(copy({ session: { ...SESSION, user: { id: 8 } } }))
  assert.notEqual(client.state.session, state.session)
})

// 6.12: the options are those of the call, however late the core is made
test('options that are changed after createClient change nothing', async () => {
  const adapter = { getItem: () => null, setItem: () => {}, removeItem: () => {} }
  const options = {
    ...OPTIONS,
    endpoints: { refresh: '/renew' },
    allowedOrigins: ['https://files.example'],
    refreshCall: { send: 'json' as const },
    tokenFields: { accessToken: 'jwt' },
    circuitBreaker: { maxFailures: 3 },
    csrf: { cookie: 'csrftoken' },
    storage: adapter,
  }
  const before = structuredClone({ ...options, storage: null })
  const { load, cores } = fakeLoad()
  const client = makeClient(options, load)
  options.baseUrl = 'https://evil.example/'
  options.endpoints.refresh = 'https://evil.example/'
  options.allowedOrigins.push('https://evil.example')
  options.refreshCall.send = 'form' as never
  options.tokenFields.accessToken = 'evil'
  options.circuitBreaker.maxFailures = 0
  options.csrf.cookie = 'evil'
  await client.fetch('/x')
  const core = only(cores)
  assert.equal(core.sent[0]?.request.url, 'https://api.example.com/x')
  const { fetch, storage, ...seen } = core.options
  const { storage: _, ...expected } = before
  assert.deepEqual(seen, expected)
  assert.equal(fetch, globalThis.fetch)
  // Not an option but an object that does something: it stays the app's own.
  assert.equal(storage, adapter)
})

// 6.12
test('a polluted prototype configures nothing', async () => {
  const polluted = Object.prototype as { baseUrl?: string; logger?: () => void }
  let logged = 0
  polluted.baseUrl = 'https://evil.example'
  polluted.logger = () => (logged += 1)
  try {
    const { load, cores } = fakeLoad()
    const client = makeClient({ logLevel: 'debug' }, load)
    await assert.rejects(client.fetch('/relative'), TypeError)
    await client.fetch('https://a.example/')
    assert.equal(only(cores).sent[0]?.request.url, 'https://a.example/')
    assert.equal(logged, 0)
  } finally {
    delete polluted.baseUrl
    delete polluted.logger
  }
})

/** A signal that counts the abort listeners put on it and taken off it. */
function countedSignal() {
  const controller = new AbortController()
  const { signal } = controller
  const counts = { added: 0, removed: 0 }
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...all: Parameters<typeof add>) => {
    counts.added += 1
    add(...all)
  }
  signal.removeEventListener = (...all: Parameters<typeof remove>) => {
    counts.removed += 1
    remove(...all)
  }
  return {
    signal,
    added: () => counts.added,
    removed: () => counts.removed,
    abort: (reason: unknown) => controller.abort(reason),
  }
}
