// Several tabs of one person, one session.
import assert from 'node:assert/strict'
import { ADA, GRACE, PRESETS, scenario } from './kit.mjs'

const PAST_LEAD = 3_500_000
const REMEMBER = { remember: true }

// 5.5, 7.9, known-failures 12: two tabs, one expired token, one refresh.
for (const preset of ['django', 'oauth2']) {
  scenario(`${preset}: 20 requests each in two tabs on an expired token`, {}, async (world) => {
    const one = await world.signedIn(preset, {}, REMEMBER)
    const two = await world.tab(preset)
    assert.equal((await two.state()).status, 'authenticated')
    await world.server.expire()
    const outcomes = await Promise.all([one.burst(20), two.burst(20)])
    assert.deepEqual(outcomes, [{ 200: 20 }, { 200: 20 }])
    assert.equal(await world.refreshes(), 1)
    const metrics = await Promise.all([one.metrics(), two.metrics()])
    assert.equal(metrics[0].refreshes + metrics[1].refreshes, 1)
    assert.equal(metrics[0].adopted + metrics[1].adopted, 1)
  })
}

// 7.27: the same for Sanctum, where it has to happen before the token ends.
scenario('sanctum: 20 requests each in two tabs past the lead', {}, async (world) => {
  const tabs = [await world.signedIn('sanctum', {}, REMEMBER), await world.tab('sanctum')]
  for (const tab of tabs) await tab.shift(PAST_LEAD)
  const outcomes = await Promise.all(tabs.map((tab) => tab.burst(20)))
  assert.deepEqual(outcomes, [{ 200: 20 }, { 200: 20 }])
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.unauthorized], [1, 0])
})

// 2.15, 5.8, 5.11, known-failures 43
scenario('a sign-out in one tab signs the others out within a second', {}, async (world) => {
  const tabs = [await world.signedIn('sanctum', {}, REMEMBER), await world.tab('sanctum')]
  tabs.push(await world.tab('sanctum'))
  const [here, ...others] = tabs
  const began = await here.run(() => {
    const now = Date.now()
    client.logout()
    return now
  })
  for (const tab of others) {
    assert.deepEqual(await tab.event('signed_out'), { elsewhere: true })
    const took = (await tab.run(() => harness.eventAt('signed_out'))) - began
    assert.ok(took < 1000, `${took} ms`)
  }
  for (const tab of others) {
    assert.equal((await tab.state()).status, 'signed_out')
    assert.equal(await tab.one(), '401')
  }
  const log = await world.server.log('/api/bookings')
  assert.ok(log.every((entry) => entry.token === 'none'))
  await here.until(() => client.metrics().signOuts === 1)
  assert.equal((await world.server.wire()).logouts, 1)
})

// 5.8: a sign-in is followed, with the person.
scenario('a sign-in in one tab signs the others in', {}, async (world) => {
  const [one, two] = [await world.tab('django'), await world.tab('django')]
  await world.login(one, 'django', REMEMBER)
  assert.deepEqual(await two.event('signed_in'), { elsewhere: true })
  const { status, session } = await two.state()
  assert.deepEqual([status, session.user.email, session.remember], ['authenticated', ADA.email, true])
  assert.equal(await two.one(), '200')
})

// 5.12: another person takes over.
scenario('another person signing in raises user_changed', {}, async (world) => {
  const [one, two] = [await world.signedIn('django', {}, REMEMBER), await world.tab('django')]
  await world.login(one, 'django', { person: GRACE, remember: true })
  assert.deepEqual(await two.event('user_changed'), {})
  assert.equal((await two.state()).session.user.email, GRACE.email)
  await two.burst(5)
  const log = await world.server.log('/api/bookings')
  assert.ok(log.every((entry) => entry.user === GRACE.email))
})

// 3.8, 5.12, 7.14: what Ada asked for is never sent as Grace.
scenario('requests of one person are not replayed as another', {}, async (world) => {
  const [one, two] = [await world.signedIn('django', {}, REMEMBER), await world.tab('django')]
  await world.server.expire()
  await world.server.fault({ match: PRESETS.django.refresh, delay_ms: 700, times: 1 })
  const waiting = two.burst(10)
  await two.status('refreshing')
  await world.login(one, 'django', { person: GRACE, remember: true })
  assert.deepEqual(await waiting, { 401: 10 })
  await two.event('user_changed')
  const log = await world.server.log('/api/bookings')
  assert.equal(log.length, 10)
  assert.ok(log.every((entry) => entry.user === ADA.email))
  assert.equal(await two.one(), '200')
  assert.equal((await world.server.log('/api/bookings')).at(-1).user, GRACE.email)
})

