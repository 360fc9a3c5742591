// How the package is loaded: Content Security Policies, and both entry points.
import assert from 'node:assert/strict'
import { scenario } from './kit.mjs'

async function outcome(world, path) {
  const page = await (await world.profile()).newPage()
  const errors = []
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
  await page.goto(world.server.www + path)
  await page.waitForFunction(() => window.outcome, { polling: 20, timeout: 10_000 })
  return { ...(await page.evaluate(() => window.outcome)), errors }
}

// 6.10, 7.24
for (const [name, path] of [
  ['slim', '/csp.html'],
  ['inline', '/csp-inline.html'],
  ['slim, with Trusted Types', '/csp-trusted.html'],
]) {
  scenario(`a strict Content Security Policy (${name})`, {}, async (world) => {
    const { status, code, message, errors } = await outcome(world, path)
    assert.deepEqual([status, code, message, errors], [200, null, null, []])
    const wire = await world.server.wire()
    assert.deepEqual([wire.logins, wire.requests, wire.unauthorized], [1, 1, 0])
  })
}

// 6.10, 7.24, known-failures 63: one clear error, and nothing unhandled (the world would complain).
const BLOCKED = { noise: /wasm-unsafe-eval/ }
scenario("without 'wasm-unsafe-eval' there is one clear error", BLOCKED, async (world) => {
  const { status, code, message, errors } = await outcome(world, '/csp-blocked.html')
  assert.deepEqual([status, code], [null, 'wasm_unavailable'])
  assert.match(message, /'wasm-unsafe-eval'/)
  const ours = errors.filter((text) => text.startsWith('keepfresh: '))
  assert.equal(ours.length, 1)
  assert.equal((await world.server.wire()).logins, 0)
})

// 1.18, 7.2: the entry point with the WebAssembly inside, from sign-in to sign-out.
scenario('index.js works like slim.js', {}, async (world) => {
  const tab = await world.signedIn('django', {}, { entry: 'index', remember: true })
  await world.server.expire()
  assert.deepEqual(await tab.burst(20), { 200: 20 })
  const wire = await world.server.wire()
  assert.deepEqual([wire.unauthorized, wire.refreshes, wire.replays], [20, 1, 20])
  await tab.must('logout')
  assert.equal((await tab.state()).status, 'signed_out')
})

// 5.13, known-failures 2: both entry points in one page behave like two tabs.
scenario('two copies in one page agree', {}, async (world) => {
  const tab = await world.signedIn('django', {}, { remember: true })
  await tab.run(async (api) => {
    const { createClient } = await import('/keepfresh/index.js')
    window.other = createClient({ baseUrl: api, preset: 'django' })
    await other.ready
  }, world.server.api)
  await world.server.expire()
  const statuses = await tab.run(async () => {
    const both = [client, other].flatMap((each, copy) =>
      Array.from({ length: 10 }, (_, at) => each.fetch(`/api/bookings?n=c${copy}-${at}`)),
    )
    return (await Promise.all(both)).map((response) => response.status)
  })
  assert.deepEqual(statuses, Array(20).fill(200))
  assert.equal(await world.refreshes(), 1)
  await tab.must('logout')
  await tab.until(() => other.state.status === 'signed_out')
})
