// Numbers in parentheses point at the requirement in behaviour.md that a rule comes from.

/** Where and how the session lives on the server, and how keepfresh looks after it. */
export interface ClientOptions {
  /**
   * Absolute http(s) URL that relative URLs resolve against, by the rules of `new URL(input, baseUrl)`:
   * end it with `/` to keep its path, and mind that an input beginning with `/` drops that path (4.17).
   * Its origin may receive the token. Default: the page's own address.
   *
   * Must be https, or http on this machine (4.26).
   */
  baseUrl?: string
  /**
   * Further origins that may receive the token, each exactly scheme + host + port (6.6).
   * Default: none; a request to any other origin goes out as the native fetch would send it.
   */
  allowedOrigins?: readonly string[]
  /** The kind of auth server: paths, and how the refresh call looks (1.18). Default: none, see `endpoints`. */
  preset?: PresetName
  /** Paths or URLs that differ from the preset's. */
  endpoints?: Endpoints
  /** OAuth 2 client id, sent with refresh and revocation calls (RFC 6749 §6, RFC 7009 §2.1). */
  clientId?: string
  /** OAuth 2 scope for refresh calls (RFC 6749 §6). Default: not sent, which means unchanged. */
  scope?: string
  /**
   * Public key that the server's gateway wants in a header of its own (`apikey` with `'supabase'`). Sent to
   * the auth server's origin only.
   */
  apiKey?: string
  /** How the CSRF token travels where the tokens are cookies (6.22). */
  csrf?: Csrf
  /** How the refresh credential travels, where that differs from the preset. */
  refreshCall?: RefreshCall
  /** Where the tokens are in the server's answers, as dotted paths. */
  tokenFields?: TokenFields
  /** Unit of relative lifetimes in the server's answers. Default `'s'` (RFC 6749 §5.1). */
  lifetimeUnit?: 's' | 'ms'
  /**
   * Reads the answer of a login or refresh call that no preset fits. `body` is the parsed JSON object, or
   * null. Return null when the answer holds no token. It runs while the other tabs wait for this refresh:
   * it must not call the client.
   */
  parseTokens?: (body: unknown, response: Response) => TokenSet | null | Promise<TokenSet | null>
  /**
   * Another library that owns the session, e.g. `supabase.auth.getSession`. Its answer is believed for
   * `sessionCacheTtl`; keepfresh then stores nothing itself.
   */
  getSession?: () => TokenSet | null | Promise<TokenSet | null>
  /** Makes the owner of the session renew it. Default: `getSession` is asked again. */
  refreshSession?: () => TokenSet | null | Promise<TokenSet | null>
  /**
   * Where the session is kept (6.3). Default `'session'`: this tab until it is closed, or the whole browser
   * after `remember: true`. `'memory'` is the strictest: a reload signs out. With the preset `'cookie'`
   * `'local'`, because cookies are shared by all tabs; no token is stored there.
   */
  storage?: 'session' | 'local' | 'memory' | StorageAdapter
  /**
   * Tells several accounts or APIs on one origin apart: 1 to 64 letters, digits, `.`, `_` or `-` (6.15).
   * Default `'default'`.
   */
  storageKey?: string
  /**
   * How long before its end a token is renewed, ms; never more than half of its lifetime (1.11).
   * Default 120 000.
   */
  expiryBuffer?: number
  /** How long an answer of `getSession` is believed, ms. Default 5 000. */
  sessionCacheTtl?: number
  /** Lifetime of a token whose server names none, ms (1.7). Default 900 000; 0 = assume none, a 401 tells. */
  defaultTokenLifetime?: number
  /** Limit of one call to an auth endpoint, ms. Past it the session is kept (2.5). Default 10 000. */
  refreshTimeout?: number
  /** When to stop asking for a refresh for a while (2.10). */
  circuitBreaker?: CircuitBreaker
  /**
   * Reject with a `KeepfreshError` instead of sending a request whose token is known to be dead (2.11).
   * Default false: the server decides, clocks can be wrong.
   */
  strict?: boolean
  /**
   * Follow the sign-ins, refreshes and sign-outs of the origin's other tabs. Default true. With `false`, tabs
   * that share localStorage still refresh one at a time, because a refresh token is good for one use.
   */
  crossTab?: boolean
  /**
   * Decides whether an answer refuses the token, in the place of `status === 401` (2.7): for servers that say
   * 403 or 419, and for 401s that have nothing to do with the token. Asked for every answer of 400 and above,
   * with a copy of it. No answer within 2 s, or a rejection, leaves it to the status.
   */
  isAuthError?: (response: Response) => boolean | Promise<boolean>
  /**
   * Page of this origin that a person is sent to when only a new sign-in helps: the credential is dead and the
   * token used up, or somebody signed out in another tab. The address they came from goes along as `returnTo`;
   * read it with `returnTo()`. At most once in 30 s (6.14). Default: nobody is sent anywhere.
   */
  loginUrl?: string
  /**
   * The transport, for tests and other runtimes. Default: the platform's `fetch` as it was when keepfresh was
   * imported; give `(...call) => globalThis.fetch(...call)` to go through what patches it later (6.13).
   */
  fetch?: typeof globalThis.fetch
  /** Receives log entries instead of the console. No entry holds any part of a token (6.11). */
  logger?: (entry: LogEntry) => void
  /** The least important level that is logged. Default `'warn'`. */
  logLevel?: LogLevel
}

