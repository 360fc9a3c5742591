import { byId } from './dom.js'

/** How long news is gathered before it is spoken, ms. */
const GATHER_MS = 900

/** One polite live region for the whole page; news that arrives close together is spoken once, repeats are dropped. */
export function createAnnouncer() {
  const region = byId('announcer')
  let waiting = []
  let timer = null

  const speak = () => {
    timer = null
    region.textContent = waiting.slice(-3).join(' ')
    waiting = []
  }
  return (text) => {
    if (waiting.includes(text)) return
    waiting.push(text)
    timer ??= setTimeout(speak, GATHER_MS)
  }
}
