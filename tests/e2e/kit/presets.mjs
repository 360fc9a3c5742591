// The three kinds of auth server, as the tests use them.
import { createHash, randomBytes } from 'node:crypto'

export const ADA = { email: 'ada@example.com', password: 'lovelace-1815' }
export const GRACE = { email: 'grace@example.com', password: 'hopper-1906' }

const REDIRECT = 'http://127.0.0.1/callback'

export const PRESETS = {
  sanctum: {
    options: { preset: 'sanctum' },
    refresh: 'POST /api/auth/refresh',
    credentials: async (_server, person) => person,
  },
  django: {
    options: { preset: 'django' },
    refresh: 'POST /auth/refresh/',
    credentials: async (_server, person) => person,
  },
  oauth2: {
    options: { preset: 'oauth2', clientId: 'demo' },
    refresh: 'POST /oauth/token',
    credentials: authorize,
  },
}

/** Signs in on the authorization page, with PKCE: what the callback page would hand to `login`. */
async function authorize(server, person) {
  const code_verifier = randomBytes(32).toString('base64url')
  const state = randomBytes(8).toString('hex')
  const form = {
    ...person,
    response_type: 'code',
    client_id: 'demo',
    redirect_uri: REDIRECT,
    scope: '',
    state,
    code_challenge: createHash('sha256').update(code_verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }
  const response = await fetch(`${server.api}/oauth/authorize`, {
    method: 'POST',
    body: new URLSearchParams(form),
    redirect: 'manual',
  })
  const callback = new URL(response.headers.get('location') ?? 'about:blank')
  if (response.status !== 303 || callback.searchParams.get('state') !== state) {
    throw new Error(`/oauth/authorize answered ${response.status}: ${await response.text()}`)
  }
  return { code: callback.searchParams.get('code'), code_verifier, redirect_uri: REDIRECT }
}