/** A kind of auth server that keepfresh knows (1.18). */
export type PresetName = 'oauth2' | 'passport' | 'sanctum' | 'django' | 'simplejwt' | 'supabase' | 'cookie'

/** Relative to `baseUrl`; the empty string says that the server has none. */
export interface Endpoints {
  /** Credentials in, tokens out. */
  login?: string
  /** A new account in, tokens out. */
  register?: string
  /** The refresh credential in, new tokens out. */
  refresh?: string
  /** Ends this session (RFC 7009 with the `oauth2` preset). */
  logout?: string
  /** Ends every session of the person. */
  logoutAll?: string
  /** Tells who is signed in. */
  me?: string
  /** Sets the CSRF cookie, where the tokens are cookies. */
  csrf?: string
}

/** The double-submit CSRF token: a cookie that scripts may read, repeated in a header. */
export interface Csrf {
  /** Name of the cookie. Default `'XSRF-TOKEN'` (Laravel); Django's is `'csrftoken'`. */
  cookie?: string
  /** Name of the request header. Default `'X-XSRF-TOKEN'` (Laravel); Django's is `'X-CSRFToken'`. */
  header?: string
}

/** Storage of your own, with Web Storage's synchronous methods. What they throw is taken as "not stored". */
export interface StorageAdapter {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** How a refresh call carries its credential. */
export interface RefreshCall {
  /** Default `'POST'`; `'GET'` only where no body is sent. */
  method?: 'POST' | 'GET'
  /** As a JSON body, a form, the `Authorization` header, or a cookie that scripts cannot read. */
  send?: 'json' | 'form' | 'bearer' | 'cookie'
  /** Name of the refresh token in a body. Default `'refresh_token'`. */
  field?: string
}

/** Dotted paths into an answer, e.g. `'data.access_token'`. Default: the usual names are looked for. */
export interface TokenFields {
  accessToken?: string
  refreshToken?: string
  /** Relative lifetime, in `lifetimeUnit`. */
  expiresIn?: string
  /** Absolute end: epoch s, epoch ms or ISO 8601 (1.8). */
  expiresAt?: string
}

/** The breaker around refresh calls; resource requests are never held back by it (2.9). */
export interface CircuitBreaker {
  /** Failed refreshes in a row that open it, 1 or more. Default 2. */
  maxFailures?: number
  /** First pause, ms; doubles up to 5 minutes (2.10). Default 30 000. */
  cooldown?: number
}

/**
 * Tokens in plain words. Both spellings are read, so an OAuth 2 token response or a Supabase session fits
 * as it is.
 */
export type TokenSet = ({ accessToken: string } | { access_token: string }) & {
  refreshToken?: string | null
  refresh_token?: string | null
  /** Absolute end: epoch s (epoch ms above 1e11) or ISO 8601, UTC where no zone is given (1.8). */
  expiresAt?: number | string | null
  expires_at?: number | string | null
  /** Relative lifetime, s (1.5). */
  expiresIn?: number | string | null
  expires_in?: number | string | null
  /** `Bearer` in any case (1.3). Default: Bearer. */
  tokenType?: string | null
  token_type?: string | null
  /** Who it belongs to; comes back as `session.user`. */
  user?: unknown
}

/** A session whose tokens are cookies: what is known of it beside them. */
export type CookieSession = {
  /** Relative lifetime of the access cookie, s. */
  expiresIn?: number | string | null
  /** Absolute end of the access cookie, as in `TokenSet`. */
  expiresAt?: number | string | null
  /** Who it belongs to; comes back as `session.user`. */
  user?: unknown
}

/** A client of one auth session. Methods can be taken off it; none needs `this`. */
export interface Client {
  /**
   * Resolves when the stored session has been read (and `getSession` asked): `state.status` is no longer
   * `'loading'`. Rejects with code `config`, `wasm_unavailable` or `disposed`.
   */
  readonly ready: Promise<void>
  /**
   * `fetch` with the token: attached for allowed origins only, renewed ahead of its end, and after a 401
   * renewed and the request sent once more (4.1 to 4.26). Where the caller sets `Authorization` itself, it
   * keeps out (4.21).
   *
   * Rejects as native fetch does, with the same objects; with a `KeepfreshError` when keepfresh cannot
   * start (`config`, `wasm_unavailable`), after `dispose()`, and in `strict` mode. A refused token is no
   * rejection: the caller gets the 401.
   */
  readonly fetch: (input: RequestInfo | URL, init?: ClientRequestInit) => Promise<Response>
  /**
   * Sends credentials to `endpoints.login` and starts a session with the answer.
   *
   * @throws `rejected` with `status`, and the answer's body as `cause`; `network`, `timeout`,
   *   `invalid_response`
   */
  login(credentials: object, options?: RememberOptions): Promise<Session>
  /** Sends a new account to `endpoints.register` and starts a session with the answer. Throws as `login`. */
  register(details: object, options?: RememberOptions): Promise<Session>
  /**
   * Renews the token now, joining a refresh that is under way. Where the tokens are cookies and nobody is
   * known to be signed in, it finds out: cookies of an earlier visit start a session.
   *
   * @throws `not_signed_in`, `token_expired`, `token_revoked`, `refresh_failed`, `circuit_open`, `offline`,
   *   `timeout`; `retryable` tells whether the session is kept
   */
  refresh(): Promise<Session>
  /** Signs out: here and in the other tabs at once, on the server as well as it goes (5.11). */
  logout(): Promise<void>
  /**
   * Ends every session of the person. Here it always ends.
   *
   * @throws `not_signed_in`, `config`
   */
  logoutAll(): Promise<LogoutAllResult>
  /**
   * Asks the server who is signed in; the parsed answer of `endpoints.me`.
   *
   * @throws `rejected` with `status`, `invalid_response`, `config`
   */
  me<T = unknown>(): Promise<T>
  /** The session, renewed first if it is past its end, or null. Cheap: answered from memory. */
  getSession(): Promise<Session | null>
  /**
   * The access token, or null. The one method that hands a token out: for WebSockets and libraries that
   * take no `fetch`.
   */
  getAccessToken(options?: AccessTokenOptions): Promise<string | null>
  /**
   * Starts a session with tokens from elsewhere, e.g. a callback page.
   *
   * @throws `config` with field `tokens`
   */
  setSession(tokens: TokenSet | CookieSession, options?: RememberOptions): Promise<Session>
  /** Makes the next use ask `options.getSession` again. */
  clearSessionCache(): void
  /**
   * The state as one object, which is replaced only when something changed: fit for
   * `useSyncExternalStore`. In a browser, reading it starts the client.
   */
  readonly state: Snapshot
  /**
   * Calls `listener` after each change of `state`, until the returned function is called. What a listener
   * throws is reported as an uncaught error and harms nobody else; calling the client from it is fine.
   */
  subscribe(listener: () => void): () => void
  /** Calls `listener` at each event of that name, under the rules of `subscribe`. */
  on<Name extends EventName>(name: Name, listener: (detail: EventMap[Name]) => void): () => void
  /** Counts since the client started. */
  metrics(): Metrics
  /**
   * Stops timers and listeners for good; the session stays where it is stored. Before first use it means
   * that nothing is ever loaded. Afterwards methods reject with code `disposed`.
   */
  dispose(): void
}

/** `RequestInit`, and what is keepfresh's own. */
export interface ClientRequestInit extends RequestInit {
  /** `false`: send this request without the token. Default true. */
  auth?: boolean
  /** Needed by browsers for a `ReadableStream` body. Such a request is not sent again after a 401 (4.10). */
  duplex?: 'half'
}

export interface RememberOptions {
  /** Keep the session when the browser is closed (6.3). Default false. */
  remember?: boolean
}

export interface AccessTokenOptions {
  /** Renew first if the token lives shorter than this, ms. Default: as for a request. */
  minValidity?: number
}

/** A login, without its tokens. */
export interface Session {
  /** End of the access token, ms since the epoch on this machine's clock; null where nothing tells. */
  readonly expiresAt: number | null
  /** When the access token was asked for, ms since the epoch. */
  readonly issuedAt: number
  /** Lifetime of the access token, ms. */
  readonly lifetime: number | null
  /** Whether it outlives the browser. */
  readonly remember: boolean
  /** The `user` of the login answer or of the `TokenSet`. */
  readonly user: unknown
}

/** What the client knows at one moment. */
export interface Snapshot {
  readonly status: Status
  readonly session: Session | null
  /** When the token will be renewed ahead of its end, ms since the epoch. */
  readonly refreshAt: number | null
  /** When refreshing resumes while it is paused, ms since the epoch. */
  readonly retryAt: number | null
  /**
   * Code of the last failed refresh until one succeeds; `'storage'` while the session could not be stored.
   * Beside `'loading'`: why the client cannot start.
   */
  readonly error: KeepfreshErrorCode | null
  /** Where the session is kept, or would be. */
  readonly persisted: 'session' | 'local' | 'memory' | 'custom'
  /** Why the last session ended, or why this one is about to; survives a reload. Null where nothing has. */
  readonly ended: SessionEnd | null
}

/** An answer to "why was I signed out?". */
export interface SessionEnd {
  /**
   * - `signed_out`: somebody signed out
   * - `expired`: the server took the credential no longer
   * - `revoked`: the server ended the session
   * - `lost_response`: the answer to a refresh was lost, and the server grants no second try (5.14)
   * - `ambiguous`: three refreshes in a row brought no answer that makes sense (2.1)
   */
  readonly reason: 'signed_out' | 'expired' | 'revoked' | 'lost_response' | 'ambiguous'
  /** One sentence for people, in English; may change. */
  readonly message: string
  /** When, ms since the epoch. */
  readonly at: number
  /** Whether it happened in another tab; null = before this page was opened. */
  readonly elsewhere: boolean | null
  /** The HTTP status that ended it. */
  readonly status: number | null
  /** When its last token was asked for, ms since the epoch. */
  readonly issuedAt: number | null
  /** How often it had been refreshed. */
  readonly refreshes: number | null
}

/**
 * - `loading`: the stored session has not been read yet
 * - `anonymous`: nobody is signed in
 * - `authenticated`, `refreshing`: somebody is
 * - `degraded`: somebody is, but refreshing fails and is paused until `retryAt`
 * - `reauth_required`: the credential is dead; ask the person to sign in again
 * - `signed_out`: the person signed out, here or in another tab
 */
export type Status =
  | 'loading'
  | 'anonymous'
  | 'authenticated'
  | 'refreshing'
  | 'degraded'
  | 'reauth_required'
  | 'signed_out'

/** The events and what comes with them. None is sent without a change, and none holds a token. */
export interface EventMap {
  /** Somebody signed in, here or (`elsewhere`) in another tab. */
  signed_in: { readonly elsewhere: boolean }
  /** There is a new token, which ends at `expiresAt` (ms since the epoch). */
  refreshed: { readonly elsewhere: boolean; readonly expiresAt?: number }
  /** A refresh failed; the session is kept. `retryAt` is in ms since the epoch. */
  refresh_failed: {
    readonly code: KeepfreshErrorCode
    readonly status?: number
    readonly retryAt?: number
    readonly message?: string
  }
  /** The credential is dead (2.1): ask the person to sign in again. */
  reauth_required: { readonly reason: 'expired' | 'revoked' | 'lost_response' | 'ambiguous' }
  /** Somebody signed out, here or (`elsewhere`) in another tab. */
  signed_out: { readonly elsewhere: boolean }
  /** Another person's session took the place of this one (5.12). */
  user_changed: Readonly<Record<never, never>>
  /** Refreshing is paused until `retryAt` (ms since the epoch): it failed, or its tokens are refused (2.13). */
  circuit_opened: { readonly retryAt: number; readonly reason: 'failures' | 'fresh_token_rejected' }
  /** Refreshing works again. */
  circuit_closed: Readonly<Record<never, never>>
  /** The session lives in memory only, or what was stored was unreadable (5.16). */
  storage_degraded: { readonly reason: 'blocked' | 'corrupt' }
  /**
   * Something that an honest page and an honest server do not do; `refreshes` is their number within the last
   * hour.
   * - `refresh_frequency`: more than ten of them
   * - `fresh_token_refused`: a token was refused right after the refresh that brought it
   * - `token_reused`: the server says that the refresh token was used before; somebody else may have it
   */
  suspicious_activity: {
    readonly reason: 'refresh_frequency' | 'fresh_token_refused' | 'token_reused'
    readonly refreshes: number
  }
}

export type EventName = keyof EventMap

/** Counts since the client started; times in ms. */
export interface Metrics {
  /** Requests that keepfresh looked after: allowed origin, no `Authorization` of the caller's own. */
  readonly requests: number
  /** 401 answers to them and to their replays. */
  readonly unauthorized: number
  /** Requests sent once more after a 401. */
  readonly replays: number
  /** Refresh calls that went out. */
  readonly refreshes: number
  /** Waits that shared a refresh under way. */
  readonly joined: number
  /** Tokens taken over from another tab. */
  readonly adopted: number
  /** Refresh calls that failed. */
  readonly failures: number
  /** `failures` / `refreshes`, 0 to 1. */
  readonly failureRate: number
  /** Uses answered by the cache over `options.getSession`. */
  readonly cacheHits: number
  /** Sign-ins in this tab. */
  readonly signIns: number
  /** Sign-outs, from other tabs too. */
  readonly signOuts: number
  /** Duration of the last successful refresh call, ms. */
  readonly lastRefreshMs: number
  /** Mean duration of the successful ones, ms. */
  readonly averageRefreshMs: number
}

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug'

/** Names of log entries; they stay, and more may come. */
export type LogEventName =
  | 'using_token'
  | 'no_token'
  | 'expiring_soon'
  | 'expired'
  | 'refreshing'
  | 'refreshed'
  | 'adopted'
  | 'unauthorized'
  | 'replaying'
  | 'cannot_replay'
  | 'refresh_failed'
  | 'lifetime_unreadable'
  | 'lifetimes_disagree'
  | 'sign_out_unconfirmed'
  | (string & {})

/** One line of the token's life, with no part of a token in it (6.11). */
export interface LogEntry {
  readonly level: Exclude<LogLevel, 'silent'>
  /** Stable name. */
  readonly event: LogEventName
  /** For people; may change. */
  readonly message: string
  /** ms since the epoch. */
  readonly at: number
  /** What else there is to it: durations in ms, moments in ms since the epoch. */
  readonly [field: string]: number | string | boolean
}

export interface LogoutAllResult {
  /** Whether the server agreed. */
  readonly confirmed: boolean
  /** How many sessions it says it ended. */
  readonly revokedCount: number | null
}

/** Stable, and open to additions. */
export type KeepfreshErrorCode =
  /** An option, an argument or an endpoint is wrong; `field` names it. */
  | 'config'
  /** The credential expired on the server. */
  | 'token_expired'
  /** The server ended the session. */
  | 'token_revoked'
  /** The refresh failed in passing; the session is kept. */
  | 'refresh_failed'
  /** Refreshing is paused until `retryAt`; the session is kept. */
  | 'circuit_open'
  /** The browser is offline; the session is kept. */
  | 'offline'
  /** No answer within `refreshTimeout`. */
  | 'timeout'
  /** The browser refused to store the session. */
  | 'storage'
  /** Nobody is signed in. */
  | 'not_signed_in'
  /** The session ended while the call waited. */
  | 'signed_out'
  /** Another person signed in while the call waited. */
  | 'user_changed'
  /** The server refused a sign-in or account call; see `status` and `cause`. */
  | 'rejected'
  /** The answer holds no usable token. */
  | 'invalid_response'
  /** No answer: a network failure, or one that CORS hides. */
  | 'network'
  /** The client was disposed. */
  | 'disposed'
  /** Something inside keepfresh broke. The next call starts it again from the stored session. */
  | 'internal'
  /** WebAssembly is blocked, switched off, or did not arrive (6.10); the message says what to do. */
  | 'wasm_unavailable'
  | (string & {})

/** What keepfresh rejects with: a plain `Error`; recognise it by `isKeepfreshError`. Never holds a token. */
export interface KeepfreshError extends Error {
  readonly name: 'KeepfreshError'
  readonly code: KeepfreshErrorCode
  /** Whether the same call may succeed later without anybody doing anything. */
  readonly retryable: boolean
  /** The option or argument that is wrong, with `config`. */
  readonly field?: string
  /** When to try again, ms since the epoch. */
  readonly retryAt?: number
  /** The HTTP status behind it. */
  readonly status?: number
}
