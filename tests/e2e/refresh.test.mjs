// One refresh for all who wait, and nobody's abort, storm or farewell spoils it.
import assert from 'node:assert/strict'
import { eventually, PRESETS, scenario } from './kit.mjs'

/** Tokens live an hour here, so this many ms later they are within their lead. */
const PAST_LEAD = 3_500_000

for (const preset of Object.keys(PRESETS)) {
  // 1.11, 5.21, 7.1, 7.17: nobody sends a token that is due for renewal; no timer is needed for that.
  scenario(`${preset}: 50 requests past the lead wait for one refresh`, {}, async (world) => {
    const init = () => {
      window.setTimeout = () => 0
    }
    const tab = await world.signedIn(preset, {}, { init })
    const before = await tab.burst(1)
    await tab.shift(PAST_LEAD)
    assert.deepEqual([before, await tab.burst(50)], [{ 200: 1 }, { 200: 50 }])

    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.unauthorized, wire.requests], [1, 0, 51])
    const tokens = (await world.server.log('/api/bookings')).map((entry) => entry.token)
    assert.equal(new Set(tokens).size, 2)
    assert.ok(
      tokens.slice(1).every((token) => token !== tokens[0]),
      'the old token was sent',
    )
    assert.deepEqual(await tab.burst(50), { 200: 50 })
    assert.equal(await world.refreshes(), 1)
  })
}

// 7.27: a Sanctum token dies the moment its successor is made, so requests wait for a refresh on its way.
scenario('requests that begin during a refresh wait for it', {}, async (world) => {
  const tab = await world.signedIn('sanctum')
  await world.server.fault({ match: PRESETS.sanctum.refresh, delay_after_ms: 500, times: 1 })
  await tab.shift(PAST_LEAD)
  const [first, others] = await Promise.all([
    tab.burst(1),
    tab.status('refreshing').then(() => tab.burst(50)),
  ])
  assert.deepEqual([first, others], [{ 200: 1 }, { 200: 50 }])
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.unauthorized], [1, 0])
})

// 2.2, 3.12, 7.3: a 401 for a token that has been replaced since then, even with code TOKEN_REVOKED.
scenario('a straggling 401 is replayed without a refresh', {}, async (world) => {
  const tab = await world.signedIn('sanctum')
  const body = '{"message":"The token has been revoked.","code":"TOKEN_REVOKED"}'
  await world.server.fault({ match: 'GET /api/slow', times: 1, delay_ms: 700, status: 401, body })
  const [late] = await Promise.all([tab.send('/api/slow?ms=0'), tab.must('refresh')])
  assert.equal(late.status, 200)
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.replays], [1, 1])
  assert.equal((await tab.state()).status, 'authenticated')
})

// 2.13, 3.10, 7.4: an endpoint that answers 401 to everybody gets one replay each, and never a loop.
scenario('a resource that always answers 401 makes no storm', {}, async (world) => {
  const tab = await world.signedIn('django')
  for (let at = 0; at < 8; at += 1) {
    const answer = await tab.send(`/api/always-401?at=${at}`)
    assert.deepEqual([answer.status, answer.bodyUsed], [401, false])
    assert.match(answer.text, /Unauthenticated/)
  }
  const wire = await world.server.wire()
  assert.ok(wire.refreshes <= 3, `${wire.refreshes} refreshes`)
  assert.ok(wire.requests <= 8 + 3, `${wire.requests} requests`)
  const { reason } = await tab.event('circuit_opened')
  assert.equal(reason, 'fresh_token_rejected')
  assert.equal((await tab.state()).status, 'degraded')
  // The session is fine, everything else goes on.
  assert.deepEqual(await tab.burst(10), { 200: 10 })
})

// 4.15, 4.16, 7.5
scenario('one of ten waiters aborts, the others get their answers', {}, async (world) => {
  const tab = await world.signedIn('oauth2')
  await world.server.expire()
  await world.server.fault({ match: PRESETS.oauth2.refresh, delay_ms: 600 })
  const result = await tab.run(async () => {
    const controller = new AbortController()
    const reason = { mine: true }
    const sends = Array.from({ length: 10 }, (_, at) =>
      client.fetch(`/api/bookings?n=w${at}`, at === 3 ? { signal: controller.signal } : {}),
    )
    await new Promise((resolve) => {
      const stop = client.subscribe(() => {
        if (client.state.status !== 'refreshing') return
        stop()
        resolve()
      })
    })
    controller.abort(reason)
    const aborted = await sends[3].then(
      () => 'answered',
      (error) => (error === reason ? `aborted while ${client.state.status}` : String(error)),
    )
    const rest = await Promise.all(sends.filter((_, at) => at !== 3))
    return { aborted, statuses: rest.map((response) => response.status) }
  })
  assert.equal(result.aborted, 'aborted while refreshing')
  assert.deepEqual(result.statuses, Array(9).fill(200))
  assert.equal(await world.refreshes(), 1)
  const { length } = await world.server.log('/api/bookings', 'n=w3')
  assert.ok(length <= 1, 'the aborted request was replayed')
})

