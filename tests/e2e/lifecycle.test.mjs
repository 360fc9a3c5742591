// Tabs that die, freeze, sleep in the back-forward cache, are copied, or run twice in one page.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { eventually, GRACE, PRESETS, scenario } from './kit.mjs'

const REMEMBER = { remember: true }
/** Tokens live an hour here, so this many ms later they are over. */
const PAST_LIFE = 3_700_000
const FREEZE = { needs: ['freeze'] }
const { refresh } = PRESETS.oauth2
/** Past the breaker's first pause, which is spread over half as much again (2.10), ms. */
const COOLED_DOWN = 46_000
/** The longest that a tab waits for another one's refresh (5.3), ms. */
const LONGEST_WAIT = 10_000
/** What a holder of the lock may take beyond its `refreshTimeout` (5.4), ms. */
const PATIENCE = 15_000
/** For the machine, ms. */
const SLACK = 5000

// Much of their time is waiting.
describe('who holds the lock', { concurrency: 3 }, () => {
  // 5.1, 5.4, 5.14, 7.10: the server never got to the dead tab's call, so its credential is still good.
  for (const preset of ['django', 'oauth2']) {
    scenario(`${preset}: a tab that dies in its refresh leaves the session whole`, {}, async (world) => {
      const patience = { refreshTimeout: 4000 }
      const [one, two] = await pair(world, preset, patience)
      await stall(world, one, preset)
      const waiting = two.burst(10)
      await two.status('refreshing')
      const began = Date.now()
      await one.kill()
      assert.deepEqual(await waiting, { 200: 10 })
      const took = Date.now() - began
      assert.ok(took < patience.refreshTimeout + PATIENCE, `${took} ms`)
      const wire = await world.server.wire()
      assert.deepEqual([wire.refreshes, wire.refreshes_ok, wire.refreshes_rejected], [2, 1, 0])
      assert.deepEqual(await two.events('reauth_required'), [])
      assert.deepEqual(await (await world.tab(preset)).burst(5), { 200: 5 })
      assert.equal(await world.refreshes(), 2)
    })
  }

  // 5.4, 5.7, 7.11, known-failures 15: a frozen tab keeps what it holds, and others must not wait for ever.
  scenario('a tab that freezes in its refresh does not stop the others', FREEZE, async (world) => {
    const patience = { refreshTimeout: 4000 }
    const [one, two] = await pair(world, 'oauth2', patience)
    const { waiting } = await stall(world, one, 'oauth2')
    await one.freeze()
    await getThrough(two, patience.refreshTimeout)
    assert.deepEqual(await two.burst(5), { 200: 5 })
    assert.equal(await world.refreshes(), 2)

    await one.thaw()
    assert.deepEqual(await waiting, { 200: 1 })
    assert.deepEqual(await one.burst(5), { 200: 5 })
    assert.equal(await token(one), await token(two))
    // Its own call is still held back by the server, with the credential that the other tab used.
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.refreshes_ok, wire.refreshes_rejected], [2, 1, 0])
    for (const tab of [one, two]) assert.deepEqual(await tab.events('reauth_required'), [])
  })

  // 5.6, 5.7, 7.11: a lock that is granted to a frozen tab would be held until it wakes up.
  scenario('a tab that freezes while it waits for the lock is not given it', FREEZE, async (world) => {
    const [one, two] = await pair(world, 'oauth2')
    await world.server.expire()
    await world.server.fault({ match: refresh, delay_ms: 1500, times: 1 })
    const first = two.burst(3)
    await two.status('refreshing')
    const waiting = quietly(one.burst(3))
    await one.status('refreshing')
    await one.freeze()
    assert.deepEqual(await first, { 200: 3 })

    await world.server.expire()
    const began = Date.now()
    assert.deepEqual(await two.burst(5), { 200: 5 })
    assert.ok(Date.now() - began < SLACK, `${Date.now() - began} ms`)

    await one.thaw()
    await waiting
    assert.deepEqual(await one.burst(5), { 200: 5 })
    assert.equal(await token(one), await token(two))
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.refreshes_rejected], [2, 0])
  })

  // 5.3, 5.4, 7.11, known-failures 14, 15: whoever it is that never gives the lock back.
  scenario('a lock that is never given back is taken in the end', {}, async (world) => {
    const patience = { refreshTimeout: 4000 }
    const [one, two] = await pair(world, 'oauth2', patience)
    const holder = await stranger(world, one)
    await hold(holder, await lockOf(one))
    await world.server.expire()
    await Promise.all([one, two].map((tab) => getThrough(tab, patience.refreshTimeout)))
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.refreshes_ok, wire.refreshes_rejected], [1, 1, 0])
    await world.server.expire()
    const began = Date.now()
    assert.deepEqual(await one.burst(5), { 200: 5 })
    assert.ok(Date.now() - began < SLACK, 'the lock is not free')
    for (const tab of [one, two]) assert.deepEqual(await tab.events('reauth_required'), [])
  })
})

