// What the tests use in a page. Everything that keepfresh says goes to Node as well, where it is searched
// for tokens.
const EVENTS = [
  'signed_in',
  'refreshed',
  'refresh_failed',
  'reauth_required',
  'signed_out',
  'user_changed',
  'circuit_opened',
  'circuit_closed',
  'storage_degraded',
  'suspicious_activity',
]

const happened = []
const snapshots = []
const logs = []
const messages = []
/** Whether each showing of this page was a return from the back-forward cache. */
const shows = []
let freezes = 0
let shifted = 0
let passed = 0

const now = Date.now.bind(Date)
Date.now = () => now() + shifted + passed
const sinceStart = performance.now.bind(performance)
performance.now = () => sinceStart() + passed

const tell = (where, what) => void window.overheard?.(where, JSON.stringify(what) ?? String(what))

window.harness = {
  logs,
  snapshots,
  messages,
  shows,
  freezes: () => freezes,

  /** Makes `window.client`. */
  async create({ entry, wait, options }) {
    const { createClient } = await import(`/keepfresh/${entry}.js`)
    listenToChannel(options.storageKey ?? 'default')
    const client = createClient({ logger, logLevel: 'debug', ...options })
    window.client = client
    for (const name of EVENTS) client.on(name, (detail) => noteEvent(name, detail))
    client.subscribe(() => noteSnapshot(client.state))
    if (wait) await client.ready
  },

  events: (name) => happened.filter((event) => event.name === name).map((event) => event.detail),

  /** When the first event of that name came, ms since the epoch. */
  eventAt: (name) => happened.find((event) => event.name === name)?.at,

  async call(method, given) {
    try {
      const value = await window.client[method](...given)
      tell(method, method === 'getAccessToken' ? null : value)
      return { value }
    } catch (error) {
      return { error: described(error) }
    }
  },

  /** Outcomes of `count` requests at once: statuses and error codes with their numbers. */
  async burst({ count, first, path, init }) {
    const sends = Array.from({ length: count }, (_, at) => outcome(`${path}?n=${first + at}`, init))
    const counts = {}
    for (const result of await Promise.all(sends)) counts[result] = (counts[result] ?? 0) + 1
    return counts
  },

  async send(input, init) {
    try {
      const response = await window.client.fetch(input, init)
      const { status, redirected, url, type, bodyUsed } = response
      return { status, redirected, url, type, bodyUsed, text: await response.text() }
    } catch (error) {
      return { error: described(error) }
    }
  },

  described,
  shift: (ms) => {
    shifted = ms
  },
  pass: (ms) => {
    passed = ms
  },
}

addEventListener('pageshow', ({ persisted }) => shows.push(persisted))
document.addEventListener('freeze', () => {
  freezes += 1
})

function logger(entry) {
  logs.push(entry)
  tell('log', entry)
}

function noteEvent(name, detail) {
  happened.push({ name, detail, at: Date.now() })
  tell('event', { name, detail })
  tell('metrics', window.client.metrics())
}

function noteSnapshot(snapshot) {
  snapshots.push(snapshot)
  tell('snapshot', snapshot)
}

/**
 * A channel of one's own hears what the client's channel sends, in this page too. It is closed while the page is
 * away: a message would end a page in the back-forward cache. Tests that watch the client's channels leave the
 * plain constructor in `PlainChannel`.
 */
function listenToChannel(key) {
  const Channel = window.PlainChannel ?? BroadcastChannel
  const open = () => {
    const channel = new Channel(`keepfresh.${key}`)
    channel.onmessage = ({ data }) => {
      messages.push(data)
      tell('message', data)
    }
    addEventListener('pagehide', () => channel.close(), { once: true })
  }
  open()
  addEventListener('pageshow', ({ persisted }) => persisted && open())
}

async function outcome(path, init) {
  try {
    const response = await window.client.fetch(path, init)
    // An unread body would keep its connection busy.
    await response.arrayBuffer()
    return response.status
  } catch (error) {
    return described(error).code ?? error.name
  }
}

/** An error with all its own members, as far as they can be sent. */
function described(error) {
  const own = Object.fromEntries(Object.getOwnPropertyNames(error ?? {}).map((name) => [name, error[name]]))
  const all = { name: error?.name, message: error?.message, text: String(error), ...own }
  tell('error', { ...all, cause: String(all.cause?.stack ?? JSON.stringify(all.cause)) })
  return JSON.parse(JSON.stringify(all))
}
