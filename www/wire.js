import { byId, make, say, setText } from './dom.js'
import { span } from './format.js'

/** Between two looks at the server's counts, ms. */
const POLL_MS = 2_000
/** After an action the counts are followed this long even without a session, ms. */
const AFTER_ACTION_MS = 15_000

/** Label, the client's metric, the server's count; null where one of them cannot know. */
const ROWS = [
  ['Requests', 'requests', 'requests'],
  ['Answered 401', 'unauthorized', 'unauthorized'],
  ['Refreshes', 'refreshes', 'refreshes'],
  ['Refreshes failed', 'failures', 'refreshes_rejected'],
  ['Replays', 'replays', 'replays'],
  ['Sign-ins', 'signIns', 'logins'],
  ['Sign-outs', 'signOuts', 'logouts'],
  ['Leaked tokens', null, 'foreign_tokens'],
]

/**
 * The server's counts beside the client's own. `#wire` carries the server's as data attributes
 * (`data-requests`, `data-refreshes-ok`, …) and `data-at`, the epoch ms of the last look.
 */
export function createWire({ client, server, isSignedIn }) {
  const root = byId('wire')
  const cells = buildRows()
  let followUntil = 0

  const drawClient = () => {
    const metrics = client.metrics()
    for (const { metric, mine } of cells) if (metric) setText(mine, String(metrics[metric] ?? 0))
    drawMetrics(metrics)
  }
  const look = async () => {
    drawClient()
    try {
      const counts = await server.wire()
      for (const { key, theirs } of cells) if (key) setText(theirs, String(counts[key] ?? 0))
      for (const [key, value] of Object.entries(counts)) {
        if (typeof value === 'number') root.setAttribute(`data-${key.replaceAll('_', '-')}`, String(value))
      }
      root.dataset.at = String(Date.now())
      say(byId('wire-error'), '')
    } catch {
      say(byId('wire-error'), 'The demo server does not answer. Start it again with “cargo xtask demo”, then reload this page.', 'bad')
    }
  }
  const tick = () => {
    if (!document.hidden && (isSignedIn() || Date.now() < followUntil)) void look()
  }

  setInterval(tick, POLL_MS)
  document.addEventListener('visibilitychange', tick)
  return {
    drawClient,
    look,
    /** Something was done: look now, and go on looking for a while. */
    follow() {
      followUntil = Date.now() + AFTER_ACTION_MS
      return look()
    },
  }
}

function buildRows() {
  return ROWS.map(([label, metric, key]) => {
    const row = byId('wire-rows').insertRow()
    const head = make('th', '', label)
    head.scope = 'row'
    row.append(head)
    const mine = row.insertCell()
    const theirs = row.insertCell()
    for (const [cell, known] of [[mine, metric], [theirs, key]]) {
      cell.textContent = known ? '0' : '–'
      cell.classList.toggle('none', !known)
    }
    return { metric, key, mine, theirs }
  })
}

function drawMetrics(metrics) {
  for (const element of byId('metrics').querySelectorAll('[data-metric]')) {
    const name = element.dataset.metric
    setText(element, metricText(name, metrics[name]))
  }
}

function metricText(name, value) {
  if (name === 'failureRate') return `${Math.round((value ?? 0) * 100)} %`
  if (name === 'averageRefreshMs') return typeof value === 'number' && value > 0 ? span(value) : '–'
  return String(value ?? 0)
}
