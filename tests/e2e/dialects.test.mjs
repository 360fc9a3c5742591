// The kinds of auth server that spell things their own way, on the wire.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { Server } from './kit/server.mjs'
import { ADA, API_KEY, DIALECTS, scenario } from './kit.mjs'

const REMEMBER = { remember: true }
/** What the console says of requests that CORS stops; some are meant to be. */
const NOISE = /blocked by CORS policy|net::ERR_|Cross-Origin Request Blocked|CORS/

for (const [kind, { refresh }] of Object.entries(DIALECTS)) {
  describe(kind, () => {
    // 1.18, 3.17, 3.19, 5.11, 7.2: from sign-in to sign-out
    scenario('50 answers 401 cost one refresh and 50 replays, and a sign-out ends it', {}, async (world) => {
      const tab = await world.signedIn(kind)
      assert.deepEqual(await tab.burst(10), { 200: 10 })
      await world.server.expire()
      assert.deepEqual(await tab.burst(50), { 200: 50 })
      const wire = await world.server.wire()
      assert.deepEqual(
        [wire.logins, wire.requests, wire.unauthorized, wire.refreshes_ok, wire.replays],
        [1, 110, 50, 1, 50],
      )
      const token = await tab.must('getAccessToken')
      assert.equal(token === null, kind === 'cookie')
      await tab.must('logout')
      assert.equal((await tab.state()).status, 'signed_out')
      assert.equal(await tab.one(), '401')
      const last = (await world.server.log('/api/bookings')).at(-1)
      assert.equal(last.token, 'none')
    })

    // 5.5, 7.9, known-failures 12
    scenario('20 requests each in two tabs on an expired token refresh once', {}, async (world) => {
      const one = await world.signedIn(kind, {}, REMEMBER)
      const two = await world.tab(kind)
      assert.equal((await two.state()).status, 'authenticated')
      await world.server.expire()
      assert.deepEqual(await Promise.all([one.burst(20), two.burst(20)]), [{ 200: 20 }, { 200: 20 }])
      assert.equal((await world.server.wire()).refreshes, 1)
    })

    // 2.2, 2.10, 2.15: the session was ended at the server
    scenario('a refused credential asks for a sign-in, once, and is not sent again', {}, async (world) => {
      const tab = await world.signedIn(kind)
      await world.server.revoke()
      assert.deepEqual(await tab.burst(10), { 401: 10 })
      await tab.event('reauth_required')
      assert.deepEqual(await tab.burst(5), { 401: 5 })
      assert.equal((await tab.events('reauth_required')).length, 1)
      assert.equal((await world.server.wire()).refreshes_rejected, 1)
      const { status, ended } = await tab.state()
      assert.equal(status, 'reauth_required')
      assert.ok(['expired', 'revoked'].includes(ended.reason), ended.reason)
      assert.ok(ended.status >= 400, String(ended.status))
      await world.login(tab, kind)
      assert.equal(await tab.one(), '200')
      assert.equal((await tab.state()).ended, null)
    })

    // 2.4, 2.5: the server is down for a moment
    scenario('an outage signs nobody out', {}, async (world) => {
      const tab = await world.signedIn(kind)
      await world.server.expire()
      await world.server.fault({ match: refresh, status: 503, times: 1 })
      assert.deepEqual(await tab.burst(5), { 200: 5 })
      assert.equal((await tab.events('reauth_required')).length, 0)
      assert.equal((await tab.state()).status, 'authenticated')
    })
  })
}

// 1.18: Passport on league/oauth2-server 8.x says 401 invalid_request where 9.x says 400 invalid_grant
for (const league of [8, 9]) {
  scenario(`passport on league ${league}: a revoked refresh token`, {}, async (world) => {
    await world.server.switch({ league })
    const tab = await world.signedIn('passport')
    await world.server.revoke()
    assert.equal(await tab.one(), '401')
    const { ended, session } = await tab.state()
    assert.deepEqual([ended.reason, ended.status, session], ['expired', league === 8 ? 401 : 400, null])
  })
}

// 1.12, 1.18: simplejwt keeps its refresh token unless told to rotate
for (const simplejwt_rotate of [false, true]) {
  scenario(`simplejwt, rotating: ${simplejwt_rotate}`, {}, async (world) => {
    await world.server.switch({ simplejwt_rotate })
    const tab = await world.signedIn('simplejwt', {}, REMEMBER)
    for (let round = 0; round < 3; round += 1) {
      await world.server.expire()
      assert.deepEqual(await tab.burst(3), { 200: 3 })
    }
    await tab.reload()
    await tab.must('refresh')
    assert.deepEqual(
      [(await world.server.wire()).refreshes_ok, (await tab.state()).status],
      [4, 'authenticated'],
    )
  })
}

// 1.18: GoTrue's codes, wherever they are
for (const gotrue_code of ['error_code', 'header', 'code', 'number']) {
  scenario(`supabase: a dead refresh token, its code in ${gotrue_code}`, {}, async (world) => {
    await world.server.switch({ gotrue_code })
    const tab = await world.signedIn('supabase')
    await world.server.revoke()
    assert.equal(await tab.one(), '401')
    // Without a code, a 400 may be anybody's: it takes three of them (2.1).
    const over = gotrue_code !== 'number'
    assert.equal((await tab.state()).status === 'reauth_required', over)
    assert.equal((await tab.events('reauth_required')).length, over ? 1 : 0)
  })
}

