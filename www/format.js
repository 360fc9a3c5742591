/** Times as people read them. Every argument is in milliseconds. Number and unit are held together by a no-break space. */
const NBSP = '\u00a0'

/** A span in words: `850 ms`, `1.2 s`, `12 s`, `3 min 48 s`, `2 h 5 min`. */
export function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}${NBSP}ms`
  if (ms < 10_000) return `${Math.round(ms / 100) / 10}${NBSP}s`
  return seconds(Math.round(ms / 1000) * 1000)
}

/** A countdown or age, whole seconds, never below zero: `0 s`, `3 min 48 s`. */
export function seconds(ms) {
  const total = Math.max(0, Math.floor(ms / 1000))
  if (total < 60) return `${total}${NBSP}s`
  const minutes = Math.floor(total / 60)
  if (minutes < 60) return join(minutes, 'min', total % 60, 's')
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return join(hours, 'h', minutes % 60, 'min')
  return join(Math.floor(hours / 24), 'days', hours % 24, 'h')
}

/** Time left, rounded up, so that a countdown never says 0 s while it still runs. */
export function left(ms) {
  return seconds(Math.ceil(Math.max(0, ms) / 1000) * 1000)
}

/** Wall-clock time of an epoch value: `14:03:09`. */
export function clock(epochMs) {
  const date = new Date(epochMs)
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')
}

/** `1 refresh`, `2 refreshes`. */
export function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`
}

function join(big, bigUnit, small, smallUnit) {
  const first = `${big}${NBSP}${bigUnit}`
  return small === 0 ? first : `${first}${NBSP}${small}${NBSP}${smallUnit}`
}
