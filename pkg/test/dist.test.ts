// The built package, the real WebAssembly in it included, as an importer in Node gets it.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type * as Package from '../src/index.js'

const run = promisify(execFile)
const index = resolve('dist/index.js')
const built = existsSync(index)
if (!built && process.env.CI) throw new Error('dist is missing: run `cargo xtask build` first')
const skip = built ? false : 'dist is missing: `cargo xtask build` makes it'

let copies = 0
/** A copy of the package with nothing loaded yet. */
const fresh = (file = index): Promise<typeof Package> => import(`${pathToFileURL(file)}?${copies++}`)

const BASE = 'https://api.example.com/'
const OPTIONS = { baseUrl: BASE, preset: 'sanctum', storage: 'memory', logLevel: 'silent' } as const
const LOGIN = { token: '1|abcdefgh', type: 'Bearer', expires_in_minutes: 60, user: { id: 1, name: 'Ada' } }

// known-failures 47
test('importing and creating touches nothing', { skip }, async () => {
  const script = `
    const before = Object.getOwnPropertyNames(globalThis).join()
    const spied = []
    // Only what keepfresh calls: Node's own fetch compiles WebAssembly when it is first looked at.
    const spy = (name) => void (new Error().stack.includes('/dist/') && spied.push(name))
    for (const name of ['setTimeout', 'setInterval', 'queueMicrotask', 'fetch']) {
      globalThis[name] = () => spy(name)
    }
    for (const name of ['compile', 'instantiate', 'Module', 'Instance']) {
      WebAssembly[name] = function () { spy(name) }
    }
    for (const entry of ['index', 'slim']) {
      const { createClient } = await import(${JSON.stringify(pathToFileURL(resolve('dist')).href)} + '/' + entry + '.js')
      const client = createClient({ baseUrl: '${BASE}', preset: 'sanctum' })
      if (client.state.status !== 'loading') spied.push('state')
      client.metrics()
      client.dispose()
      createClient({ baseUrl: '${BASE}', preset: 'sanctum' })
    }
    const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout')
    const same = Object.getOwnPropertyNames(globalThis).join() === before
    process.stdout.write(JSON.stringify({ spied, timers, same }))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script])
  assert.deepEqual(JSON.parse(stdout), { spied: [], timers: [], same: true })
})

// 6.10
test('what a page must not need is not in the bundles', { skip }, () => {
  for (const file of ['dist/index.js', 'dist/slim.js']) {
    const code = readFileSync(file, 'utf8')
    assert.doesNotMatch(
      code,
      /new Function|\beval\(|WebAssembly\.Module\(|WebAssembly\.Instance\(|data:/,
      file,
    )
    assert.doesNotMatch(code, /_bg\.wasm/, file)
  }
  assert.doesNotMatch(readFileSync('dist/index.js', 'utf8'), /import\.meta/)
  assert.match(readFileSync('dist/slim.js', 'utf8'), /new URL\("\.\/keepfresh\.wasm",\s*import\.meta\.url\)/)
})

// 6.12
test('a wrong option is named, without an unhandled rejection', { skip }, async () => {
  const { createClient, isKeepfreshError } = await fresh()
  const client = createClient({ ...OPTIONS, expiryBuffer: -1 })
  const errors: unknown[] = []
  client.subscribe(() => {})
  await client.ready.catch((error) => errors.push(error))
  await client.fetch('/x').catch((error) => errors.push(error))
  const [first, second] = errors
  assert.equal(first, second)
  assert.ok(isKeepfreshError(first))
  assert.deepEqual([first.code, first.field, first.retryable], ['config', 'expiryBuffer', false])
  // @ts-expect-error: what untyped callers do
  await assert.rejects(createClient({ ...OPTIONS, retries: 3 }).ready, { code: 'config', field: 'retries' })
  await assert.rejects(createClient({ ...OPTIONS, baseUrl: '/api' }).fetch('x'), { field: 'baseUrl' })
})

// README: States, events, errors
test('without WebAssembly the error says what is wrong', { skip }, async () => {
  const { createClient } = await fresh()
  const saved = globalThis.WebAssembly
  Reflect.deleteProperty(globalThis, 'WebAssembly')
  try {
    const client = createClient(OPTIONS)
    await assert.rejects(client.ready, { name: 'KeepfreshError', code: 'wasm_unavailable', retryable: false })
    await assert.rejects(client.login({}), /WebAssembly switched off/)
    assert.equal(client.state.error, 'wasm_unavailable')
  } finally {
    globalThis.WebAssembly = saved
  }
})

// 6.10, known-failures 63
test('a Content Security Policy that forbids WebAssembly is named with its cure', {
  skip,
}, async (context) => {
  const { createClient } = await fresh()
  const refused = new WebAssembly.CompileError('blocked by CSP')
  context.mock.method(WebAssembly, 'instantiate', () => Promise.reject(refused))
  const client = createClient(OPTIONS)
  await assert.rejects(client.ready, { code: 'wasm_unavailable', cause: refused })
  await assert.rejects(client.ready, /script-src 'self' 'wasm-unsafe-eval'/)
  context.mock.restoreAll()
  // Remembered for this page: a second client hears the same at once.
  await assert.rejects(createClient(OPTIONS).ready, { cause: refused })
})

// README: Use it
test('slim fetches its file at first use, and again after a failure', { skip }, async () => {
  const saved = globalThis.fetch
  const answers = [
    () => Promise.reject(new TypeError('network')),
    () => Promise.resolve(new Response('<!doctype html>', { headers: { 'content-type': 'text/html' } })),
    () => Promise.resolve(new Response('', { status: 503 })),
    () => Promise.resolve(new Response(readFileSync('dist/keepfresh.wasm'))),
  ]
  const asked: string[] = []
  globalThis.fetch = (input) => {
    asked.push(String(input))
    return answers[asked.length - 1]?.() ?? Promise.reject(new Error('asked too often'))
  }
  try {
    const { createClient } = await fresh(resolve('dist/slim.js'))
    const client = createClient(OPTIONS)
    for (const message of [/network/, /not WebAssembly/, /503/]) {
      await assert.rejects(client.refresh(), { code: 'wasm_unavailable', retryable: true, message })
    }
    await client.ready
    assert.equal(client.state.status, 'anonymous')
    assert.equal(asked.length, 4)
    assert.match(asked[0] ?? '', /dist\/keepfresh\.wasm$/)
    client.dispose()
  } finally {
    globalThis.fetch = saved
  }
})

// 4.1, 6.6
test('sign in, send, sign out', { skip }, async () => {
  const { createClient } = await fresh()
  const seen: string[] = []
  const client = createClient({
    ...OPTIONS,
    fetch: async (input) => {
      const request = input as Request
      const path = new URL(request.url).pathname
      seen.push(`${request.method} ${path} ${request.headers.get('authorization') ?? '-'}`)
      if (path === '/api/auth/login') return Response.json(LOGIN, { status: 201 })
      return Response.json({ path })
    },
  })
  const heard: string[] = []
  client.on('signed_in', ({ elsewhere }) => heard.push(`signed_in ${elsewhere}`))
  client.on('signed_out', ({ elsewhere }) => heard.push(`signed_out ${elsewhere}`))
  const states: string[] = []
  client.subscribe(() => states.push(client.state.status))

  const session = await client.login({ email: 'ada@example.com', password: 'x' })
  assert.deepEqual(session.user, LOGIN.user)
  assert.equal(client.state.status, 'authenticated')
  assert.deepEqual(client.state.session, session)
  const { fetch } = client
  assert.equal((await fetch('api/bookings')).status, 200)
  assert.equal((await fetch('https://other.example/api')).status, 200)
  assert.equal((await fetch('/open', { auth: false })).status, 200)
  assert.equal(await client.getAccessToken(), LOGIN.token)
  await client.logout()
  assert.equal(client.state.status, 'signed_out')
  assert.equal(await client.getAccessToken(), null)
  client.dispose()

  const bearer = `Bearer ${LOGIN.token}`
  assert.deepEqual(seen, [
    'POST /api/auth/login -',
    `GET /api/bookings ${bearer}`,
    'GET /api -',
    'GET /open -',
    `POST /api/auth/logout ${bearer}`,
  ])
  assert.deepEqual(heard, ['signed_in false', 'signed_out false'])
  assert.deepEqual(states, ['anonymous', 'authenticated', 'signed_out'])
})

// 4.9, 7.21
test('over real HTTP a body survives the replay', { skip }, async () => {
  const { createClient } = await fresh()
  const bodies: string[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const json = (status: number, value: object) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    }
    if (request.url === '/api/auth/login') return json(201, LOGIN)
    if (request.url === '/api/auth/refresh') return json(200, { ...LOGIN, token: '2|ijklmnop' })
    bodies.push(`${request.headers.authorization} ${body}`)
    return request.headers.authorization === 'Bearer 2|ijklmnop'
      ? json(200, {})
      : json(401, { code: 'TOKEN_EXPIRED' })
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  try {
    const { port } = server.address() as AddressInfo
    const client = createClient({ ...OPTIONS, baseUrl: `http://127.0.0.1:${port}/` })
    await client.login({ email: 'ada@example.com', password: 'x' })
    const response = await client.fetch('api/echo', { method: 'POST', body: 'äöü', priority: 'high' })
    assert.equal(response.status, 200)
    assert.deepEqual(bodies, ['Bearer 1|abcdefgh äöü', 'Bearer 2|ijklmnop äöü'])
    const { requests, unauthorized, replays, refreshes } = client.metrics()
    assert.deepEqual([requests, unauthorized, replays, refreshes], [1, 1, 1, 1])
    client.dispose()
    await assert.rejects(client.fetch('api/echo'), { code: 'disposed' })
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
