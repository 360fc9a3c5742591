// The refresh endpoint in trouble: nobody is signed out by an outage, and nobody storms a server that is down.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe } from 'node:test'
import { PRESETS, scenario } from './kit.mjs'

const { refresh } = PRESETS.django
/** Past the first pause of 30 s, which the client spreads over half as much again (2.10), ms. */
const COOLED_DOWN = 46_000

/** Each answer, and what the client says about it. */
const FAULTS = {
  '500': [{ status: 500 }, { code: 'refresh_failed', status: 500 }],
  '502 with a page': [
    { status: 502, body: '<h1>Bad Gateway</h1>', content_type: 'text/html' },
    { code: 'refresh_failed', status: 502 },
  ],
  '503 with Retry-After': [{ status: 503, retry_after: '1' }, { code: 'refresh_failed', status: 503 }],
  'connection dropped before the work': [{ drop: 'before' }, { code: 'refresh_failed' }],
  'connection dropped after the work': [{ drop: 'after' }, { code: 'refresh_failed' }],
  '200 with a login page': [{ html: true }, { code: 'refresh_failed' }],
  'truncated JSON': [{ truncate: true }, { code: 'refresh_failed' }],
  'no CORS headers': [{ no_cors: true, status: 500 }, { code: 'refresh_failed' }],
  'no answer in time': [{ delay_ms: 60_000 }, { code: 'timeout' }, { refreshTimeout: 1000 }],
}

/** A refused cross-origin answer and a broken connection are printed by Chromium itself. */
const NOISE = /blocked by CORS policy|net::ERR_/

