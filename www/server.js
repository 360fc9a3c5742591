/** The demo server's own routes: what the wire saw, and the switches that break things. They never carry a token. */
export function createServer(api) {
  async function call(method, path, body) {
    const response = await fetch(api + path, {
      method,
      headers: body ? { 'Content-Type': 'application/json' } : {},
      body: body ? JSON.stringify(body) : undefined,
      cache: 'no-store',
    })
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}`)
    const text = await response.text()
    return text ? JSON.parse(text) : null
  }

  return {
    /** The server's counts; with `log` also its last requests, one line each. */
    wire: (log = false) => call('GET', log ? '/wire?log=1' : '/wire'),
    resetWire: () => call('DELETE', '/__test/wire'),
    /** All live access tokens of `email` expire now. */
    expire: (email) => call('POST', '/__test/expire', { email }),
    /** All tokens of `email` are revoked. */
    revoke: (email) => call('POST', '/__test/revoke', { email }),
    /** New access tokens live this long, remembered or not, whatever the back end. Seconds. */
    setLifetime: (seconds) => call('POST', '/__test/lifetimes', { short_lived: seconds, long_lived: seconds, access_lifetime: seconds }),
    /** `kind`: 'status' answers 503, 'drop' closes the connection unanswered. */
    takeDown: (kind) => call('POST', '/__test/faults', kind === 'drop' ? { match: '*', drop: 'before' } : { match: '*', status: 503 }),
    bringUp: () => call('DELETE', '/__test/faults'),
    /** Whether some tab has taken the server down. */
    async isDown() {
      const answer = await call('GET', '/__test/faults')
      const faults = Array.isArray(answer) ? answer : (answer?.faults ?? [])
      return faults.some((fault) => fault.match === '*')
    },
  }
}
