// Compiled, never run: the uses that must type-check, and those that must not.

import {
  type Client,
  type ClientOptions,
  createClient,
  isKeepfreshError,
  type TokenSet,
} from '../src/index.js'
import { createClient as createSlim } from '../src/slim.js'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <_ extends true>() => {}

// The three lines of the readme.
export const api = createClient({ baseUrl: 'https://api.example.com', preset: 'sanctum' })
await api.login({ email: 'a', password: 'b' }, { remember: true })
const response = await api.fetch('/bookings')
holds<Equal<typeof response, Response>>()

const slim: Client = createSlim({})
slim.dispose()

// A drop-in: it goes where a fetch is wanted, also without its client.
const { fetch } = api
const dropIn: typeof globalThis.fetch = fetch
const transport: ClientOptions = { fetch: dropIn }
createClient(transport)
await fetch(new URL('https://a.example/'), { auth: false, priority: 'high', method: 'POST' })
await fetch(new Request('https://a.example/'), { body: new ReadableStream(), duplex: 'half' })
// @ts-expect-error
await fetch('/x', { auth: 'no' })

// Both spellings of a token set, and a Supabase session as it is.
const session = {
  access_token: 'a',
  refresh_token: 'r',
  expires_in: 3600,
  expires_at: 1_700_000_000,
  token_type: 'bearer' as const,
  provider_token: null,
  user: { id: 'u', aud: 'authenticated' },
}
await api.setSession(session)
await api.setSession({ accessToken: 'a', expiresAt: '2030-01-01T00:00:00Z' }, { remember: true })
createClient({ getSession: async () => session, refreshSession: async () => null })
createClient({
  parseTokens(body, answer): TokenSet | null {
    holds<Equal<typeof body, unknown>>()
    return answer.ok ? { accessToken: String(body) } : null
  },
})
// @ts-expect-error
await api.setSession({ refreshToken: 'r' })

// Events by name.
api.on('circuit_opened', ({ retryAt, reason }) => {
  holds<Equal<typeof retryAt, number>>()
  holds<Equal<typeof reason, 'failures' | 'fresh_token_rejected'>>()
})
const stop = api.on('signed_out', () => {})
holds<Equal<typeof stop, () => void>>()
// @ts-expect-error
api.on('signedOut', () => {})

// As React's useSyncExternalStore takes it.
declare function useSyncExternalStore<T>(subscribe: (changed: () => void) => () => void, read: () => T): T
const { status, session: current } = useSyncExternalStore(api.subscribe, () => api.state)
if (status === 'authenticated') holds<Equal<typeof current extends null ? true : false, false>>()
// @ts-expect-error
if (status === 'logged_in') stop()

const person = await api.me<{ name: string }>()
holds<Equal<typeof person.name, string>>()
const unknownPerson = await api.me()
holds<Equal<typeof unknownPerson, unknown>>()

try {
  await api.refresh()
} catch (error) {
  if (isKeepfreshError(error) && error.code === 'circuit_open')
    holds<Equal<typeof error.retryAt, number | undefined>>()
}

// @ts-expect-error
createClient({ preset: 'sanktum' })
// @ts-expect-error
createClient({ baseURL: 'https://a.example' })
// @ts-expect-error
createClient({ storage: 'cookie' })
// @ts-expect-error
api.state.status = 'anonymous'