describe('the refresh endpoint fails', { concurrency: 4 }, () => {
  for (const [name, [fault, failure, options]] of Object.entries(FAULTS)) {
    // 2.4, 2.5, 2.10, 2.11, 2.14, 2.16, 7.6
    scenario(name, { noise: NOISE }, async (world) => {
      const tab = await world.signedIn('django', options, { remember: true })
      const before = await record(tab)
      await world.server.expire()
      await world.server.fault({ match: refresh, ...fault })

      // The first failure is followed by one retry that callers wait for; then the breaker is open.
      await expectOwn401(tab)
      assert.equal((await tab.events('refresh_failed')).length, 2)
      assert.equal((await tab.event('circuit_opened')).reason, 'failures')
      for (const detail of await tab.events('refresh_failed')) {
        assert.deepEqual({ code: detail.code, status: detail.status }, { status: undefined, ...failure })
      }
      await expectKept(tab, before)
      const calls = await world.refreshes()
      const { error } = await tab.call('refresh')
      assert.deepEqual([error.code, error.retryable], ['circuit_open', true])
      const pause = error.retryAt - Date.now()
      assert.ok(pause > 20_000 && pause <= 45_000, `${pause} ms`)
      assert.equal(await world.refreshes(), calls, 'the cooldown was not kept')

      await world.server.clearFaults()
      await recovers(tab)
      assert.equal(await world.refreshes(), calls + 1)
    })
  }

  // 2.5, 7.6: a redirected refresh is not followed, or the token would go to whoever is named there.
  for (const status of [302, 307]) {
    scenario(`a redirect ${status} to another origin`, { noise: NOISE }, async (world) => {
      for (const preset of ['django', 'oauth2']) {
        const profile = await world.profile()
        const tab = await world.signedIn(preset, {}, { profile, remember: true })
        const before = await record(tab)
        await world.server.expire()
        await world.server.fault({
          match: PRESETS[preset].refresh,
          redirect: `${world.server.www}/sink/token`,
          status,
        })
        await expectOwn401(tab)
        await expectKept(tab, before)
        await world.server.clearFaults()
        await recovers(tab)
      }
      const wire = await world.server.wire()
      assert.deepEqual([wire.sink_requests, wire.foreign_tokens], [0, 0])
    })
  }

  // 2.5, 2.6: 429 is no failure of the server; the breaker stays closed, the pause is kept.
  scenario('429 with Retry-After', {}, async (world) => {
    const tab = await world.signedIn('django', {}, { remember: true })
    const before = await record(tab)
    await world.server.expire()
    await world.server.fault({ match: refresh, status: 429, retry_after: '20', times: 1 })
    const began = Date.now()
    await expectOwn401(tab)
    await expectKept(tab, before, 'authenticated')
    assert.deepEqual(await tab.burst(5), { 401: 5 })
    assert.deepEqual([await world.refreshes(), (await tab.events('circuit_opened')).length], [1, 0])
    const { retryAt } = await tab.state()
    assert.ok(Math.abs(retryAt - began - 20_000) < 5000, String(retryAt - began))
    await recovers(tab, 25_000)
    assert.equal(await world.refreshes(), 2)
  })

  // 2.6: a long Retry-After holds back every call, and callers get their answers at once.
  scenario('503 with a long Retry-After', {}, async (world) => {
    const tab = await world.signedIn('oauth2')
    await world.server.expire()
    await world.server.fault({ match: PRESETS.oauth2.refresh, status: 503, retry_after: '600' })
    const began = Date.now()
    for (let at = 0; at < 5; at += 1) assert.deepEqual(await tab.burst(4), { 401: 4 })
    assert.ok(Date.now() - began < 10_000)
    assert.equal(await world.refreshes(), 1)
    const { retryAt } = await tab.state()
    assert.ok(Math.abs(retryAt - began - 600_000) < 5000, String(retryAt - began))
  })

  // 2.1: three answers in a row that make no sense, at the same credential.
  scenario('answers that make no sense end it at the third time', {}, async (world) => {
    const tab = await world.signedIn('django', {}, { remember: true })
    await world.server.expire()
    await world.server.fault({ match: refresh, html: true })
    await expectOwn401(tab)
    assert.deepEqual(await tab.events('reauth_required'), [])
    await tab.shift(COOLED_DOWN)
    await expectOwn401(tab)
    assert.deepEqual(await tab.events('reauth_required'), [{ reason: 'ambiguous' }])
    assert.deepEqual(await tab.burst(10), { 401: 10 })
    assert.equal(await world.refreshes(), 3)
  })

  // 2.3, 7.7: what a failed refresh ahead of time means while the token lives on.
  scenario('a dead refresh token does not stop a living access token', {}, async (world) => {
    const tab = await world.signedIn('django')
    await world.server.fault({ match: refresh, status: 401, body: '{"error":"Invalid refresh token"}' })
    await tab.shift(3_500_000)
    assert.deepEqual(await tab.burst(20), { 200: 20 })
    assert.deepEqual(await tab.event('reauth_required'), { reason: 'expired' })
    assert.deepEqual(await tab.burst(20), { 200: 20 })
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.unauthorized], [1, 0])
    assert.equal((await tab.events('reauth_required')).length, 1)
  })

  // 5.14, 7.15, known-failures 28: the answer of a rotation is lost, and with it the only token that is still good.
  for (const preset of ['sanctum', 'oauth2']) {
    scenario(`${preset}: a rotation whose answer is lost`, { noise: NOISE }, async (world) => {
      const tab = await world.signedIn(preset, {}, { remember: true })
      await world.server.fault({ match: PRESETS[preset].refresh, drop: 'after', times: 2 })
      const { error } = await tab.call('refresh')
      // Chromium sends such a request again by itself, so the server may have said no already.
      assert.ok(error, 'there can be no new token')
      await tab.burst(5)
      await tab.call('refresh')
      await tab.event('reauth_required')
      assert.deepEqual(await tab.events('reauth_required'), [{ reason: 'lost_response' }])
      assert.deepEqual(await tab.burst(5), { 401: 5 })
      assert.equal((await tab.state()).status, 'reauth_required')
      const calls = await world.refreshes()
      assert.deepEqual(await tab.burst(20), { 401: 20 })
      assert.equal(await world.refreshes(), calls)
      await world.login(tab, preset, { remember: true })
      assert.deepEqual(await tab.burst(5), { 200: 5 })
    })
  }

  // 2.5: a token that comes after `refreshTimeout` is the only one there is.
  scenario('a late answer is still taken', {}, async (world) => {
    const tab = await world.signedIn('oauth2', { refreshTimeout: 1000 })
    await world.server.expire()
    await world.server.fault({ match: PRESETS.oauth2.refresh, delay_after_ms: 2000, times: 1 })
    const { error } = await tab.call('refresh')
    assert.equal(error?.code, 'timeout')
    await tab.event('refreshed')
    assert.deepEqual(await tab.burst(10), { 200: 10 })
    assert.equal((await world.server.wire()).refreshes_rejected, 0)
  })

  // 2.5, known-failures 25: offline is nobody's failure.
  scenario('offline and back', { noise: NOISE, needs: ['offline'] }, async (world) => {
    const tab = await world.signedIn('django', {}, { remember: true })
    const before = await record(tab)
    await world.server.expire()
    await tab.page.setOfflineMode(true)
    const offline = await tab.send('/api/bookings')
    assert.equal(offline.error.name, 'TypeError')
    const { error } = await tab.call('refresh')
    assert.deepEqual([error.code, error.retryable], ['offline', true])
    await expectKept(tab, before, 'authenticated')
    assert.equal(await world.refreshes(), 0)
    await tab.page.setOfflineMode(false)
    assert.deepEqual(await tab.burst(5), { 200: 5 })
    assert.deepEqual([await world.refreshes(), (await tab.metrics()).failures], [1, 0])
  })

  // 2.4, 2.8, 4.11: the server goes away and comes back with its sessions.
  scenario('the server restarts', { flags: { db: temporary() }, noise: NOISE }, async (world) => {
    const tab = await world.signedIn('django', {}, { remember: true })
    const before = await record(tab)
    assert.equal(await tab.one(), '200')
    await world.server.stop()
    for (let at = 0; at < 3; at += 1) {
      const { error } = await tab.send('/api/bookings')
      assert.deepEqual([error.name, error.code], ['TypeError', undefined])
    }
    const { error } = await tab.call('refresh')
    assert.ok(error.retryable, error.code)
    await tab.call('refresh')
    assert.equal(await record(tab), before)
    await world.server.start()
    assert.deepEqual(await tab.burst(10), { 200: 10 })
    await world.server.expire()
    await recovers(tab)
    assert.equal((await tab.events('reauth_required')).length, 0)
  })
})

