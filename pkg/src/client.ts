import type { Core, CoreConstructor, Host, LoadCore } from './core.js'
import { isKeepfreshError, makeError } from './error.js'
import { makeListeners } from './listeners.js'
import { makeLog } from './log.js'
import { type Built, build, isBase, rejectAborted, whileWanted } from './request.js'
import { LOADING, NO_METRICS, nextState } from './state.js'
import type { Client, ClientOptions, Metrics, Snapshot } from './types.js'

// Taken at import, so that a page which is patched later cannot listen in (behaviour.md 6.13).
const nativeFetch = globalThis.fetch

const BROKEN =
  'something inside keepfresh broke; it starts again from the stored session, so try again, and please report it'

/** `createClient` for both entry points; they differ in how the core is loaded. */
export function makeClient(options: ClientOptions, load: LoadCore): Client {
  const settings = copyOf(options)
  const runtime = makeRuntime(settings, load)
  const { use } = runtime
  return {
    get ready() {
      return runtime.ready()
    },
    get state() {
      return runtime.state()
    },
    fetch: (input, init) => send(runtime, input, init, own(settings, 'baseUrl')),
    login: (credentials, how) => use((core) => core.login(credentials, how?.remember ?? false)),
    register: (details, how) => use((core) => core.register(details, how?.remember ?? false)),
    refresh: () => use((core) => core.refresh()),
    logout: () => use((core) => core.logout()),
    logoutAll: () => use((core) => core.logoutAll()),
    me: <T>() => use((core) => core.me() as Promise<T>),
    getSession: () => use((core) => core.getSession()),
    getAccessToken: (how) => use((core) => core.getAccessToken(how?.minValidity)),
    setSession: (tokens, how) => use((core) => core.setSession(tokens, how?.remember ?? false)),
    clearSessionCache: () => runtime.core()?.clearSessionCache(),
    subscribe: (listener) => runtime.listen('', listener),
    on: (name, listener) => runtime.listen(name, listener),
    metrics: runtime.metrics,
    dispose: runtime.dispose,
  }
}

/** One client's core: not there, on its way, there, or gone for good. */
interface Runtime {
  core(): Core | undefined
  start(): Promise<Core>
  /** In the same turn if the core is there, else as soon as it is. */
  use<T>(run: (core: Core) => Promise<T>): Promise<T>
  ready(): Promise<void>
  state(): Snapshot
  /** The name '' stands for changes of the state. */
  listen(name: string, listener: (detail: never) => void): () => void
  metrics(): Metrics
  dispose(): void
}

function makeRuntime(settings: ClientOptions, load: LoadCore): Runtime {
  const log = makeLog(own(settings, 'logger'), own(settings, 'logLevel'))
  const listeners = makeListeners()
  let core: Core | undefined
  let starting: Promise<Core> | undefined
  let ready: Promise<void> | undefined
  let tried = false
  let disposed = false
  let snapshot = LOADING
  let counted = NO_METRICS

  const host: Host = {
    changed(after) {
      const before = snapshot
      snapshot = nextState(before, after)
      if (snapshot !== before) listeners.dispatch('')
    },
    event: (name, detail) => listeners.dispatch(name, detail),
    log,
  }

  const begin = (Core: CoreConstructor): Core => {
    if (disposed) throw gone()
    core = new Core(own(settings, 'fetch') ? settings : { ...settings, fetch: nativeFetch }, host)
    return core
  }

  const failed = (error: unknown): never => {
    if (isKeepfreshError(error) && !disposed) {
      if (error.retryable) starting = undefined
      log({ level: 'error', event: error.code, message: error.message, at: Date.now() })
      host.changed({ ...snapshot, error: error.code })
    }
    throw error
  }

  const start = (): Promise<Core> => {
    if (disposed) return Promise.reject(gone())
    if (!starting) {
      tried = true
      // What was read as `ready` before belongs to the attempt that failed.
      ready = undefined
      starting = quiet(load().then(begin).catch(failed))
    }
    return starting
  }

  // A trap leaves a core whose insides are locked for good. The session is in storage: a new core goes on
  // from there, and only what was under way is lost.
  const replaced = (error: unknown): unknown => {
    if (!isTrap(error) || !core) return error
    const broken = core
    core = starting = ready = undefined
    try {
      broken.dispose()
    } catch {
      // It may trap again on its way out.
    }
    const internal = makeError('internal', BROKEN, { retryable: true, cause: error })
    log({ level: 'error', event: internal.code, message: internal.message, at: Date.now() })
    return internal
  }

  // A view that renders again because loading failed must not make it load again.
  const startOnce = () => {
    if (!tried && !disposed) start()
  }

  return {
    core: () => core,
    start,
    use(run) {
      try {
        return core ? run(core) : start().then(run)
      } catch (error) {
        return Promise.reject(replaced(error))
      }
    },
    ready() {
      ready ??= quiet(start().then((started) => started.ready()))
      return ready
    },
    state() {
      if (inBrowser()) startOnce()
      return snapshot
    },
    listen(name, listener) {
      if (disposed) return () => {}
      const remove = listeners.add(name, listener)
      startOnce()
      return remove
    },
    metrics: () => core?.metrics() ?? { ...counted },
    dispose() {
      disposed = true
      ready = undefined
      listeners.clear()
      if (!core) return
      counted = core.metrics()
      core.dispose()
      core = undefined
    },
  }
}

/** `client.fetch`: what native fetch does synchronously is done synchronously here too. */
function send(
  runtime: Runtime,
  input: Parameters<Client['fetch']>[0],
  init: Parameters<Client['fetch']>[1],
  baseUrl: string | undefined,
): Promise<Response> {
  let built: Built
  try {
    built = build(input, init, baseUrl)
  } catch (error) {
    // With a base that is none, the core's error names the option; that helps more than "Invalid URL".
    return isBase(baseUrl) ? Promise.reject(error) : runtime.use(() => Promise.reject(error))
  }
  const { request, extra } = built
  if (request.signal.aborted) return rejectAborted(request)
  if (runtime.core()) return runtime.use((core) => core.fetch(request, extra))
  return whileWanted(runtime.start(), request).then((core) => core.fetch(request, extra))
}

/**
 * The options as they are now: the core is made later, and what happens to the app's object until then is not
 * meant for it (behaviour.md 6.12). Storage is no option to copy but an object of the app's to call.
 */
function copyOf(options: ClientOptions): ClientOptions {
  const settings: Record<string, unknown> = { ...options }
  for (const [key, value] of Object.entries(settings)) {
    if (Array.isArray(value)) settings[key] = [...value]
    else if (typeof value === 'object' && value && key !== 'storage') settings[key] = { ...value }
  }
  return settings
}

/** An own member: a polluted `Object.prototype` configures nothing (behaviour.md 6.12). */
function own<K extends keyof ClientOptions>(settings: ClientOptions, key: K): ClientOptions[K] | undefined {
  return Object.hasOwn(settings, key) ? settings[key] : undefined
}

/** A promise of ours that nobody has to handle. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

function isTrap(error: unknown): boolean {
  return typeof WebAssembly === 'object' && error instanceof WebAssembly.RuntimeError
}

function gone() {
  return makeError('disposed', 'this client was disposed; create a new one')
}

/** Pages and workers have a location, servers have none. */
function inBrowser(): boolean {
  return typeof location === 'object'
}
