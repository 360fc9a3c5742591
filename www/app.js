// The demo page. It uses the client as any page would; nothing here knows how keepfresh works inside.
import { createAnnouncer } from './announce.js'
import { busyButton, byId, say } from './dom.js'
import { explainError } from './explain.js'
import { clock, left } from './format.js'
import { createLog } from './log.js'
import { createSender } from './send.js'
import { createServer } from './server.js'
import { createSessionCard, drawPill, hasSession, userOf } from './session.js'
import { createTimeline } from './timeline.js'
import { createWire } from './wire.js'

const EVENTS = ['signed_in', 'refreshed', 'refresh_failed', 'reauth_required', 'signed_out', 'user_changed', 'circuit_opened', 'circuit_closed', 'storage_degraded', 'suspicious_activity']

/** Spoken by screen readers. `refreshed` is left out: with short tokens it would talk every few seconds. */
const SPOKEN = {
  signed_in: 'Signed in.',
  refresh_failed: 'A refresh failed.',
  reauth_required: 'The session has ended. Sign in again.',
  signed_out: 'Signed out.',
  user_changed: 'Another tab signed in as someone else.',
  circuit_opened: 'keepfresh pauses its refreshes and tries again later.',
  circuit_closed: 'Refreshing works again.',
  storage_degraded: 'The browser refuses to store the session. It lasts until you close this tab.',
  suspicious_activity: 'Unusually many refreshes.',
}

/** The kinds of back end to try, `?preset=`. The first is the default. */
const PRESETS = {
  django: 'Django: an access token and a refresh token',
  sanctum: 'Laravel Sanctum: one token that rotates',
}

/** Offered token lifetimes, seconds. */
const LIFETIMES = [20, 60, 240]

start().catch(notStarted)

function notStarted(error) {
  const banner = byId('boot-error')
  banner.textContent = error.instruction ?? `The demo could not start: ${error.message}. Reload the page.`
  banner.hidden = false
  byId('session-note').textContent = 'Not started.'
  drawPill('failed')
  byId('timeline-words').textContent = 'The demo has not started.'
}

async function start() {
  const demo = await orTell(readDemo, 'This page needs the demo server. Start it with “cargo xtask demo” and open the address it prints.')
  const keepfresh = await orTell(() => import('/keepfresh/slim.js'), 'The keepfresh package is not built. Run “cargo xtask build”, then reload this page.')
  run(demo, keepfresh)
}

async function readDemo() {
  const response = await fetch('/demo.json', { cache: 'no-store' })
  if (!response.ok) throw new Error(`demo.json was answered ${response.status}`)
  return response.json()
}

async function orTell(work, instruction) {
  try {
    return await work()
  } catch (cause) {
    throw Object.assign(new Error(instruction, { cause }), { instruction })
  }
}

function run(demo, { createClient, isKeepfreshError }) {
  const log = createLog()
  const preset = chosenPreset()
  // Tabs on different back ends must not take each other's session for their own.
  const storageKey = preset === 'django' ? {} : { storageKey: `keepfresh-${preset}` }
  const client = createClient({ baseUrl: demo.api, preset, ...storageKey, logger: log.entry, logLevel: 'debug' })
  const server = createServer(demo.api)
  const signedIn = () => hasSession(client.state)
  const page = {
    demo, preset, client, server, signedIn, isKeepfreshError,
    timeline: createTimeline(() => client.state),
    wire: createWire({ client, server, isSignedIn: signedIn }),
  }
  const card = createSessionCard({
    client, isKeepfreshError,
    onAct: page.wire.follow,
    // What a message near the buttons advises is about the session that has just ended.
    onLeft: () => hideMessages(),
  })

  byId('api').textContent = demo.api
  showPreset(preset)
  wireSending(page)
  wireBreaking(page)
  wireLifetime(page)
  wireRefresh(page)
  wireReset(page)
  followEvents(page, log)
  followState(page, card)
}

