import { byId, icon, make, setText } from './dom.js'
import { clock, left, seconds, span } from './format.js'

/** How often the marker moves, ms. The CSS transition `--tick` is as long, so the movement looks continuous. */
const TICK_MS = 250
/** What keepfresh takes as lead at most, ms; only used while the client names no refresh time. */
const MAX_LEAD_MS = 120_000
/** The history shows about six refreshes, whatever the lifetime; bounds in ms. */
const HISTORY_LIFETIMES = 3
const HISTORY_MIN_MS = 60_000
const HISTORY_MAX_MS = 900_000
/** Below this part of the bar its label does not fit into the lead zone. */
const NARROW_LEAD = 0.24

const MARKS = {
  signed_in: ['key', 'Signed in'],
  restored: ['key', 'Session restored'],
  refreshed: ['refresh', 'Refreshed'],
  adopted: ['swap', 'Taken over from another tab'],
  failed: ['cross', 'A refresh failed'],
  expired: ['clock', 'Expired by you'],
  revoked: ['ban', 'Revoked by you'],
  down: ['power', 'Server down'],
  up: ['power', 'Server up again'],
  signed_out: ['out', 'Signed out'],
}

/**
 * The live picture of the token. `read()` returns the client's snapshot; the picture follows the clock by itself
 * while the page is visible. `update()` draws at once, `mark(kind)` adds a mark to the history.
 */
export function createTimeline(read) {
  const root = byId('timeline')
  const track = byId('history-track')
  let marks = []
  let historyMs = 720_000

  const update = () => {
    const now = Date.now()
    const snapshot = read()
    const times = timesOf(snapshot, now)
    if (times?.lifetime) historyMs = Math.min(HISTORY_MAX_MS, Math.max(HISTORY_MIN_MS, times.lifetime * HISTORY_LIFETIMES))
    root.dataset.state = stateOf(snapshot, times)
    setText(byId('timeline-words'), words(snapshot, times))
    drawBar(root, times, snapshot)
    drawFacts(times, snapshot)
    marks = drawHistory(track, marks, now, historyMs)
  }

  const mark = (kind) => {
    const [sign, title] = MARKS[kind]
    const at = Date.now()
    const element = make('div', 'mark')
    element.dataset.kind = kind
    element.title = `${title} at ${clock(at)}`
    element.append(icon(sign))
    track.append(element)
    marks.push({ at, element })
    update()
  }

  setInterval(() => { if (!document.hidden) update() }, TICK_MS)
  document.addEventListener('visibilitychange', update)
  return { update, mark }
}

/** The token's times relative to `now`, ms; null without a token. */
function timesOf(snapshot, now) {
  const session = snapshot.session
  if (!session || snapshot.status === 'signed_out' || snapshot.status === 'anonymous') return null
  const { issuedAt, expiresAt } = session
  const age = now - issuedAt
  if (expiresAt === null) return { age, issuedAt, lifetime: null }
  const lifetime = session.lifetime ?? expiresAt - issuedAt
  const lead = snapshot.refreshAt === null ? Math.min(MAX_LEAD_MS, lifetime / 2) : expiresAt - snapshot.refreshAt
  const part = (at) => Math.min(1, Math.max(0, (at - issuedAt) / Math.max(1, expiresAt - issuedAt)))
  return {
    age, issuedAt, expiresAt, lifetime, lead,
    toExpiry: expiresAt - now,
    toRefresh: snapshot.refreshAt === null ? null : snapshot.refreshAt - now,
    toRetry: snapshot.retryAt === null ? null : snapshot.retryAt - now,
    nowPart: part(now),
    leadPart: part(expiresAt - lead),
    retryPart: snapshot.retryAt === null ? null : (snapshot.retryAt - issuedAt) / Math.max(1, expiresAt - issuedAt),
  }
}

function stateOf(snapshot, times) {
  if (!times) return 'empty'
  if (snapshot.status === 'reauth_required') return 'dead'
  if (snapshot.status === 'degraded') return 'degraded'
  return 'live'
}

