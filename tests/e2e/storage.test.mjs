// Stored sessions: untrusted, sometimes blocked, never lost by accident.
import assert from 'node:assert/strict'
import { scenario } from './kit.mjs'

const KEY = 'keepfresh.default'
const REMEMBER = { remember: true }

// 5.16, 7.25: what does not read as a session is removed, and said so.
scenario('a corrupt record is removed', {}, async (world) => {
  const tab = await world.tab('django')
  const corrupt = [
    '{"v":1,"sid":',
    '{"v":1,"sid":7,"access_token":"x"}',
    '{"v":1,"sid":"s","rotation":0,"issued_at":1,"access_token":"a\\r\\nb: c"}',
    '[1,2,3]',
    'null',
    '',
  ]
  for (const text of corrupt) {
    await tab.run(([key, text]) => localStorage.setItem(key, text), [KEY, text])
    await tab.reload()
    assert.deepEqual(await tab.event('storage_degraded'), { reason: 'corrupt' }, text)
    assert.equal((await tab.state()).status, 'anonymous')
    assert.equal((await tab.storage()).local[KEY], undefined)
  }
  await world.login(tab, 'django', REMEMBER)
  await tab.reload()
  assert.equal(await tab.one(), '200')
  assert.deepEqual(await tab.events('storage_degraded'), [])
})

// 5.16: a record of a later version is not ours to touch.
scenario('a record of a later version is left alone', {}, async (world) => {
  const tab = await world.tab('django')
  const later = '{"v":2,"whatever":true}'
  await tab.run(([key, text]) => localStorage.setItem(key, text), [KEY, later])
  await tab.reload()
  assert.equal((await tab.state()).status, 'anonymous')
  assert.equal((await tab.storage()).local[KEY], later)
  assert.deepEqual(await tab.events('storage_degraded'), [])
})

// 6.8: tokens go only to the server that issued them.
scenario('a session of another auth server is not used', {}, async (world) => {
  await world.signedIn('django', {}, REMEMBER)
  const other = await world.tab('django', { endpoints: { refresh: '/elsewhere/refresh/' } })
  assert.equal((await other.state()).status, 'anonymous')
  assert.equal(await other.one(), '401')
  assert.equal((await world.server.log('/api/bookings')).at(-1).token, 'none')
})

// 5.21, known-failures 32, 70: a stored token past its end is renewed on load, before the first request.
for (const preset of ['django', 'oauth2']) {
  scenario(`${preset}: an expired stored token is renewed before the first request`, {}, async (world) => {
    const tab = await world.signedIn(preset, {}, REMEMBER)
    await world.server.expire()
    await tab.run((key) => {
      const record = JSON.parse(localStorage.getItem(key))
      record.issued_at -= 7_200_000
      record.expires_at -= 7_200_000
      localStorage.setItem(key, JSON.stringify(record))
    }, KEY)
    await tab.open({ wait: false })
    assert.deepEqual(await tab.burst(10), { 200: 10 })
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.unauthorized], [1, 0])
    const statuses = await tab.run(() => harness.snapshots.map((snapshot) => snapshot.status))
    assert.ok(!statuses.includes('anonymous'), statuses.join())
  })
}

// 5.16, known-failures 23: a full storage costs the persistence, not the session.
scenario('setItem throws: the session lives on in memory', {}, async (world) => {
  const init = () => {
    const setItem = Storage.prototype.setItem
    Storage.prototype.setItem = function (key, value) {
      if (key === 'keepfresh.default') throw new DOMException('full', 'QuotaExceededError')
      return setItem.call(this, key, value)
    }
  }
  const tab = await world.signedIn('oauth2', {}, { init, ...REMEMBER })
  assert.deepEqual(await tab.event('storage_degraded'), { reason: 'blocked' })
  assert.deepEqual(await tab.burst(10), { 200: 10 })
  await world.server.expire()
  assert.deepEqual(await tab.burst(10), { 200: 10 })
  await tab.must('refresh')
  assert.deepEqual(await tab.burst(10), { 200: 10 })
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.refreshes_rejected], [2, 0])
  assert.equal((await tab.events('storage_degraded')).length, 1)
})

// 5.16, known-failures 24: where the browser blocks storage, its very getters throw.
scenario('blocked storage: the session lives in memory', {}, async (world) => {
  const init = () => {
    const blocked = {
      get: () => {
        throw new DOMException('denied', 'SecurityError')
      },
    }
    Object.defineProperty(window, 'localStorage', blocked)
    Object.defineProperty(window, 'sessionStorage', blocked)
  }
  const tab = await world.signedIn('django', {}, { init, ...REMEMBER })
  assert.deepEqual(await tab.event('storage_degraded'), { reason: 'blocked' })
  assert.equal((await tab.state()).persisted, 'memory')
  await world.server.expire()
  assert.deepEqual(await tab.burst(10), { 200: 10 })
  assert.equal(await world.refreshes(), 1)
  await tab.must('logout')
  assert.equal((await world.server.wire()).logouts, 1)
})

// 6.3, 7.23: in memory mode no piece of a token is ever stored, and a reload signs out.
scenario('memory mode stores nothing', {}, async (world) => {
  const tab = await world.signedIn('oauth2', { storage: 'memory' }, REMEMBER)
  assert.equal((await tab.state()).persisted, 'memory')
  await tab.must('refresh')
  world.secrets.say('storage', JSON.stringify(await tab.storage()))
  await tab.must('logout')
  await world.login(tab, 'oauth2', REMEMBER)
  world.secrets.say('storage', JSON.stringify(await tab.storage()))
  await tab.reload()
  assert.equal((await tab.state()).status, 'anonymous')
})

// 5.8, 6.16, 7.25: a message of anybody's can make a tab look into storage, and nothing else.
scenario('forged messages and storage events change nothing', {}, async (world) => {
  const tab = await world.signedIn('django', {}, REMEMBER)
  await tab.run(() => {
    const channel = new BroadcastChannel('keepfresh.default')
    const forged = [
      { v: 1, type: 'changed' },
      { v: 1, type: 'signed_out', sid: 'x' },
      { v: 99, type: 'changed', access_token: 'forged' },
      'changed',
      null,
      7,
      [],
      { type: { toString: 'x' } },
    ]
    for (const message of forged) channel.postMessage(message)
    dispatchEvent(new StorageEvent('storage', { key: 'keepfresh.default', newValue: null }))
    dispatchEvent(new StorageEvent('storage', { key: null }))
  })
  assert.deepEqual(await tab.burst(5), { 200: 5 })
  assert.equal((await tab.state()).status, 'authenticated')
  assert.deepEqual(await tab.events('signed_out'), [])
  const log = await world.server.log('/api/bookings')
  assert.ok(log.every((entry) => entry.user === 'ada@example.com'))
})
