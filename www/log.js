import { byId, make } from './dom.js'
import { clock } from './format.js'

/** Lines kept of each sort. Debug lines have their own allowance, so that a burst cannot push the events out. */
const KEEP = 250
/** Lines are gathered this long, ms, so that a burst of 50 requests costs one layout. */
const GATHER_MS = 60
/** Equal lines this close together, ms, are one line with a count: 50 replays must not push the refresh out of sight. */
const FOLD_MS = 1_500
const SHOWN_APART = new Set(['level', 'event', 'message', 'at'])

/** The event log: `entry()` takes a log entry of the client, `event()` one of its events. */
export function createLog() {
  const list = byId('events')
  const kept = { debug: [], other: [] }
  let waiting = []
  let timer = null

  const flush = () => {
    timer = null
    list.prepend(...waiting.reverse())
    waiting = []
    byId('log-empty').hidden = list.childElementCount > 0
  }
  const folded = (line) => {
    const last = kept.other.at(-1)
    const same = last && ['level', 'event', 'message'].every((key) => last.dataset[key] === line.dataset[key])
    if (!same || line.dataset.at - last.dataset.at > FOLD_MS) return false
    last.dataset.times = String(Number(last.dataset.times ?? 1) + 1)
    last.querySelector('.times').textContent = ` ×${last.dataset.times}`
    return true
  }
  const add = (line, sort) => {
    if (sort === 'other' && line.dataset.level !== 'event' && folded(line)) return
    kept[sort].push(line)
    if (kept[sort].length > KEEP) {
      const old = kept[sort].shift()
      waiting = waiting.filter((item) => item !== old)
      old.remove()
    }
    waiting.push(line)
    timer ??= setTimeout(flush, GATHER_MS)
  }

  byId('log-debug').addEventListener('change', (event) => { list.dataset.debug = event.target.checked ? 'on' : 'off' })
  byId('log-clear').addEventListener('click', () => {
    kept.debug = []
    kept.other = []
    waiting = []
    list.replaceChildren()
    byId('log-empty').hidden = false
  })

  return {
    entry({ level, event, message, at, ...fields }) {
      add(line({ level, name: event, message, at, fields }), level === 'debug' ? 'debug' : 'other')
    },
    event(name, detail) {
      add(line({ level: 'event', name, message: '', at: Date.now(), fields: { ...detail } }), 'other')
    },
  }
}

function line({ level, name, message, at, fields }) {
  const item = make('li', 'entry')
  item.dataset.level = level
  Object.assign(item.dataset, { event: name, message, at: String(at) })
  const time = make('time', '', clock(at))
  time.append(make('span', '', `.${String(Math.floor(at) % 1000).padStart(3, '0')}`))
  time.dateTime = new Date(at).toISOString()
  const title = make('span', 'name', name)
  title.append(make('span', 'times'))
  item.append(time, make('span', 'tag', level), title)
  const extra = Object.entries(fields).filter(([key, value]) => !SHOWN_APART.has(key) && isPlain(value))
  if (!message && extra.length === 0) return item
  const text = make('div', 'text', message ? `${message} ` : '')
  text.append(make('span', 'fields', extra.map(([key, value]) => `${key}=${readable(value)}`).join('  ')))
  item.append(text)
  return item
}

/** A session or a user inside an event's detail says nothing new here, and objects print badly. */
function isPlain(value) {
  return ['string', 'number', 'boolean'].includes(typeof value)
}

/** Numbers beyond 2001 in ms are points in time; as plain numbers nobody can read them. */
function readable(value) {
  return typeof value === 'number' && value > 1e12 ? clock(value) : value
}