function chosenPreset() {
  const asked = new URLSearchParams(location.search).get('preset')
  return Object.hasOwn(PRESETS, asked ?? '') ? asked : 'django'
}

function showPreset(preset) {
  const other = Object.keys(PRESETS).find((name) => name !== preset)
  const link = byId('other-preset')
  byId('code-preset').textContent = preset
  byId('preset').textContent = `${PRESETS[preset]}.`
  link.textContent = `Try ${PRESETS[other]}.`
  link.href = `./?preset=${other}`
  link.hidden = false
  byId('second-tab').href = `./?preset=${preset}`
}

function wireSending({ client, server, isKeepfreshError, wire }) {
  const send = createSender({ client, server, isKeepfreshError, onDone: wire.follow })
  const buttons = [byId('one-request'), byId('burst')]
  // Both rest while one runs: the tiles show one run at a time.
  const exclusively = (total) => async () => {
    for (const button of buttons) button.setAttribute('aria-disabled', 'true')
    hideMessages()
    try {
      await send(total)
    } finally {
      for (const button of buttons) button.removeAttribute('aria-disabled')
    }
  }
  busyButton(buttons[0], exclusively(1))
  busyButton(buttons[1], exclusively(50))
}

function wireBreaking(page) {
  const { client, server, timeline, wire } = page
  const email = () => userOf(client.state)?.email ?? byId('email').value
  const message = byId('break-message')
  const act = (id, work) => busyButton(byId(id), async () => {
    hideMessages()
    try {
      await work()
    } catch {
      say(message, 'The demo server did not do it. Check that it still runs, then try again.', 'bad')
    }
    await wire.follow()
  })

  act('expire', async () => {
    await server.expire(email())
    timeline.mark('expired')
    say(message, 'The server has let the token expire. Now send something:', '', { href: '#burst', text: '50 at once' })
  })
  act('revoke', async () => {
    await server.revoke(email())
    timeline.mark('revoked')
    say(message, 'The server has revoked every token of this account. Now send something:', 'warn', { href: '#one-request', text: 'One request' })
  })
  wireServerDown(page, act, message)
}

function wireServerDown({ demo, server, timeline }, act, message) {
  const button = byId('server-down')
  const kind = byId('down-kind')
  const show = (down) => {
    button.setAttribute('aria-pressed', String(down))
    kind.disabled = !demo.faults || down
  }
  act('server-down', async () => {
    const down = button.getAttribute('aria-pressed') !== 'true'
    await (down ? server.takeDown(kind.value) : server.bringUp())
    show(down)
    timeline.mark(down ? 'down' : 'up')
    if (down) say(message, 'Every call fails now. Send a request or refresh, and watch the session survive. Press the button again to end the outage.', 'warn')
    else say(message, 'The server answers again. keepfresh recovers at its next try.')
  })
  // The outage belongs to the server, so another tab may have begun or ended it.
  const look = async () => {
    if (document.hidden || !demo.faults) return
    try {
      show(await server.isDown())
    } catch { /* the wire panel tells that the server is silent */ }
  }
  document.addEventListener('visibilitychange', look)
  void look()
}

function wireLifetime({ demo, preset, client, server, signedIn, timeline, wire, isKeepfreshError }) {
  const select = byId('lifetime')
  const current = preset === 'sanctum' ? demo.short_lived : demo.access_lifetime
  const offered = [...new Set([...LIFETIMES, current])].sort((a, b) => a - b)
  select.replaceChildren(...offered.map((value) => new Option(left(value * 1000), String(value))))
  select.value = String(current)
  select.disabled = !demo.faults
  select.addEventListener('change', async () => {
    const message = byId('token-message')
    try {
      await server.setLifetime(Number(select.value))
      if (!signedIn()) return say(message, 'The next sign-in gets such a token.')
      await client.refresh()
      say(message, '')
    } catch (error) {
      say(message, `The new lifetime shows from the next refresh on. ${explainError(error, isKeepfreshError)}`, 'bad')
    }
    timeline.update()
    void wire.follow()
  })
}