describe('in the back-forward cache', () => {
  // 5.7, 5.8, 7.12
  scenario('a page comes back after a rotation elsewhere', {}, async (world) => {
    const [one, two] = await pair(world, 'oauth2')
    await sendOnReturn(one)
    await one.leave()
    await two.must('refresh')
    await comeBack(one)
    assert.deepEqual(await returned(one), [200, 200])
    await two.one()
    const [first, second, newest] = (await world.server.log('/api/bookings')).map((entry) => entry.token)
    assert.deepEqual([first, second], [newest, newest])
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.unauthorized], [1, 0])
    assert.equal(await token(one), await token(two))
    assert.deepEqual(await one.burst(5), { 200: 5 })
  })

  // 5.7, 5.8, 5.11, 7.12, known-failures 44
  scenario('a page comes back after a sign-out elsewhere', {}, async (world) => {
    const [one, two] = await pair(world, 'oauth2')
    await sendOnReturn(one)
    await one.leave()
    await two.must('logout')
    await comeBack(one)
    assert.deepEqual(await returned(one), [401, 401])
    for (const entry of await world.server.log('/api/bookings', 'n=back')) assert.equal(entry.token, 'none')
    assert.deepEqual(await one.event('signed_out'), { elsewhere: true })
    const { status, session } = await one.state()
    assert.deepEqual([status, session], ['signed_out', null])
    assert.equal(await world.refreshes(), 0)
  })

  // 3.8, 5.12, 7.12, known-failures 42 and 44
  scenario('a page comes back when somebody else has signed in', {}, async (world) => {
    const [one, two] = await pair(world, 'oauth2')
    await sendOnReturn(one)
    await one.leave()
    await two.must('logout')
    await world.login(two, 'oauth2', { person: GRACE, remember: true })
    await comeBack(one)
    assert.deepEqual(await returned(one), [200, 200])
    for (const entry of await world.server.log('/api/bookings', 'n=back'))
      assert.equal(entry.user, GRACE.email)
    assert.deepEqual(await one.event('signed_out'), { elsewhere: true })
    // The first was its own.
    assert.deepEqual(await one.event('signed_in', 2), { elsewhere: true })
    assert.equal((await one.state()).status, 'authenticated')
    const wire = await world.server.wire()
    assert.deepEqual([wire.refreshes, wire.unauthorized], [0, 0])
  })
})

// 5.6, 5.7: what a page takes along when it goes to sleep.
for (const { how, sleep, wake, needs, lockNeeds } of [
  { how: 'frozen', sleep: 'freeze', wake: (tab) => tab.thaw(), needs: ['freeze'], lockNeeds: ['freeze'] },
  { how: 'in the back-forward cache', sleep: 'leave', wake: comeBack, needs: [], lockNeeds: ['park'] },
]) {
  describe(`a page that is ${how}`, () => {
    scenario(`holds no channel (${how})`, { needs }, async (world) => {
      const one = await world.signedIn('oauth2', {}, { init: watchChannels, ...REMEMBER })
      assert.ok((await one.run(() => channelsNow())).length > 0, 'no channel was seen')
      await one[sleep]()
      await wake(one)
      await one.until(() => channelsAsleep)
      assert.deepEqual(await one.run(() => channelsAsleep), [])
    })

    // After a refresh there is a note in the lock manager for a while.
    scenario(`holds no lock (${how})`, { needs: lockNeeds }, async (world) => {
      const one = await world.signedIn('oauth2', {}, REMEMBER)
      const watcher = await stranger(world, one)
      await one.must('refresh')
      await one[sleep]()
      await expectLocks(watcher, { held: [], pending: [] })
      await wake(one)
      assert.deepEqual(await one.burst(3), { 200: 3 })
    })

    // 5.7, 5.8: without storage events, only the channel can tell.
    scenario(`hears the others again afterwards (${how})`, { needs }, async (world) => {
      const one = await world.signedIn('oauth2', {}, { init: ignoreStorageEvents, ...REMEMBER })
      const two = await world.tab('oauth2')
      const watcher = await stranger(world, one)
      await one[sleep]()
      await wake(one)
      await two.must('refresh')
      await catchUp(one, two)
      await hint(watcher)
      assert.equal((await one.event('refreshed')).elsewhere, true)
      await two.must('logout')
      await catchUp(one, two)
      await hint(watcher)
      assert.deepEqual(await one.event('signed_out'), { elsewhere: true })
    })

    scenario(`does not queue for a lock (${how})`, { needs: lockNeeds }, async (world) => {
      const { one, watcher, name } = await queued(world)
      await one[sleep]()
      await expectLocks(watcher, { held: [name], pending: [] })
      await watcher.evaluate(() => release())
      await wake(one)
      await one.run(() => waiting)
      assert.deepEqual(await one.burst(3), { 200: 3 })
      const wire = await world.server.wire()
      assert.deepEqual([wire.refreshes, wire.refreshes_rejected], [1, 0])
    })

    // 5.7: a page that was away for hours comes back to its own requests.
    scenario(`answers what waited for the lock (${how})`, { needs: lockNeeds }, async (world) => {
      const { one, watcher } = await queued(world)
      await one[sleep]()
      await watcher.evaluate(() => release())
      await wake(one)
      assert.equal(await one.run(() => waiting), 200)
      assert.equal(await world.refreshes(), 1)
    })
  })
}

