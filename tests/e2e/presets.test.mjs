// Each kind of auth server from sign-in to sign-out.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { ADA, PRESETS, scenario } from './kit.mjs'

/**
 * Makes the server refuse the current token `times` times at `match`. An expired Sanctum token can not be
 * renewed, so there one resource refuses it for a while; the refresh is held back until all have been refused.
 */
async function refuseToken(world, preset, match, times) {
  if (preset !== 'sanctum') return world.server.expire()
  await world.server.fault({ match, times, status: 401, body: '{"message":"Unauthenticated."}' })
  await world.server.fault({ match: PRESETS.sanctum.refresh, delay_ms: 1000 })
}

for (const [preset, { refresh }] of Object.entries(PRESETS)) {
  describe(preset, () => {
    // 1.18, 2.15, 5.11, 6.24
    scenario('signs in, sends 50 requests, signs out', {}, async (world) => {
      const tab = await world.signedIn(preset)
      assert.deepEqual(await tab.burst(50), { 200: 50 })
      assert.match(JSON.stringify(await tab.must('me')), /ada@example\.com/)

      const wire = await world.server.wire()
      const counts = [wire.logins, wire.requests, wire.unauthorized, wire.refreshes, wire.replays]
      assert.deepEqual(counts, [1, 50, 0, 0, 0])
      const used = new Set((await world.server.log('/api/bookings')).map((entry) => entry.token))
      assert.equal(used.size, 1)
      const token = await tab.must('getAccessToken')
      assert.ok(await world.server.accepts(token))

      await tab.must('logout')
      assert.equal((await world.server.wire()).logouts, 1)
      assert.ok(!(await world.server.accepts(token)), 'the session lives on at the server')
      assert.equal((await tab.state()).status, 'signed_out')
      assert.ok(!JSON.stringify(await tab.storage()).includes('access_token'))
      assert.equal(await tab.must('getAccessToken'), null)
      assert.equal(await tab.one(), '401')
      assert.equal((await world.server.log('/api/bookings')).at(-1).token, 'none')
    })

    // 3.12, 3.17, 3.19, 7.2: what 50 answers 401 cost.
    scenario('50 answers 401 cost one refresh and 50 replays', {}, async (world) => {
      const tab = await world.signedIn(preset)
      await refuseToken(world, preset, 'GET /api/bookings', 50)
      assert.deepEqual(await tab.burst(50), { 200: 50 })
      const wire = await world.server.wire()
      assert.deepEqual([wire.unauthorized, wire.refreshes, wire.replays, wire.requests], [50, 1, 50, 100])
      const { unauthorized, refreshes, replays } = await tab.metrics()
      assert.deepEqual([unauthorized, refreshes, replays], [50, 1, 50])
      assert.equal((await tab.state()).status, 'authenticated')
    })

    // 4.9, 7.21: the replay of a POST is the same POST.
    scenario('a body arrives byte for byte after a 401', {}, async (world) => {
      const tab = await world.signedIn(preset)
      await refuseToken(world, preset, 'POST /api/echo', 5)
      const echoed = await tab.run(sendBodies)
      for (const { kind, status, sha256, wanted } of echoed) {
        assert.equal(status, 200, kind)
        if (wanted) assert.equal(sha256, wanted, kind)
      }
      for (const { kind } of echoed) {
        const sends = await world.server.log('/api/echo', `kind=${kind}`)
        assert.deepEqual(
          sends.map((entry) => entry.status),
          [401, 200],
          kind,
        )
        assert.equal(sends[0].body_sha256, sends[1].body_sha256, kind)
      }
      const wire = await world.server.wire()
      assert.deepEqual([wire.replays, wire.refreshes], [5, 1])
    })

    // README: States, events, errors: a wrong password is the caller's business.
    scenario('a refused sign-in changes nothing', {}, async (world) => {
      const tab = await world.tab(preset)
      const wrong = preset === 'oauth2' ? { code: 'none', code_verifier: 'x' } : { ...ADA, password: 'x' }
      const { error } = await tab.call('login', wrong)
      assert.equal(error.code, 'rejected')
      assert.ok(error.status >= 400 && error.status < 500, String(error.status))
      assert.equal((await tab.state()).status, 'anonymous')
      assert.deepEqual((await world.server.wire()).refreshes, 0)
    })

    // 5.11: ends the sessions of other devices too, where the server can do that.
    scenario('signs out everywhere', {}, async (world) => {
      const tab = await world.signedIn(preset)
      const elsewhere = await world.signedIn(preset, {}, { profile: await world.profile() })
      const theirs = await elsewhere.must('getAccessToken')
      if (preset === 'oauth2') {
        const { error } = await tab.call('logoutAll')
        assert.deepEqual([error.code, error.field], ['config', 'endpoints.logoutAll'])
        assert.equal((await tab.state()).status, 'authenticated')
        return
      }
      const result = await tab.must('logoutAll')
      assert.equal(result.confirmed, true)
      assert.ok(result.revokedCount >= 2, String(result.revokedCount))
      assert.equal((await tab.state()).status, 'signed_out')
      assert.ok(!(await world.server.accepts(theirs)))
      assert.equal(await elsewhere.one(), '401')
      assert.equal((await elsewhere.state()).status, 'reauth_required')
      assert.ok((await world.server.wire()).by_path[refresh]?.['200'] === undefined)
    })
  })
}

