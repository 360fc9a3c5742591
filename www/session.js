import { byId, say, setText } from './dom.js'
import { explainError, explainLogin, isWrongPassword } from './explain.js'
import { count } from './format.js'

/** Statuses in which there is a session to use or to leave. */
const WITH_SESSION = new Set(['authenticated', 'refreshing', 'degraded', 'reauth_required'])

const PILL = {
  loading: ['arc', 'Loading'],
  anonymous: ['ring', 'Not signed in'],
  authenticated: ['check', 'Signed in'],
  refreshing: ['refresh', 'Refreshing'],
  degraded: ['warn', 'Retrying'],
  reauth_required: ['key', 'Sign in again'],
  signed_out: ['out', 'Signed out'],
  // Not a status of the client: the page itself could not start.
  failed: ['warn', 'Not started'],
}

const NOTES = {
  loading: 'Looking for a stored session…',
  anonymous: 'Two people live in this demo; Ada is filled in.',
  reauth_required: 'The server no longer renews this session. Sign in again; what you were doing can go on.',
  signed_out: 'You are signed out, in this tab and in every other that shared the session.',
}

const KEPT = {
  local: 'localStorage, shared by all tabs, kept for the next start',
  session: 'sessionStorage, this tab only',
  memory: 'memory, until you reload',
}

/** True while there is a session to use or to leave. After a revocation nothing is left but the wish to sign in again. */
export function hasSession({ status, session }) {
  return WITH_SESSION.has(status) && (status !== 'reauth_required' || session !== null)
}

/** The person's name and address, wherever the server puts them. */
export function userOf(snapshot) {
  const user = snapshot.session?.user
  return user?.user ?? user ?? null
}

/** The pill in the header: a sign and words, the status itself in `data-status`. */
export function drawPill(status) {
  const [sign, text] = PILL[status]
  byId('status').dataset.status = status
  byId('status-icon').setAttribute('href', `#i-${sign}`)
  setText(byId('status-text'), text)
}

/** The status pill and the session card: sign-in form or account, and the way out. */
export function createSessionCard({ client, isKeepfreshError, onAct, onLeft }) {
  const form = byId('login')
  const title = byId('session-title')

  const draw = () => {
    const snapshot = client.state
    drawPill(snapshot.status)
    // Asked before anything is hidden: the browser drops the focus of an element that vanishes.
    const focusInside = byId('session').contains(document.activeElement) && document.activeElement !== title
    drawCard(snapshot, form)
    if (focusInside && !document.activeElement?.checkVisibility()) title.focus()
  }
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    if (byId('login-submit').getAttribute('aria-disabled') === 'true') return
    await signIn({ client, isKeepfreshError })
    onAct()
  })
  leaveBy(byId('logout'), async () => {
    await client.logout()
    return ['Signed out.', '']
  })
  leaveBy(byId('logout-all'), async () => everywhere(await client.logoutAll()))

  function leaveBy(button, leave) {
    button.addEventListener('click', async () => {
      if (button.getAttribute('aria-disabled') === 'true') return
      button.setAttribute('aria-disabled', 'true')
      try {
        const [text, kind] = await leave()
        say(byId('session-message'), text, kind)
      } catch (error) {
        say(byId('session-message'), explainError(error, isKeepfreshError), 'bad')
      } finally {
        button.removeAttribute('aria-disabled')
      }
      draw()
      title.focus()
      onLeft()
      onAct()
    })
  }
  return { draw }
}

async function signIn({ client, isKeepfreshError }) {
  const submit = byId('login-submit')
  const problem = missing()
  if (problem) return refuse(problem.text, problem.field)
  submit.setAttribute('aria-disabled', 'true')
  setText(submit, 'Signing in…')
  accept()
  try {
    await client.login({ email: byId('email').value.trim(), password: byId('password').value }, { remember: byId('remember').checked })
    say(byId('session-message'), '')
    byId('session-title').focus()
  } catch (error) {
    refuse(explainLogin(error, isKeepfreshError), isWrongPassword(error) ? byId('password') : submit)
  } finally {
    submit.removeAttribute('aria-disabled')
    setText(submit, 'Sign in')
  }
}

function missing() {
  if (!byId('email').value.includes('@')) return { text: 'Enter an email address, for instance ada@example.com.', field: byId('email') }
  if (byId('password').value === '') return { text: 'Enter the password; Ada’s is lovelace-1815.', field: byId('password') }
  return null
}

function refuse(text, field) {
  say(byId('login-error'), text, 'bad')
  for (const input of [byId('email'), byId('password')]) {
    input.toggleAttribute('aria-invalid', false)
    if (input !== field) continue
    input.setAttribute('aria-invalid', 'true')
    input.setAttribute('aria-describedby', 'login-error')
  }
  field.focus()
}

function accept() {
  say(byId('login-error'), '')
  for (const input of [byId('email'), byId('password')]) {
    input.removeAttribute('aria-invalid')
    input.removeAttribute('aria-describedby')
  }
}

function everywhere({ confirmed, revokedCount }) {
  if (!confirmed) return ['Signed out here, but the server has not confirmed it for your other devices. Sign in again later and repeat it.', 'warn']
  return [revokedCount === null ? 'Signed out everywhere.' : `Signed out everywhere: ${count(revokedCount, 'token', 'tokens')} revoked.`, '']
}

function drawCard(snapshot, form) {
  const { status } = snapshot
  const known = hasSession(snapshot)
  const formShown = status === 'anonymous' || status === 'signed_out' || status === 'reauth_required'
  const user = userOf(snapshot)
  form.hidden = !formShown
  byId('summary').hidden = !known || formShown
  byId('leave').hidden = !known
  byId('leave-help').hidden = !known
  setText(byId('session-title'), titleOf(status, user))
  setText(byId('session-note'), NOTES[status] ?? '')
  byId('session-note').hidden = !NOTES[status]
  if (!known) return
  setText(byId('who'), user?.email ?? 'known to the server; not stored here')
  setText(byId('kept'), KEPT[snapshot.persisted] ?? snapshot.persisted)
  setText(byId('tab-hint-text'), tabHint(snapshot))
}

function titleOf(status, user) {
  if (status === 'loading') return 'Session'
  if (status === 'reauth_required') return 'Sign in again'
  if (!WITH_SESSION.has(status)) return 'Sign in'
  return user?.name ?? user?.email ?? 'Signed in'
}

function tabHint(snapshot) {
  if (snapshot.persisted === 'local') return 'Open a second tab and put it beside this one. It is signed in at once, takes over each refresh without a call of its own, and leaves when you log out here.'
  return 'A second tab starts signed out: without “Remember me” this session belongs to this tab. To watch two tabs follow each other, log out and sign in with “Remember me” on.'
}