/** How sessionStorage is copied, and with it a refresh token that is good for one use only. */
const COPIES = {
  'an opened window': async (world, one) => {
    const open = () => void window.open('/away.html', '', 'popup,width=600,height=400')
    return (await world.popup(one, open, 'oauth2')).open()
  },
  'a duplicated tab': async (world, one) => {
    const { session } = await one.storage()
    const two = await world.blank('oauth2', {}, { profile: one.profile })
    await two.page.evaluateOnNewDocument(startWith, session)
    return two.open()
  },
}

// 5.9, 7.16, known-failures 69: the server ends the login when a token is spent twice.
for (const [what, copy] of Object.entries(COPIES)) {
  describe(what, { concurrency: 3 }, () => {
    scenario(`${what}: both live on, whoever refreshes first`, {}, async (world) => {
      const one = await world.signedIn('oauth2')
      const two = await copy(world, one)
      let rounds = 0
      /** One refresh is due; the tabs send, in turns or at once. */
      const round = async (...turns) => {
        rounds += 1
        for (const tabs of turns) {
          const outcomes = await Promise.all(tabs.map((tab) => tab.burst(3)))
          assert.ok(
            outcomes.every((outcome) => outcome[200] === 3),
            `round ${rounds}: ${JSON.stringify(outcomes)}`,
          )
        }
        const wire = await world.server.wire()
        assert.deepEqual([wire.refreshes, wire.refreshes_rejected], [rounds, 0], `round ${rounds}`)
      }
      // The server says that the token is over.
      const turns = [[[one], [two]], [[two], [one]], [[one, two]], [[two], [one]], [[one, two]]]
      for (const order of turns) {
        await world.server.expire()
        await round(...order)
      }
      // The tabs know it by themselves; one that was silent is more than one token behind.
      for (const tabs of [[two], [one], [two], [two], [one], [one], [one], [two], [one, two], [two, one]]) {
        for (const tab of tabs) await tab.pass((rounds + 1) * PAST_LIFE)
        await round(tabs)
      }
      for (const tab of [one, two]) assert.deepEqual(await tab.events('reauth_required'), [])
    })

    scenario(`${what}: a token outlives the tab that fetched it`, {}, async (world) => {
      const one = await world.signedIn('oauth2')
      const two = await copy(world, one)
      for (let round = 0; round < 2; round += 1) {
        await world.server.expire()
        assert.deepEqual(await two.burst(3), { 200: 3 })
        await eventually(async () => (await token(one)) === (await token(two)))
      }
      await two.close()
      assert.deepEqual(await one.burst(5), { 200: 5 })
      await world.server.expire()
      assert.deepEqual(await one.burst(5), { 200: 5 })
      const wire = await world.server.wire()
      assert.deepEqual([wire.refreshes, wire.refreshes_rejected], [3, 0])
    })

    scenario(`${what}: who was left behind spends nothing`, {}, async (world) => {
      const one = await world.signedIn('oauth2')
      const two = await copy(world, one)
      await one.leave()
      await world.server.expire()
      assert.deepEqual(await two.burst(3), { 200: 3 })
      await two.close()
      await one.open()
      // Perhaps the other tab only slept: three questions without an answer are enough (2.1).
      assert.deepEqual(await one.burst(5), { 401: 5 })
      assert.deepEqual(await one.events('reauth_required'), [])
      await one.pass(COOLED_DOWN)
      assert.deepEqual(await one.burst(5), { 401: 5 })
      await one.event('reauth_required')
      assert.equal((await one.state()).status, 'reauth_required')
      assert.deepEqual(await one.burst(5), { 401: 5 })
      const wire = await world.server.wire()
      assert.deepEqual([wire.refreshes, wire.refreshes_rejected, wire.replays], [1, 0, 3])
      assert.equal((await one.events('reauth_required')).length, 1)
      await world.login(one, 'oauth2')
      assert.deepEqual(await one.burst(5), { 200: 5 })
    })

    scenario(`${what}: the one ahead freezes and comes back`, FREEZE, async (world) => {
      const one = await world.signedIn('oauth2')
      const two = await copy(world, one)
      await one.leave()
      await world.server.expire()
      assert.deepEqual(await two.burst(3), { 200: 3 })
      await two.freeze()
      await one.open()
      // Its own token is spent, and whether a frozen tab hears a question is the browser's affair.
      await one.burst(3)
      assert.equal(await world.refreshes(), 1)
      await two.thaw()
      for (let round = 0; round < 3; round += 1) {
        assert.deepEqual(await two.burst(3), { 200: 3 }, `round ${round}`)
        // It may have given up, but it must not take the login down.
        await one.burst(3)
        await world.server.expire()
      }
      assert.equal((await world.server.wire()).refreshes_rejected, 0)
      assert.deepEqual(await two.events('reauth_required'), [])
    })
  })
}

