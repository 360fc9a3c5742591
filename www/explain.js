import { left } from './format.js'

const DOWN = 'If “Server down” is on, switch it off; otherwise check that the demo server still runs. Then try again.'

/** What each error of keepfresh means for the person at the page, and what to do about it. */
const BY_CODE = {
  circuit_open: 'Refreshing has failed several times, so keepfresh waits before it tries again.',
  refresh_failed: 'The token could not be refreshed. Check that “Server down” is off, then press “Refresh now”.',
  token_expired: 'The token has expired and cannot be refreshed. Sign in again.',
  token_revoked: 'The server has revoked this session. Sign in again.',
  offline: 'The browser is offline. Connect it again; keepfresh goes on by itself.',
  timeout: 'The server took too long to answer. Check that it runs, then try again.',
  network: `No answer from the server. ${DOWN}`,
  invalid_response: 'The server answered without a usable token. Check that this page talks to the keepfresh demo server.',
  not_signed_in: 'Nobody is signed in. Sign in first.',
  signed_out: 'You were signed out while this ran. Sign in again.',
  user_changed: 'Someone else signed in while this ran, so it was not sent under the new name. Try again.',
  disposed: 'The client of this page was shut down. Reload the page.',
  storage: 'The browser refuses to store the session. Allow site data for this page, or go on: it lasts until you close the tab.',
  config: 'This page has set keepfresh up wrongly. The event log has the details.',
  wasm_unavailable: 'WebAssembly could not start. Use a current browser, allow WebAssembly for this page (lockdown modes switch it off) and reload.',
}

/** A sentence or two for an error thrown by the client. `isKeepfreshError` comes from the package. */
export function explainError(error, isKeepfreshError) {
  if (!isKeepfreshError(error)) return error instanceof TypeError ? `No answer from the server. ${DOWN}` : `Something unexpected happened: ${error?.message ?? error}. Reload the page.`
  const wait = typeof error.retryAt === 'number' ? ` Next try in ${left(error.retryAt - Date.now())}.` : ''
  if (error.status === 429) return `The server asks for a pause: too many calls.${wait || ' Wait a minute, then try again.'}`
  if (error.status >= 500) return `The server answers ${error.status}. ${DOWN}`
  const known = BY_CODE[error.code]
  return known ? known + wait : `${error.message || error.code}.${wait || ` ${DOWN}`}`
}

/** The same for a sign-in that failed, where a 401 means a wrong password and not a dead token. */
export function explainLogin(error, isKeepfreshError) {
  if (isKeepfreshError(error) && isWrongPassword(error)) return 'Email or password is wrong. The demo knows ada@example.com with lovelace-1815 and grace@example.com with hopper-1906.'
  if (isKeepfreshError(error) && error.status === 429) {
    const wait = typeof error.retryAt === 'number' ? left(error.retryAt - Date.now()) : 'a minute'
    return `Too many sign-ins: the server allows five a minute. Wait ${wait}, then try again.`
  }
  return `You are not signed in. ${explainError(error, isKeepfreshError)}`
}

/** True where a failed sign-in is about the fields and not about the network or the server. */
export function isWrongPassword(error) {
  return error?.status === 400 || error?.status === 401 || error?.status === 422
}

/** What to do about an answer that is not 2xx. `session` is the client's status: a 401 in an outage ends nothing. */
export function explainStatus(status, session) {
  if (status === 401 && session === 'degraded') return `401: the token has run out and no refresh gets through. The session is kept and keepfresh tries again. ${DOWN}`
  if (status === 401 && session === 'authenticated') return '401: the server refuses even the new token. Press “Refresh now”; if that does not help, sign in again.'
  if (status === 401) return '401: the server refuses the token. Sign in again.'
  if (status === 403) return '403: this account may not do that. Sign in with another one.'
  if (status === 429) return '429: too many requests. Wait a minute, then try again.'
  if (status >= 500) return `${status}: the server is down. ${DOWN}`
  return `${status}: not the answer this page expects. Reload it.`
}