/** One or two sentences: how the token is, and what happens or what to do next. */
function words(snapshot, times) {
  if (snapshot.status === 'loading') return 'Looking for a stored session…'
  if (snapshot.status === 'reauth_required') return reauthWords(times)
  if (!times) return snapshot.status === 'signed_out' ? 'The token is gone. Sign in to get a new one.' : 'No token yet. Sign in to watch one live.'
  if (snapshot.status === 'refreshing') return 'Refreshing. Requests wait for the new token.'
  if (snapshot.status === 'degraded') return degradedWords(times)
  if (times.lifetime === null) return 'The server named no lifetime. The token is used until a 401.'
  if (times.toExpiry <= 0) return 'Expired. The next request refreshes first.'
  if (times.toRefresh === null) return `Fresh for another ${left(times.toExpiry)}.`
  if (times.toRefresh <= 0) return 'In the lead time: a refresh is due.'
  return `Fresh. The next refresh starts by itself in ${left(times.toRefresh)}.`
}

function reauthWords(times) {
  const alive = times && times.toExpiry > 0
  return alive ? `This session cannot be refreshed. The token works for another ${left(times.toExpiry)} at most; sign in again.` : 'This session is over. Sign in again to go on.'
}

function degradedWords(times) {
  const retry = times.toRetry === null || times.toRetry <= 0 ? 'keepfresh tries again now.' : `keepfresh tries again in ${left(times.toRetry)}.`
  const alive = times.toExpiry > 0 ? `The token still works for ${left(times.toExpiry)}` : 'The token has run out'
  return `No refresh gets through. ${alive}; you stay signed in, and ${retry}`
}

function drawBar(root, times, snapshot) {
  const set = (name, value) => root.style.setProperty(name, value)
  const hasBar = Boolean(times?.lifetime)
  set('--now', hasBar ? times.nowPart.toFixed(4) : '0')
  set('--lead', hasBar ? times.leadPart.toFixed(4) : '1')
  // A retry beyond the expiry is off the bar; the numbers below still name it.
  const retryShown = hasBar && snapshot.status === 'degraded' && times.retryPart !== null && times.retryPart <= 1
  set('--retry', retryShown ? times.retryPart.toFixed(4) : '0')
  byId('bar-track').toggleAttribute('data-retry', retryShown)
  byId('bar-track').toggleAttribute('data-narrow', hasBar && 1 - times.leadPart < NARROW_LEAD)
  setText(byId('bar-flag-text'), hasBar && snapshot.refreshAt !== null ? `refresh at ${clock(snapshot.refreshAt)}` : '')
  setText(byId('bar-issued'), times ? `issued ${clock(times.issuedAt)}` : 'issued')
  setText(byId('bar-expires'), hasBar ? `expires ${clock(times.expiresAt)}` : 'expiry unknown')
}

function drawFacts(times, snapshot) {
  const degraded = snapshot.status === 'degraded'
  setText(byId('fact-age'), times ? seconds(times.age) : '–')
  setText(byId('fact-expiry'), !times ? '–' : times.lifetime === null ? 'unknown' : times.toExpiry > 0 ? left(times.toExpiry) : 'expired')
  setText(byId('fact-next-label'), degraded ? 'Retry in' : 'Refresh in')
  setText(byId('fact-next'), nextOf(times, snapshot, degraded))
  setText(byId('fact-lead'), times?.lifetime ? span(times.lead) : '–')
}

function nextOf(times, snapshot, degraded) {
  if (!times) return '–'
  if (snapshot.status === 'refreshing') return 'now'
  const wait = degraded ? times.toRetry : times.toRefresh
  if (wait === null || wait === undefined) return '–'
  return wait > 0 ? left(wait) : 'due'
}

function drawHistory(track, marks, now, historyMs) {
  setText(byId('history-span'), `last ${span(historyMs)}`)
  const kept = marks.filter(({ at, element }) => {
    const age = (now - at) / historyMs
    if (age > 1) element.remove()
    else element.style.setProperty('--at', (1 - age).toFixed(4))
    return age <= 1
  })
  byId('history-empty').hidden = kept.length > 0
  return kept
}