// 5.13, known-failures 2 and 46: copies of the SDK, hot reloading, a component that mounts twice.
for (const remember of [true, false]) {
  const where = remember ? 'localStorage' : 'sessionStorage'
  scenario(`three clients in one page share one refresh (${where})`, {}, async (world) => {
    const tab = await world.signedIn('oauth2', {}, { remember })
    await tab.run(async (baseUrl) => {
      const options = { baseUrl, preset: 'oauth2', clientId: 'demo' }
      const same = await import('/keepfresh/slim.js')
      const copy = await import('/keepfresh/slim.js?copy')
      window.clients = [client, same.createClient(options), copy.createClient(options)]
      await Promise.all(clients.map((each) => each.ready))
    }, world.server.api)
    for (let round = 1; round <= 2; round += 1) {
      await world.server.expire()
      const statuses = await tab.run(async (round) => {
        const urls = Array.from({ length: 10 }, (_, at) => `/api/bookings?n=r${round}-${at}`)
        const sends = clients.flatMap((each, copy) => urls.map((url) => each.fetch(`${url}-${copy}`)))
        return (await Promise.all(sends)).map((response) => response.status)
      }, round)
      assert.deepEqual(statuses, Array(30).fill(200))
      const wire = await world.server.wire()
      assert.deepEqual([wire.refreshes, wire.refreshes_rejected], [round, 0])
    }
    await tab.must('logout')
    await tab.until(() => clients.every((each) => each.state.status === 'signed_out'))
  })
}

/** Two tabs of Ada, remembered. */
async function pair(world, preset, options = {}) {
  return [await world.signedIn(preset, options, REMEMBER), await world.tab(preset, options)]
}

/** Has the tab's refresh reach the server and wait there for longer than any test. */
async function stall(world, tab, preset) {
  await world.server.expire()
  await world.server.fault({ match: PRESETS[preset].refresh, delay_ms: 60_000, times: 1 })
  const waiting = quietly(tab.burst(1))
  await eventually(async () => (await world.refreshes()) === 1)
  return { waiting }
}

/** A promise that may be rejected while nobody looks: a tab that dies never answers. */
function quietly(promise) {
  promise.catch(() => {})
  return promise
}

/** Sends until it is answered well: each time in bounded time, in the end before patience runs out. */
async function getThrough(tab, refreshTimeout) {
  const began = Date.now()
  for (;;) {
    const asked = Date.now()
    const outcome = await tab.one()
    const [wait, whole] = [Date.now() - asked, Date.now() - began]
    // The refresh is tried once more, and each try waits.
    assert.ok(wait < 2 * LONGEST_WAIT + SLACK, `one answer took ${wait} ms`)
    assert.ok(whole < refreshTimeout + PATIENCE + SLACK, `no way through in ${whole} ms`)
    if (outcome === '200') return
    assert.equal(outcome, '401')
    await pause(200)
  }
}

