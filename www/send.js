import { byId, icon, make, say, setText } from './dom.js'
import { explainError, explainStatus } from './explain.js'
import { count, span } from './format.js'

const SIGNS = { ok: 'check', replayed: 'refresh', failed: 'cross' }

/**
 * Sends requests and shows one tile for each. `#result` carries what a script needs:
 * `data-busy` while running, then `data-total`, `data-ok` (replayed ones included), `data-replayed`, `data-failed`,
 * `data-refreshes` and `data-ms`. They are absent until the run is over.
 */
export function createSender({ client, server, isKeepfreshError, onDone }) {
  const result = byId('result')
  // New on every load: the server tells a replay by the same path and query, so two loads must not share one.
  const tab = [...crypto.getRandomValues(new Uint8Array(2))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  let last = 0
  let busy = false

  return async function send(total) {
    if (busy) return
    busy = true
    begin(result, total)
    const before = client.metrics()
    const started = performance.now()
    const numbers = Array.from({ length: total }, () => ++last)
    const answers = await Promise.all(numbers.map((n, at) => one(client, n, tab, byId('tiles').children[at])))
    const ms = performance.now() - started
    await markReplayed(server, tab, answers)
    finish(result, { answers, ms, before, after: client.metrics(), session: client.state.status }, isKeepfreshError)
    busy = false
    onDone()
  }
}

async function one(client, n, tab, tile) {
  const started = performance.now()
  const answer = { n, tile, is: 'failed', status: null, error: null, ms: 0 }
  try {
    const response = await client.fetch(`/api/bookings?n=${n}&tab=${tab}`)
    // An unread body would keep its connection busy.
    await response.arrayBuffer()
    answer.status = response.status
    if (response.ok) answer.is = 'ok'
  } catch (error) {
    answer.error = error
  }
  answer.ms = performance.now() - started
  draw(answer)
  return answer
}

/** Which requests took two sends is something only the server's log knows: it saw a 401 and then a success. */
async function markReplayed(server, tab, answers) {
  const succeeded = answers.filter((answer) => answer.is === 'ok')
  if (succeeded.length === 0) return
  let log
  try {
    log = (await server.wire(true)).log ?? []
  } catch {
    return // The tiles stay "ok", which is true as well; the wire panel says that the server is silent.
  }
  const refused = new Set(log.filter((line) => line.status === 401).map((line) => String(line.query).replace(/^\?/, '')))
  for (const answer of succeeded) {
    if (!refused.has(`n=${answer.n}&tab=${tab}`)) continue
    answer.is = 'replayed'
    draw(answer)
  }
}

function draw({ n, tile, is, status, error, ms }) {
  tile.dataset.is = is
  tile.replaceChildren(icon(SIGNS[is]))
  const answered = status === null ? (error?.code ?? 'no answer') : status
  tile.title = `Request ${n}: ${is === 'replayed' ? `401, then ${answered} with the new token` : answered}, ${span(ms)}`
}

function begin(result, total) {
  for (const name of ['total', 'ok', 'replayed', 'failed', 'refreshes', 'ms']) delete result.dataset[name]
  result.dataset.busy = 'true'
  const tiles = byId('tiles')
  tiles.dataset.size = total === 1 ? 'one' : 'many'
  tiles.replaceChildren(...Array.from({ length: total }, () => make('div', 'tile')))
  byId('problems').hidden = true
  setText(byId('result-words'), total === 1 ? 'Sending…' : `Sending ${total} at once…`)
  for (const id of ['count-first', 'count-replayed', 'count-failed', 'count-took']) setText(byId(id), '…')
}

function finish(result, { answers, ms, before, after, session }, isKeepfreshError) {
  const total = answers.length
  const failed = answers.filter((answer) => answer.is === 'failed')
  const replayed = answers.filter((answer) => answer.is === 'replayed').length
  const ok = total - failed.length
  const refreshes = Math.max(0, after.refreshes - before.refreshes)
  setText(byId('count-first'), String(ok - replayed))
  setText(byId('count-replayed'), String(replayed))
  setText(byId('count-failed'), String(failed.length))
  setText(byId('count-took'), span(ms))
  setText(byId('result-words'), sentence({ total, ok, replayed, failed: failed.length, refreshes }))
  showProblems(failed, session, isKeepfreshError)
  Object.assign(result.dataset, { total, ok, replayed, failed: failed.length, refreshes, ms: Math.round(ms) })
  delete result.dataset.busy
}

function sentence({ total, ok, replayed, failed, refreshes }) {
  if (ok === 0) return total === 1 ? 'The request failed.' : `All ${total} failed.`
  const answered = total === 1 ? 'Answered' : failed === 0 ? `All ${total} answered` : `${ok} of ${total} answered`
  if (replayed > 0 && refreshes > 0) return `${answered}: ${count(refreshes, 'refresh', 'refreshes')} repaired ${count(replayed, 'request', 'requests')}.`
  if (replayed > 0) return `${answered}: ${count(replayed, 'request', 'requests')} replayed with a token that was fresh already.`
  if (refreshes > 0) return `${answered}, after ${count(refreshes, 'refresh', 'refreshes')} ahead of the first send.`
  return `${answered} at the first try.`
}

function showProblems(failed, session, isKeepfreshError) {
  const groups = new Map()
  for (const { status, error } of failed) {
    const text = error ? explainError(error, isKeepfreshError) : explainStatus(status, session)
    groups.set(text, (groups.get(text) ?? 0) + 1)
  }
  const list = byId('problems')
  list.replaceChildren(...[...groups].map(([text, times]) => {
    const item = make('li')
    say(item, times > 1 ? `${times} times: ${text}` : text)
    return item
  }))
  list.hidden = groups.size === 0
}
