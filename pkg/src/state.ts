import type { Metrics, Snapshot } from './types.js'

/** The state before anything is loaded. */
export const LOADING: Snapshot = Object.freeze({
  status: 'loading',
  session: null,
  refreshAt: null,
  retryAt: null,
  error: null,
  persisted: 'memory',
  ended: null,
})

/** The counts before anything is loaded. */
export const NO_METRICS: Metrics = {
  requests: 0,
  unauthorized: 0,
  replays: 0,
  refreshes: 0,
  joined: 0,
  adopted: 0,
  failures: 0,
  failureRate: 0,
  cacheHits: 0,
  signIns: 0,
  signOuts: 0,
  lastRefreshMs: 0,
  averageRefreshMs: 0,
}

/**
 * `before` itself when nothing changed, else the new state; a session that did not change stays the same
 * object too, so that a selector on it does not fire.
 */
export function nextState(before: Snapshot, after: Snapshot): Snapshot {
  if (same(before, after)) return before
  const session = same(before.session, after.session) ? before.session : after.session
  return Object.freeze({ ...after, session })
}

/** Deep equality of JSON-like values. */
function same(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (!isObject(one) || !isObject(other) || Array.isArray(one) !== Array.isArray(other)) return false
  const keys = Object.keys(one)
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && same(one[key], other[key]))
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
