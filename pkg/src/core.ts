import type {
  ClientOptions,
  CookieSession,
  EventName,
  LogEntry,
  LogoutAllResult,
  Metrics,
  Session,
  Snapshot,
  TokenSet,
} from './types.js'

/** What a caller gave to `fetch` that a `Request` does not keep. */
export interface Extra {
  /** `false`: send without the token. */
  auth?: boolean
  /** The body is a `ReadableStream` and cannot be sent twice. */
  stream?: boolean
  /** To be given to the native fetch beside the `Request`. */
  init?: RequestInit
}

/** Who the core tells its news: called from a microtask, so calling the core back is fine. */
export interface Host {
  changed(snapshot: Snapshot): void
  event(name: EventName, detail: object): void
  log(entry: LogEntry): void
}

/** The compiled client. Times are in ms. */
export interface Core {
  ready(): Promise<void>
  fetch(request: Request, extra: Extra | undefined): Promise<Response>
  login(credentials: object, remember: boolean): Promise<Session>
  register(details: object, remember: boolean): Promise<Session>
  refresh(): Promise<Session>
  logout(): Promise<void>
  logoutAll(): Promise<LogoutAllResult>
  me(): Promise<unknown>
  getSession(): Promise<Session | null>
  getAccessToken(minValidity?: number): Promise<string | null>
  setSession(tokens: TokenSet | CookieSession, remember: boolean): Promise<Session>
  clearSessionCache(): void
  metrics(): Metrics
  dispose(): void
}

/** Throws a `KeepfreshError` of code `config` when an option is wrong. */
export type CoreConstructor = new (options: ClientOptions, host: Host) => Core

/** Brings the core; every call after a success gives the same one. */
export type LoadCore = () => Promise<CoreConstructor>