// 4.16: a rotation that nobody waits for any more is still kept, or the session would be lost.
scenario('all waiters abort, the refresh is kept all the same', {}, async (world) => {
  const tab = await world.signedIn('oauth2')
  await world.server.expire()
  await world.server.fault({ match: PRESETS.oauth2.refresh, delay_after_ms: 500 })
  const outcomes = await tab.run(async () => {
    const signal = AbortSignal.timeout(400)
    const sends = Array.from({ length: 5 }, (_, at) =>
      client.fetch(`/api/bookings?n=a${at}`, { signal }).then(
        (response) => response.status,
        (error) => error.name,
      ),
    )
    return Promise.all(sends)
  })
  assert.deepEqual(outcomes, Array(5).fill('TimeoutError'))
  await tab.event('refreshed')
  assert.deepEqual(await tab.burst(10), { 200: 10 })
  assert.equal(await world.refreshes(), 1)
})

// 4.5: what is sent while the page goes away can not wait, and arrives with the token.
scenario('a keepalive request at pagehide arrives with its token', {}, async (world) => {
  const tab = await world.signedIn('django')
  await tab.run(() => {
    addEventListener('pagehide', () => {
      client.fetch('/api/echo?at=pagehide', { method: 'POST', body: 'bye', keepalive: true })
    })
  })
  await tab.page.goto('about:blank')
  const [entry] = await eventually(async () => {
    const log = await world.server.log('/api/echo', 'at=pagehide')
    return log[0]?.status ? log : null
  })
  assert.deepEqual([entry.status, entry.user], [200, 'ada@example.com'])
})

// known-failures 47: after dispose() nothing is sent, nothing is heard, and the stored session stays.
scenario('a disposed client is silent and leaves the session alone', {}, async (world) => {
  const tab = await world.signedIn('django', {}, { remember: true })
  const before = await tab.storage()
  await tab.run(() => client.dispose())
  await tab.shift(PAST_LEAD)
  for (const [method, ...given] of [['me'], ['refresh'], ['login', {}], ['logout'], ['getAccessToken']]) {
    const { error } = await tab.call(method, ...given)
    assert.equal(error?.code, 'disposed', method)
  }
  assert.equal(await tab.one(), 'disposed')
  await tab.run(() => dispatchEvent(new Event('focus')))
  const wire = await world.server.wire()
  assert.deepEqual([wire.requests, wire.refreshes, wire.logouts], [0, 0, 0])
  assert.deepEqual(await tab.storage(), before)
  await tab.reload()
  assert.equal(await tab.one(), '200')
})

// known-failures 17, 18, 19: listeners may do what they like.
scenario('listeners call the client and throw, and nothing hangs', { noise: /./ }, async (world) => {
  const tab = await world.signedIn('django')
  const errors = []
  tab.page.removeAllListeners('pageerror')
  // Each browser puts words of its own in front.
  tab.page.on('pageerror', (error) => errors.push(error.message.replace(/^.*Error: /, '')))
  await tab.run(() => {
    window.inside = new Promise((resolve) => {
      client.on('refreshed', () => {
        throw new Error('of a listener')
      })
      client.on('refreshed', async () => {
        const session = await client.getSession()
        const response = await client.fetch('/api/bookings?n=inside')
        if (harness.events('refreshed').length === 1) await client.refresh()
        resolve([session !== null, response.status])
      })
    })
  })
  await world.server.expire()
  assert.deepEqual(await tab.burst(5), { 200: 5 })
  assert.deepEqual(await tab.run(() => window.inside), [true, 200])
  assert.equal(await world.refreshes(), 2)
  assert.deepEqual(new Set(errors), new Set(['of a listener']))
})

// 1.9, 7.18, known-failures 33: whatever the server's clock says, there is at most the first 401.
for (const [name, offset, no_expose] of [
  ['10 min ahead', 600, false],
  ['10 min behind', -600, false],
  ['10 min ahead, Date hidden', 600, true],
  ['10 min behind, Date hidden', -600, true],
]) {
  scenario(`a server clock ${name} makes no storm`, {}, async (world) => {
    await world.server.clock(offset)
    if (no_expose) await world.server.fault({ match: '*', no_expose })
    const tabs = []
    for (const preset of Object.keys(PRESETS)) {
      tabs.push(await world.signedIn(preset, {}, { profile: await world.profile() }))
    }
    for (const tab of tabs) {
      assert.deepEqual(await tab.burst(10), { 200: 10 })
      const { expiresAt } = await tab.must('refresh')
      // Never later than it is, and where nothing tells the skew, 1.7 believes the earliest source.
      const off = expiresAt - Date.now() - 3_600_000
      const least = no_expose ? Math.min(0, offset) * 1000 - 5000 : -5000
      assert.ok(off < 5000 && off > least, `the end is off by ${off} ms`)
      assert.deepEqual(await tab.burst(10), { 200: 10 })
    }
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.unauthorized], [3, 0])
  })
}

// 7.18: the server's clock jumps and its tokens end early: one 401 for each request under way, no more.
scenario('a server clock that jumps ahead costs one refresh', {}, async (world) => {
  await world.server.lifetimes({ access_lifetime: 300 })
  const tab = await world.signedIn('django')
  assert.deepEqual(await tab.burst(5), { 200: 5 })
  await world.server.clock(600)
  assert.deepEqual(await tab.burst(10), { 200: 10 })
  for (let at = 0; at < 3; at += 1) assert.deepEqual(await tab.burst(10), { 200: 10 })
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.unauthorized], [1, 10])
  await world.server.clock(-600)
  assert.deepEqual(await tab.burst(10), { 200: 10 })
  assert.equal(await world.refreshes(), 1)
})