// 6.3: what `remember` promises, and what its absence does.
for (const preset of Object.keys(PRESETS)) {
  scenario(`${preset}: a remembered session is everywhere`, {}, async (world) => {
    const one = await world.signedIn(preset, {}, REMEMBER)
    assert.equal((await one.state()).persisted, 'local')
    await one.reload()
    assert.equal(await one.one(), '200')
    await one.close()
    const later = await world.tab(preset)
    assert.equal((await later.state()).status, 'authenticated')
    assert.deepEqual(await later.burst(5), { 200: 5 })
    assert.deepEqual([await world.refreshes(), (await world.server.wire()).unauthorized], [0, 0])
  })

  scenario(`${preset}: without remember it is this tab's alone`, {}, async (world) => {
    const one = await world.signedIn(preset)
    assert.equal((await one.state()).persisted, 'session')
    await one.reload()
    assert.equal(await one.one(), '200')
    const other = await world.tab(preset)
    const stranger = await world.tab(preset, {}, { profile: await world.profile() })
    for (const tab of [other, stranger]) {
      assert.equal((await tab.state()).status, 'anonymous')
      assert.equal(await tab.one(), '401')
    }
    const { local } = await one.storage()
    assert.ok(!JSON.stringify(local).includes('access_token'))
  })
}

// 5.5, 7.9, known-failures 12: all tabs of a restored window start at once.
for (const preset of Object.keys(PRESETS)) {
  scenario(`${preset}: ten tabs loaded at once on an expiring token`, {}, async (world) => {
    const first = await world.signedIn(preset, {}, REMEMBER)
    // As if nearly an hour had passed with no tab open.
    const stored = await first.run(() => ({ ...localStorage }))
    await first.page.goto('about:blank')
    await first.close()
    first.profile.addInitScript(ageOnce, stored)
    const tabs = await Promise.all(Array.from({ length: 10 }, () => world.blank(preset)))
    const outcomes = await Promise.all(
      tabs.map(async (tab) => {
        await tab.open({ wait: false })
        return tab.burst(3)
      }),
    )
    assert.deepEqual(outcomes, Array(10).fill({ 200: 3 }))
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.unauthorized], [1, 0])
  })
}

// 5.15, 7.9: the same in a browser without Web Locks, and in one that has only localStorage to agree in. There
// two tabs may both win if storage is slow, so it is not for tokens that are good for one use.
for (const [name, preset, cripple, most] of [
  ['without Web Locks', 'oauth2', withoutLocks, 1],
  ['with localStorage alone', 'django', withLocalStorageAlone, 2],
]) {
  scenario(`ten tabs ${name}`, {}, async (world) => {
    const first = await world.signedIn(preset, {}, REMEMBER)
    const stored = await first.run(() => ({ ...localStorage }))
    await first.close()
    first.profile.addInitScript(ageOnce, stored)
    first.profile.addInitScript(cripple)
    const tabs = await Promise.all(Array.from({ length: 10 }, () => world.blank(preset)))
    const outcomes = await Promise.all(
      tabs.map(async (tab) => {
        await tab.open({ wait: false })
        return tab.burst(3)
      }),
    )
    assert.deepEqual(outcomes, Array(10).fill({ 200: 3 }))
    const wire = await world.server.wire()
    assert.ok(wire.refreshes >= 1 && wire.refreshes <= most, `${wire.refreshes} refreshes`)
    assert.equal(wire.unauthorized, 0)
  })
}

// 5.1, 7.10: who dies with the lock in hand leaves it to the next.
scenario('a tab that is closed during its refresh blocks nobody', {}, async (world) => {
  const [one, two] = [await world.signedIn('django', {}, REMEMBER), await world.tab('django')]
  await world.server.expire()
  await world.server.fault({ match: PRESETS.django.refresh, delay_ms: 60_000, times: 1 })
  one.burst(1).catch(() => {})
  await one.status('refreshing')
  const waiting = two.burst(10)
  await two.status('refreshing')
  await one.close()
  const began = Date.now()
  assert.deepEqual(await waiting, { 200: 10 })
  assert.ok(Date.now() - began < 5000)
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.refreshes_ok], [2, 1])
})