// 1.11, 5.18: with a lifetime of 12 s the token is renewed at half of it, with nobody asking.
scenario(
  'all three renew their tokens ahead of time',
  { flags: { 'short-lived': 12, 'access-lifetime': 12 } },
  async (world) => {
    const tabs = await Promise.all(
      Object.keys(PRESETS).map(async (preset) =>
        world.signedIn(preset, {}, { profile: await world.profile() }),
      ),
    )
    for (const tab of tabs) {
      assert.equal((await tab.event('refreshed')).elsewhere, false)
      const age = await tab.run(() => {
        const first = harness.snapshots.find((snapshot) => snapshot.session)
        return harness.eventAt('refreshed') - first.session.issuedAt
      })
      assert.ok(age > 5000 && age < 8000, `renewed at an age of ${age} ms`)
    }
    for (const tab of tabs) assert.deepEqual(await tab.burst(20), { 200: 20 })
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.refreshes_ok, wire.unauthorized], [3, 3, 0])
  },
)

// 1.18, 7.27: a Sanctum token that expired on the server can not be renewed; nobody tries again.
scenario('an expired Sanctum token asks for a new sign-in', {}, async (world) => {
  const tab = await world.signedIn('sanctum')
  await world.server.expire()
  assert.deepEqual(await tab.burst(20), { 401: 20 })
  assert.deepEqual(await tab.event('reauth_required'), { reason: 'expired' })
  assert.equal((await tab.state()).status, 'reauth_required')
  assert.deepEqual(await tab.burst(20), { 401: 20 })
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.replays], [1, 0])
  assert.equal((await tab.events('reauth_required')).length, 1)

  await world.login(tab, 'sanctum')
  assert.deepEqual(await tab.burst(20), { 200: 20 })
})

/** In the page: each kind of body once; those with a known text with their hash. */
async function sendBodies() {
  const text = JSON.stringify({ note: 'ü € 𝄞', list: [1, 2, 3] })
  const bytes = new TextEncoder().encode(text)
  const form = new FormData()
  form.set('field', 'value')
  form.set('file', new Blob(['contents'], { type: 'text/plain' }), 'a.txt')
  const hash = async (data) =>
    [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('')
  const wanted = await hash(bytes)
  const parameters = new URLSearchParams({ a: '1 2', b: 'ü' })
  const bodies = {
    text: [text, wanted],
    blob: [new Blob([bytes], { type: 'application/json' }), wanted],
    bytes: [bytes, wanted],
    parameters: [parameters, await hash(new TextEncoder().encode(String(parameters)))],
    // Its boundary is chosen by the browser.
    form: [form, null],
  }
  return Promise.all(
    Object.entries(bodies).map(async ([kind, [body, wanted]]) => {
      const response = await client.fetch(`/api/echo?kind=${kind}`, { method: 'POST', body })
      const { sha256 } = await response.json()
      return { kind, status: response.status, sha256, wanted }
    }),
  )
}
