// A page of its own that starts a client without any help from outside; the outcome is left in
// `window.outcome`.
const outcome = { code: null, message: null, status: null }
try {
  const { api } = await (await fetch('/demo.json')).json()
  const entry = new URL(import.meta.url).searchParams.get('entry') ?? 'slim'
  const { createClient } = await import(`/keepfresh/${entry}.js`)
  const client = createClient({ baseUrl: api, preset: 'sanctum' })
  await client.ready
  await client.login({ email: 'ada@example.com', password: 'lovelace-1815' })
  const response = await client.fetch('/api/bookings?n=csp')
  outcome.status = response.status
} catch (error) {
  outcome.code = error.code ?? error.name
  outcome.message = error.message
}
window.outcome = outcome
