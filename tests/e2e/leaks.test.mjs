// Secrets stay secret: one story with everything in it, told to everybody who could overhear it.
// All other scenarios end with the same search (see kit.mjs).
import assert from 'node:assert/strict'
import { ADA, PRESETS, scenario } from './kit.mjs'

/** The default logger, at its most talkative. */
const ALOUD = { logger: undefined, logLevel: 'debug' }
/** What has to have been said, or the search would prove nothing. */
const HEARD = ['console', 'event', 'log', 'error', 'metrics', 'snapshot', 'url', 'message', 'header']
const NOISE = /blocked by CORS policy|net::ERR_|keepfresh/

for (const preset of Object.keys(PRESETS)) {
  // 4.25, 5.8, 6.11, 7.23, known-failures 50 and 51
  scenario(`${preset}: no token shows, whatever happens`, { noise: NOISE }, async (world) => {
    const { refresh } = PRESETS[preset]
    const tab = await world.signedIn(preset, ALOUD, { remember: true })
    const other = await world.tab(preset)
    await tab.burst(5)
    await tab.must('me')
    await tab.must('refresh')
    await other.event('refreshed')

    // Every kind of failure that can bring an error along.
    for (const fault of [{ status: 500, body: '{"error":"x"}' }, { html: true }, { drop: 'before' }]) {
      await world.server.fault({ match: refresh, ...fault })
      await tab.call('refresh')
      await world.server.clearFaults()
    }
    await tab.call('setSession', { accessToken: 'no token\n' })
    await tab.call('login', { ...ADA, password: 'wrong' })
    await tab.send('http://127.0.0.1:1/nobody')
    await tab.shift(100_000)
    await tab.must('refresh')
    await world.server.expire()
    await tab.burst(5)
    await world.login(tab, preset, { remember: true })
    await world.server.revoke()
    await tab.burst(5)
    await other.event('reauth_required')
    await world.login(tab, preset)
    await tab.call('logoutAll')
    await tab.must('logout')

    assert.ok(world.secrets.tokens.length >= (preset === 'sanctum' ? 4 : 6), 'too few tokens to look for')
    for (const where of HEARD) {
      assert.ok(world.secrets.heard(where) > 0, `nothing was heard of: ${where}`)
    }
    const history = await tab.run(() => [document.URL, document.referrer, JSON.stringify(history.state)])
    for (const text of history) world.secrets.say('history', text)
  })
}

// 7.23: the search itself has to find what is there.
scenario('the search finds a piece of a token', {}, async (world) => {
  const tab = await world.signedIn('sanctum')
  const token = await tab.must('getAccessToken')
  await tab.run((piece) => console.log(`see ${piece}`), token.slice(20, 28))
  await assert.rejects(world.check(), /a token was found there/)
  assert.deepEqual(world.secrets.leaks(), ['console'])
  world.secrets.forget()
})