/** The tokens as they are stored, without what the breaker keeps beside them. */
async function record(tab) {
  const { local } = await tab.storage()
  const { access_token, refresh_token, sid, rotation, dead } = JSON.parse(local['keepfresh.default'])
  return JSON.stringify({ access_token, refresh_token, sid, rotation, dead })
}

/** The caller gets the server's own answer, body unread. */
async function expectOwn401(tab) {
  const { status, bodyUsed, url, text, error } = await tab.send('/api/bookings?n=own')
  assert.equal(error, undefined)
  assert.deepEqual([status, bodyUsed], [401, false])
  assert.match(url, /\/api\/bookings\?n=own$/)
  assert.notEqual(text, '')
}

async function expectKept(tab, before, status = 'degraded') {
  const state = await tab.state()
  assert.equal(state.status, status)
  assert.ok(state.session, 'the session is gone')
  assert.equal(await record(tab), before)
  assert.deepEqual(await tab.events('signed_out'), [])
  assert.deepEqual(await tab.events('reauth_required'), [])
}

/** With the trouble over, the session mends itself at the first request after the pause. */
async function recovers(tab, pause = COOLED_DOWN) {
  const opened = await tab.events('circuit_opened')
  await tab.shift(pause)
  assert.deepEqual(await tab.burst(5), { 200: 5 })
  await tab.event('refreshed')
  const { status, error, retryAt } = await tab.state()
  assert.deepEqual([status, error, retryAt], ['authenticated', null, null])
  assert.equal((await tab.events('circuit_closed')).length, opened.length)
}

/** A database file that outlives its server, but not this process. */
function temporary() {
  const directory = mkdtempSync(join(tmpdir(), 'keepfresh-'))
  after(() => rmSync(directory, { recursive: true }))
  return join(directory, 'server.db')
}
