// A core that only records, for what is TypeScript's own part. What the client does as a whole is tested
// against the real one.

import type { Core, CoreConstructor, Extra, Host, LoadCore } from '../src/core.js'
import { NO_METRICS } from '../src/state.js'
import type { ClientOptions, Session, Snapshot } from '../src/types.js'

export const SESSION: Session = { expiresAt: 2, issuedAt: 1, lifetime: 1, remember: false, user: { id: 7 } }
export const SIGNED_IN: Snapshot = {
  status: 'authenticated',
  session: SESSION,
  refreshAt: 1,
  retryAt: null,
  error: null,
  persisted: 'session',
  ended: null,
}

export class FakeCore implements Core {
  calls: unknown[][] = []
  sent: { request: Request; extra: Extra | undefined }[] = []

  constructor(
    readonly options: ClientOptions,
    readonly host: Host,
  ) {}

  #note<T>(name: string, values: unknown[], result: T): Promise<T> {
    this.calls.push([name, ...values])
    return Promise.resolve(result)
  }

  async fetch(request: Request, extra: Extra | undefined): Promise<Response> {
    this.sent.push({ request, extra })
    return new Response('ok')
  }

  ready = () => this.#note('ready', [], undefined)
  login = (...values: unknown[]) => this.#note('login', values, SESSION)
  register = (...values: unknown[]) => this.#note('register', values, SESSION)
  refresh = () => this.#note('refresh', [], SESSION)
  logout = () => this.#note('logout', [], undefined)
  logoutAll = () => this.#note('logoutAll', [], { confirmed: true, revokedCount: 2 })
  me = () => this.#note('me', [], { name: 'Ada' })
  getSession = () => this.#note('getSession', [], SESSION)
  getAccessToken = (...values: unknown[]) => this.#note('getAccessToken', values, 'token')
  setSession = (...values: unknown[]) => this.#note('setSession', values, SESSION)
  clearSessionCache = () => void this.calls.push(['clearSessionCache'])
  metrics = () => ({ ...NO_METRICS, requests: this.sent.length })
  dispose = () => void this.calls.push(['dispose'])
}

/** A `LoadCore` that counts its calls and the cores made, and waits for `open` when told to. */
export function fakeLoad(wait = false) {
  const cores: FakeCore[] = []
  let open = () => {}
  const gate = wait ? new Promise<void>((resolve) => (open = resolve)) : undefined
  class Counted extends FakeCore {
    constructor(options: ClientOptions, host: Host) {
      super(options, host)
      cores.push(this)
    }
  }
  let loads = 0
  const load: LoadCore = async (): Promise<CoreConstructor> => {
    loads += 1
    await gate
    return Counted
  }
  return { load, cores, open: () => open(), loads: () => loads }
}

/** The one core of a test with one client. */
export function only(cores: FakeCore[]): FakeCore {
  const [core] = cores
  if (!core || cores.length > 1) throw new Error(`${cores.length} cores instead of one`)
  return core
}