function wireRefresh({ client, wire, isKeepfreshError }) {
  busyButton(byId('refresh'), async () => {
    hideMessages()
    try {
      await client.refresh()
    } catch (error) {
      say(byId('token-message'), explainError(error, isKeepfreshError), 'bad')
    }
    await wire.follow()
  })
}

function wireReset({ demo, server, wire }) {
  byId('wire-reset').disabled = !demo.faults
  busyButton(byId('wire-reset'), async () => {
    try {
      await server.resetWire()
    } catch { /* look() says it */ }
    await wire.follow()
  })
}

function followEvents({ client, timeline, wire }, log) {
  const announce = createAnnouncer()
  for (const name of EVENTS) {
    client.on(name, (detail) => {
      log.event(name, detail)
      if (SPOKEN[name]) announce(SPOKEN[name])
      if (name === 'refresh_failed') timeline.mark('failed')
      wire.drawClient()
    })
  }
}

function followState(page, card) {
  const { client, timeline, wire } = page
  let last = client.state
  let adopted = client.metrics().adopted
  const changed = () => {
    const now = client.state
    const kind = newTokenKind(last, now, client.metrics().adopted > adopted)
    adopted = client.metrics().adopted
    if (kind) {
      timeline.mark(kind)
      showLifetime(now.session)
    }
    if (hasSession(last) && now.status === 'signed_out') timeline.mark('signed_out')
    if (hasSession(last) !== hasSession(now)) void wire.look()
    last = now
    card.draw()
    timeline.update()
    drawButtons(page)
    setTitle(now)
  }
  const stop = client.subscribe(changed)
  changed()
  client.ready.then(() => {
    changed()
    return wire.look()
  }, (error) => {
    // The client says itself what keeps it from starting; WebAssembly that is blocked, for instance.
    stop()
    notStarted(Object.assign(error, { instruction: error.message }))
  })
}

/** Another tab may have chosen another lifetime; the newest token tells. */
function showLifetime({ lifetime }) {
  const value = String(Math.round((lifetime ?? 0) / 1000))
  const select = byId('lifetime')
  if ([...select.options].some((option) => option.value === value)) select.value = value
}

/** Which mark a change of the snapshot deserves; null for none. */
function newTokenKind(before, after, adopted) {
  if (!hasSession(after) || !after.session) return null
  if (before.session?.issuedAt === after.session.issuedAt) return null
  if (before.status === 'loading') return 'restored'
  if (adopted) return 'adopted'
  return before.session && hasSession(before) ? 'refreshed' : 'signed_in'
}

function drawButtons({ client, demo, signedIn }) {
  const usable = signedIn()
  byId('one-request').disabled = !usable
  byId('burst').disabled = !usable
  byId('send-note').hidden = usable
  byId('refresh').disabled = !usable || client.state.status === 'reauth_required'
  byId('expire').disabled = !usable || !demo.faults
  byId('revoke').disabled = !usable || !demo.faults
  byId('server-down').disabled = !demo.faults
  if (!demo.faults) byId('break-note').textContent = 'This server runs without its switches. Start it with “cargo xtask demo” to break things.'
}

function hideMessages() {
  for (const id of ['break-message', 'token-message']) say(byId(id), '')
}

/** The tab strip tells the status too: two tabs side by side are the point of this page. */
function setTitle({ status, session }) {
  const until = status !== 'reauth_required' && session?.expiresAt ? `, until ${clock(session.expiresAt)}` : ''
  const text = { authenticated: 'signed in', refreshing: 'signed in', degraded: 'retrying', reauth_required: 'sign in again' }[status]
  document.title = text ? `${text}${until} · keepfresh` : 'keepfresh: a session that stays fresh'
}