// 5.5, 7.8, known-failures 12 and 21: Chromium hands a lock on faster than what was written under it. A tab
// that waited for the lock may still read the old record, and must not spend the old refresh token on it.
scenario('oauth2: storage that arrives later than the lock', {}, async (world) => {
  const one = await world.signedIn('oauth2', {}, REMEMBER)
  const two = await world.tab('oauth2', {}, { init: seeOthersLate })
  for (const tab of [one, two]) await tab.shift(PAST_LEAD)
  await world.server.fault({ match: PRESETS.oauth2.refresh, delay_ms: 500, times: 1 })
  const first = one.burst(5)
  await one.status('refreshing')
  assert.deepEqual([await two.burst(5), await first], [{ 200: 5 }, { 200: 5 }])
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.refreshes_rejected], [1, 0])
})

// 3.15, 7.27: revoked means over, everywhere, and nobody asks for a new token.
scenario('sanctum: a revoked token ends the session in all tabs', {}, async (world) => {
  const tabs = [await world.signedIn('sanctum', {}, REMEMBER), await world.tab('sanctum')]
  await world.server.revoke()
  assert.deepEqual(await tabs[0].burst(10), { 401: 10 })
  for (const tab of tabs) {
    assert.deepEqual(await tab.event('reauth_required'), { reason: 'revoked' })
    assert.equal((await tab.state()).status, 'reauth_required')
    assert.equal(await tab.one(), '401')
    assert.equal((await tab.events('reauth_required')).length, 1)
  }
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.replays], [0, 0])
  assert.ok(!JSON.stringify(await tabs[0].storage()).includes('access_token'))

  await world.login(tabs[0], 'sanctum', REMEMBER)
  await tabs[1].event('signed_in')
  assert.equal(await tabs[1].one(), '200')
})

// 2.10, 2.15: a dead refresh token is sent once and never again.
for (const preset of ['django', 'oauth2']) {
  scenario(`${preset}: a revoked refresh token is tried exactly once`, {}, async (world) => {
    const tabs = [await world.signedIn(preset, {}, REMEMBER), await world.tab(preset)]
    await world.server.revoke()
    assert.deepEqual(await tabs[0].burst(10), { 401: 10 })
    for (const tab of tabs) await tab.event('reauth_required')
    for (const tab of tabs) assert.deepEqual(await tab.burst(20), { 401: 20 })
    const third = await world.tab(preset)
    assert.deepEqual(await third.burst(5), { 401: 5 })
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.refreshes_rejected, wire.replays], [1, 1, 0])
    for (const tab of tabs) assert.equal((await tab.events('reauth_required')).length, 1)
  })
}

/** Runs in each page of the profile before its scripts: the first one finds the session almost over. */
function ageOnce(stored) {
  if (location.protocol !== 'http:' || localStorage.getItem('aged')) return
  localStorage.setItem('aged', 'yes')
  for (const [key, text] of Object.entries(stored)) {
    const record = JSON.parse(text)
    if (!record.access_token) continue
    const life = record.expires_at - record.issued_at
    record.expires_at = Date.now() + 60_000
    record.issued_at = record.expires_at - life
    localStorage.setItem(key, JSON.stringify(record))
  }
}

/** Runs in each page before its scripts. */
function withoutLocks() {
  delete Navigator.prototype.locks
}

/** Runs in each page before its scripts. */
function withLocalStorageAlone() {
  delete Navigator.prototype.locks
  Object.defineProperty(window, 'indexedDB', { value: undefined })
}

/** Runs in a page before its scripts: what other tabs write shows 50 ms late, event included. */
function seeOthersLate() {
  if (location.protocol !== 'http:') return
  const { getItem, setItem, removeItem } = Storage.prototype
  const seen = new Map()
  Storage.prototype.getItem = function (key) {
    if (this !== localStorage) return getItem.call(this, key)
    if (!seen.has(key)) seen.set(key, getItem.call(this, key))
    return seen.get(key)
  }
  for (const [name, write] of Object.entries({ setItem, removeItem })) {
    Storage.prototype[name] = function (key, ...value) {
      if (this === localStorage) seen.delete(key)
      return write.call(this, key, ...value)
    }
  }
  addEventListener('storage', (event) => {
    if (!event.isTrusted) return
    event.stopImmediatePropagation()
    setTimeout(() => {
      seen.delete(event.key)
      dispatchEvent(new StorageEvent('storage', { key: event.key, newValue: event.newValue }))
    }, 50)
  })
}
