import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { build, isBase, whileWanted } from '../src/request.js'

const BASE = 'https://api.example.com/v1/'
const urlOf = (input: RequestInfo | URL, base: string | undefined = BASE) =>
  build(input, undefined, base).request.url

// 4.17
test('URLs resolve by the WHATWG rules', () => {
  assert.equal(urlOf('bookings'), 'https://api.example.com/v1/bookings')
  assert.equal(urlOf('/bookings'), 'https://api.example.com/bookings')
  assert.equal(urlOf('?page=2'), 'https://api.example.com/v1/?page=2')
  assert.equal(urlOf('//evil.example/x'), 'https://evil.example/x')
  assert.equal(urlOf('\\\\evil.example/x'), 'https://evil.example/x')
  assert.equal(urlOf('ht\ntps://EXAMPLE.com:443/a\tb'), 'https://example.com/ab')
  assert.equal(urlOf(new URL('https://other.example/')), 'https://other.example/')
  assert.equal(urlOf(new Request('https://other.example/r')), 'https://other.example/r')
})

// 4.17
test('a URL with user info is refused as natively', () => {
  assert.throws(() => urlOf('https://api.example.com@evil.example/'), TypeError)
})

// 4.2
test('input is turned into a string once', () => {
  let reads = 0
  const input = {
    toString: () => {
      reads += 1
      return '/once'
    },
  }
  assert.equal(urlOf(input as never), 'https://api.example.com/once')
  assert.equal(reads, 1)
  assert.throws(() => urlOf(Symbol('x') as never), TypeError)
})

// 4.2
test('a Request is told by its brand, not by its looks', () => {
  const lookalike = { url: 'https://evil.example/', toString: () => '/plain' }
  Object.setPrototypeOf(lookalike, Request.prototype)
  assert.equal(urlOf(lookalike as never), 'https://api.example.com/plain')
})

// 4.2
test('each member of init is read once, inherited getters included', () => {
  const reads = new Map<string, number>()
  const count = <T>(name: string, value: T) => {
    reads.set(name, (reads.get(name) ?? 0) + 1)
    return value
  }
  class Init {
    get method() {
      return count('method', 'POST')
    }
    get body() {
      return count('body', 'text')
    }
    get headers() {
      return count('headers', { 'x-test': '1' })
    }
    get auth() {
      return count('auth', false)
    }
    get priority() {
      return count('priority', 'high' as const)
    }
  }
  const { request, extra } = build('/x', new Init(), BASE)
  assert.equal(request.method, 'POST')
  assert.equal(request.headers.get('x-test'), '1')
  assert.equal(extra?.auth, false)
  assert.equal(extra?.init?.priority, 'high')
  assert.deepEqual([...reads.values()], [1, 1, 1, 1, 1])
})

// 4.3, 4.4
test('what a Request does not keep goes along, and the referrer with it', () => {
  const init = { priority: 'low', referrer: 'about:client', referrerPolicy: 'origin' } as const
  const { extra, request } = build('/x', init, BASE)
  assert.deepEqual(extra?.init, {
    priority: 'low',
    referrer: request.referrer,
    referrerPolicy: 'origin',
  })
  assert.equal(build('/x', { window: null }, BASE).extra?.init?.window, null)
  assert.deepEqual(build('/x', { method: 'POST', body: 'b' }, BASE).extra, {})
  assert.equal(build('/x', undefined, BASE).extra, undefined)
  assert.equal(build('/x', null as never, BASE).extra, undefined)
})

// 4.10
test('a stream body is marked, other bodies are not', () => {
  const stream = new Blob(['x']).stream()
  assert.equal(build('/x', { method: 'POST', body: stream, duplex: 'half' }, BASE).extra?.stream, true)
  assert.equal(build('/x', { method: 'POST', body: new Blob(['x']) }, BASE).extra?.stream, undefined)
})

// 4.2
test('a Request can be given as init', async () => {
  const init = new Request('https://a.example/', { method: 'PUT', body: 'text', headers: { 'x-test': '1' } })
  const { request } = build('/x', init, BASE)
  assert.equal(request.method, 'PUT')
  assert.equal(request.headers.get('x-test'), '1')
  assert.equal(await request.text(), 'text')
})

// 4.2, 4.9
test('headers and body are taken at the time of the call', async () => {
  const headers = new Headers({ 'x-test': 'before' })
  const body = new URLSearchParams({ a: 'before' })
  const { request } = build('/x', { method: 'POST', headers, body }, BASE)
  headers.set('x-test', 'after')
  body.set('a', 'after')
  assert.equal(request.headers.get('x-test'), 'before')
  assert.equal(await request.text(), 'a=before')
})

// 4.2
test('an object of another realm works as init', () => {
  const init = runInNewContext('({ method: "DELETE", headers: [["x-test", "1"]] })') as RequestInit
  const { request } = build('/x', init, BASE)
  assert.equal(request.method, 'DELETE')
  assert.equal(request.headers.get('x-test'), '1')
})

// 4.17
test('isBase', () => {
  assert.equal(isBase(undefined), true)
  assert.equal(isBase('https://a.example'), true)
  assert.equal(isBase('/api'), false)
  assert.equal(isBase(''), false)
})

// 4.15
test('10 000 waits on one signal leave no listener', async () => {
  const { signal } = new AbortController()
  let listeners = 0
  const request = {
    signal: {
      aborted: false,
      addEventListener: () => (listeners += 1),
      removeEventListener: () => (listeners -= 1),
    },
  } as unknown as Request
  await Promise.all(Array.from({ length: 10_000 }, (_, n) => whileWanted(Promise.resolve(n), request)))
  assert.equal(listeners, 0)
  assert.equal(signal.aborted, false)
})

// 4.15
test('an abandoned stream body is cancelled with the reason', async () => {
  const controller = new AbortController()
  let cancelled: unknown
  const body = new ReadableStream({ cancel: (reason) => (cancelled = reason) })
  const { request } = build('/x', { method: 'POST', body, duplex: 'half', signal: controller.signal }, BASE)
  const waiting = whileWanted(new Promise(() => {}), request)
  controller.abort('enough')
  await assert.rejects(waiting, (error) => error === 'enough')
  assert.equal(cancelled, 'enough')
})
