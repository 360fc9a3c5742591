// The kinds of auth server, as the tests use them.
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

/** The key of the gateway in front of the GoTrue endpoints; public, and no secret. */
export const API_KEY = 'demo-anon-key'

/** Kinds that differ from the three above in what is on the wire; `path` is where the server has them. */
export const DIALECTS = {
  passport: {
    path: '/passport/',
    options: { preset: 'passport', clientId: 'demo' },
    refresh: 'POST /passport/oauth/token',
    credentials: authorize,
  },
  simplejwt: {
    path: '/simplejwt/',
    options: { preset: 'simplejwt' },
    refresh: 'POST /simplejwt/api/token/refresh/',
    credentials: async (_server, person) => person,
  },
  supabase: {
    path: '/supabase/',
    options: { preset: 'supabase', apiKey: API_KEY },
    refresh: 'POST /supabase/auth/v1/token',
    credentials: async (_server, person) => person,
  },
  cookie: {
    path: '/cookie/',
    options: { preset: 'cookie' },
    refresh: 'POST /cookie/refresh',
    credentials: async (_server, person) => person,
    // The page is of another origin than the server, though of the same site.
    init: { credentials: 'include' },
  },
}

/** All of them. */
export const KINDS = { ...PRESETS, ...DIALECTS }

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