/** A page of the same origin that has no client. */
async function stranger(world, tab) {
  const page = await tab.profile.newPage()
  await page.goto(`${world.server.www}/away.html`)
  return page
}

/** Takes a lock until `release()`. */
async function hold(page, name) {
  const taking = (name) =>
    new Promise((granted) => {
      const holding = new Promise((release) => {
        window.release = release
      })
      navigator.locks
        .request(name, () => {
          granted()
          return holding
        })
        // Who takes it away by force ends it with an AbortError.
        .catch(() => {})
    })
  await page.evaluate(taking, name)
}

/** A tab with a request that waits for the lock, and the page that holds it. */
async function queued(world) {
  const one = await world.signedIn('oauth2', {}, REMEMBER)
  const watcher = await stranger(world, one)
  const name = await lockOf(one)
  await hold(watcher, name)
  await world.server.expire()
  await one.run(() => {
    window.waiting = client.fetch('/api/bookings?n=waits').then((response) => response.status)
  })
  await eventually(async () => (await locks(watcher)).pending.length === 1)
  return { one, watcher, name }
}

/** Waits until a tab can see what the other one has stored. */
async function catchUp(tab, other) {
  const same = async () => isDeepStrictEqual((await tab.storage()).local, (await other.storage()).local)
  await eventually(same)
}

/** Says that storage has changed, as any page of the origin can. */
function hint(page) {
  return page.evaluate(() => {
    const channel = new BroadcastChannel('keepfresh.default')
    channel.postMessage({ v: 1, type: 'changed' })
    channel.close()
  })
}

/** The names of the client's locks, as another page of the origin sees them. */
function locks(page) {
  return page.evaluate(async () => {
    const { held, pending } = await navigator.locks.query()
    const ours = (list) => list.map((lock) => lock.name).filter((name) => name.startsWith('keepfresh.'))
    return { held: ours(held), pending: ours(pending) }
  })
}

/** What is given up reaches the lock manager a moment later. */
async function expectLocks(page, expected) {
  const same = async () => isDeepStrictEqual(await locks(page), expected)
  await eventually(same).catch(async () => assert.deepEqual(await locks(page), expected))
}

/** The name of the lock around a refresh of the login that is stored. */
async function lockOf(tab) {
  const { local } = await tab.storage()
  return `keepfresh.default:refresh:${JSON.parse(local['keepfresh.default']).sid}`
}

function token(tab) {
  return tab.must('getAccessToken')
}

/** The page sends a request as soon as it is shown again, and another one a moment later. */
function sendOnReturn(tab) {
  return tab.run(() => {
    addEventListener('pageshow', ({ persisted }) => {
      if (!persisted) return
      const send = () => client.fetch('/api/bookings?n=back')
      window.returned = Promise.all([send(), Promise.resolve().then(send)])
    })
  })
}

function returned(tab) {
  return tab.run(async () => (await window.returned).map((response) => response.status))
}

async function comeBack(tab) {
  const { kept, why } = await tab.back()
  assert.ok(kept, `the page was not kept in the back-forward cache: ${why}`)
}

/** Runs in a page before its scripts: keeps a list of the channels that are open. */
function watchChannels() {
  const open = new Set()
  window.PlainChannel = BroadcastChannel
  window.BroadcastChannel = class extends BroadcastChannel {
    constructor(name) {
      super(name)
      open.add(this)
    }
    close() {
      super.close()
      open.delete(this)
    }
  }
  window.channelsNow = () => [...open].map((channel) => channel.name)
  // The first thing that happens to the page afterwards, before the client's own listeners.
  const asleep = () => {
    window.channelsAsleep = null
  }
  const awake = ({ type }) => {
    if (type === 'visibilitychange' && document.hidden) return
    window.channelsAsleep ??= channelsNow()
  }
  addEventListener('pagehide', asleep)
  document.addEventListener('freeze', asleep)
  for (const name of ['visibilitychange', 'resume']) document.addEventListener(name, awake)
  for (const name of ['focus', 'pageshow']) addEventListener(name, awake)
}

/** Runs in a page before its scripts. */
function ignoreStorageEvents() {
  addEventListener('storage', (event) => event.stopImmediatePropagation())
}

/** Runs in a new tab before its scripts: the browser has copied another tab's sessionStorage. */
function startWith(session) {
  if (location.protocol !== 'http:' || sessionStorage.length > 0) return
  for (const [key, text] of Object.entries(session)) sessionStorage.setItem(key, text)
}
