// The token goes to the API and to nobody else.
import assert from 'node:assert/strict'
import { scenario } from './kit.mjs'

/** Refused by CORS, no such host: printed by Chromium itself. */
const NOISE = /blocked by CORS policy|net::ERR_/

// 4.1, 4.17, 6.6, 7.20, known-failures 49: addresses that look like the API's, or lead elsewhere by tricks.
scenario('no trick of spelling brings the token to another origin', { noise: NOISE }, async (world) => {
  const tab = await world.signedIn('sanctum')
  const { api, www } = world.server
  const [apiPort, wwwPort] = [api, www].map((origin) => new URL(origin).port)
  const sent = [
    `${www}/sink/plain`,
    `//127.0.0.1:${wwwPort}/sink/scheme-relative`,
    `\\\\127.0.0.1:${wwwPort}\\sink\\backslashes`,
    `HTTP://127.0.0.1:${wwwPort}/sink/uppercase`,
    ` \thttp:/\n/127.0.0.1:${wwwPort}/sink/whitespace `,
    `http://127.1:${wwwPort}/sink/short-address`,
    `http://2130706433:${wwwPort}/sink/number`,
    `http://localhost:${wwwPort}/sink/by-name`,
    `${www}/sink/${encodeURIComponent(api)}/api/bookings`,
    `${www}/sink/?url=${encodeURIComponent(`${api}/api/bookings`)}`,
    `${api.replace(apiPort, wwwPort)}/sink/other-port`,
  ]
  for (const url of sent) {
    const answer = await tab.send(url, { method: 'POST', body: '{}' })
    assert.equal(answer.status, 200, url)
  }
  // Nobody answers there, or the platform refuses.
  for (const url of [
    `http://127.0.0.1:${apiPort}@127.0.0.1:${wwwPort}/sink/user-info`,
    `http://127.0.0.1.evil.invalid:${apiPort}/api/bookings`,
    `https://127.0.0.1:${wwwPort}/sink/tls`,
  ]) {
    assert.equal((await tab.send(url)).error?.name, 'TypeError', url)
  }
  // The API under another name is another origin.
  const other = await tab.send(`http://localhost:${apiPort}/api/bookings`)
  assert.equal(other.status, 401)

  const wire = await world.server.wire()
  assert.deepEqual([wire.sink_requests, wire.foreign_tokens], [sent.length, 0])
  assert.deepEqual([wire.refreshes, wire.replays], [0, 0])
  assert.equal((await world.server.log('/api/bookings')).at(-1).token, 'none')

  // Spelled otherwise, but the API it is.
  for (const url of [`HTTP://127.0.0.1:${apiPort}/x/../api/bookings`, `//127.0.0.1:${apiPort}/api/bookings`]) {
    assert.equal((await tab.send(url)).status, 200, url)
  }
})

// 3.7, 4.23, 4.24, 7.19: the browser drops the header on the way to another origin; its 401 is not ours, even where
// CORS hides it.
for (const status of [302, 307]) {
  scenario(`a redirect ${status} of the API leaves the token behind`, { noise: NOISE }, async (world) => {
    const tab = await world.signedIn('django')
    const { api, www } = world.server
    const away = (to) => `/api/redirect?status=${status}&to=${encodeURIComponent(to)}`
    const sunk = await tab.send(away(`${www}/sink/redirected`))
    assert.deepEqual([sunk.status, sunk.redirected], [200, true])
    const elsewhere = api.replace('127.0.0.1', 'localhost')
    const refused = await tab.send(away(`${elsewhere}/api/always-401`))
    assert.equal(refused.error?.name, 'TypeError')
    assert.equal((await world.server.log('/api/always-401'))[0].token, 'none')
    // Within the origin the token stays.
    const home = await tab.send(away(`${api}/api/bookings`))
    assert.deepEqual([home.status, home.redirected], [200, true])
    const wire = await world.server.wire()
    assert.deepEqual([wire.sink_requests, wire.foreign_tokens], [1, 0])
    assert.deepEqual([wire.refreshes, wire.replays], [0, 0])
    assert.equal((await tab.state()).status, 'authenticated')
  })
}

// 4.21, known-failures 57: who sets Authorization looks after it alone.
scenario("a caller's own Authorization is left alone", {}, async (world) => {
  const tab = await world.signedIn('django')
  const own = [
    { headers: { authorization: 'Bearer mine' } },
    { headers: [['AUTHORIZATION', 'Bearer mine']] },
    { headers: { Authorization: '' } },
  ]
  for (const [at, init] of own.entries()) {
    const { status, bodyUsed } = await tab.send(`/api/bookings?n=${at}`, init)
    assert.deepEqual([status, bodyUsed], [401, false])
  }
  const tokens = (await world.server.log('/api/bookings')).map((entry) => entry.token)
  assert.deepEqual(tokens.slice(0, 2), ['unknown', 'unknown'])
  assert.ok(!tokens[2].startsWith('django'))
  const bare = await tab.send('/api/bookings?n=bare', { auth: false })
  assert.equal(bare.status, 401)
  assert.equal((await world.server.log('/api/bookings')).at(-1).token, 'none')
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.replays, wire.requests], [0, 0, 4])
  assert.equal((await tab.state()).status, 'authenticated')
})

// 6.6: a further origin gets the token only where it is listed.
scenario('a listed origin gets the token too', {}, async (world) => {
  const elsewhere = world.server.api.replace('127.0.0.1', 'localhost')
  const tab = await world.signedIn('django', { allowedOrigins: [elsewhere] })
  assert.equal((await tab.send(`${elsewhere}/api/bookings`)).status, 200)
  await world.server.expire()
  assert.equal((await tab.send(`${elsewhere}/api/bookings?again`)).status, 200)
  const wire = await world.server.wire()
  assert.deepEqual([wire.refreshes, wire.replays], [1, 1])
})