// 6.6: the gateway's key goes where the auth server is, and nowhere else
scenario('supabase: the key goes to its own origin only', { noise: NOISE }, async (world) => {
  const tab = await world.signedIn('supabase', { allowedOrigins: [world.server.www] })
  const keys = []
  tab.page.on('request', (request) => keys.push([new URL(request.url()).origin, request.headers().apikey]))
  assert.equal((await tab.send('/supabase/rest/v1/bookings')).status, 200)
  await tab.send(`${world.server.www}/bare.html`)
  assert.ok(keys.some(([origin, key]) => origin === world.server.api && key === API_KEY))
  assert.deepEqual(
    keys.filter(([origin]) => origin !== world.server.api).map(([, key]) => key),
    [undefined],
  )
})

describe('cookie mode', () => {
  // 6.26, 7.28: no script sees a token
  scenario('no token text reaches the page', {}, async (world) => {
    const tab = await world.signedIn('cookie', {}, REMEMBER)
    await world.server.expire()
    assert.deepEqual(await tab.burst(5), { 200: 5 })
    assert.equal(await tab.must('getAccessToken'), null)
    const seen = await tab.run(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, client.state]),
    )
    world.secrets.say('page', seen)
    const log = await world.server.log('/api/bookings')
    assert.ok(log.every((entry) => entry.token !== 'none'))
  })

  for (const status of [419, 403]) {
    // 2.5, 6.22, 7.28, known-failures 55: Laravel's word for a stale CSRF token, and Django's
    scenario(
      `${status} at the refresh costs one more fetch of the CSRF token and one more call`,
      {},
      async (world) => {
        const tab = await world.signedIn('cookie')
        await world.server.resetWire()
        await world.server.fault({ match: DIALECTS.cookie.refresh, status, times: 1 })
        await tab.must('refresh')
        const paths = (await world.server.log()).map((entry) => `${entry.path} ${entry.status}`)
        assert.deepEqual(paths, [
          `/cookie/refresh ${status}`,
          '/cookie/sanctum/csrf-cookie 204',
          '/cookie/refresh 200',
        ])
        assert.equal((await tab.state()).status, 'authenticated')
      },
    )
  }

  // 2.7, 6.22, known-failures 55: a POST of the app's own
  scenario('a POST that meets 419 is sent once more, byte for byte', {}, async (world) => {
    const tab = await world.signedIn('cookie')
    await world.server.fault({ match: 'POST /api/echo', status: 419, times: 1 })
    const sent = await tab.send('/api/echo', { method: 'POST', body: 'seven rooms', credentials: 'include' })
    assert.equal(sent.status, 200)
    const log = await world.server.log('/api/echo')
    assert.deepEqual(
      log.map((entry) => entry.status),
      [419, 200],
    )
    assert.equal(log[0].body_sha256, log[1].body_sha256)
    assert.equal((await world.server.log('/cookie/sanctum/csrf-cookie')).length, 2)
  })

  // 6.22: the token changes with a refresh, and the replay has the new one
  scenario('the replay after a refresh carries the new CSRF token', {}, async (world) => {
    const tab = await world.signedIn('cookie')
    await world.server.expire()
    const sent = await tab.send('/api/echo', { method: 'POST', body: 'x', credentials: 'include' })
    assert.equal(sent.status, 200)
    const log = await world.server.log('/api/echo')
    assert.deepEqual(
      log.map((entry) => entry.status),
      [401, 200],
    )
  })

  // 6.21, 7.28: a page that is not trusted
  scenario('a page of another origin cannot make it refresh', { noise: NOISE }, async (world) => {
    await world.signedIn('cookie', {}, REMEMBER)
    await world.server.switch({ strict_origins: true })
    const elsewhere = await Server.start()
    try {
      const other = await world.blank('cookie')
      await other.page.goto(`${elsewhere.www}/bare.html`)
      const outcomes = await other.run(async (api) => {
        const call = (headers) =>
          fetch(`${api}/cookie/refresh`, { method: 'POST', credentials: 'include', headers }).then(
            (response) => response.status,
            () => 'blocked',
          )
        return [await call({ 'X-Requested-With': 'XMLHttpRequest' }), await call({})]
      }, world.server.api)
      assert.deepEqual(outcomes, ['blocked', 'blocked'])
      assert.equal((await world.server.wire()).refreshes_ok, 0)
    } finally {
      await elsewhere.stop()
    }
  })

  // known-failures 39: a refresh under way would put new cookies in place of the removed ones
  scenario('a sign-out during a refresh leaves no cookie that works', {}, async (world) => {
    const tab = await world.signedIn('cookie')
    await world.server.expire()
    await world.server.fault({ match: DIALECTS.cookie.refresh, delay_after_ms: 500 })
    const waiting = tab.burst(3)
    await tab.status('refreshing')
    await tab.must('logout')
    await waiting
    const status = await tab.run(async (api) => {
      const response = await fetch(`${api}/api/bookings`, { credentials: 'include' })
      return response.status
    }, world.server.api)
    assert.equal(status, 401)
    assert.equal((await tab.state()).status, 'signed_out')
  })

  // known-failures 59: storage was cleared, the cookies are still there
  scenario('refresh() finds the session of cookies that outlived the storage', {}, async (world) => {
    const tab = await world.signedIn('cookie')
    await tab.run(() => localStorage.clear())
    await tab.reload()
    assert.equal((await tab.state()).status, 'anonymous')
    await tab.must('refresh')
    assert.equal((await tab.state()).status, 'authenticated')
    assert.equal(await tab.one(), '200')
    await tab.must('logout')
    const { error } = await tab.call('refresh')
    assert.equal(error.code, 'not_signed_in')
  })

  // 2.1: a wrong password is the caller's business
  scenario('a refused sign-in changes nothing', {}, async (world) => {
    const tab = await world.tab('cookie')
    const { error } = await tab.call('login', { ...ADA, password: 'wrong' })
    assert.equal(error.code, 'rejected')
    assert.equal((await tab.state()).status, 'anonymous')
  })
})
