// The synchronous part of `client.fetch` (behaviour.md 4.2, 4.4, 4.14, 4.15).

import type { Extra } from './core.js'
import type { ClientRequestInit } from './types.js'

// Taken at import, so that a page which is patched later cannot change what is sent.
const NativeRequest = globalThis.Request
const NativeURL = globalThis.URL
const requestUrl = getter(globalThis.Request, 'url')
const streamLocked = getter(globalThis.ReadableStream, 'locked')

/** A request as it was at the time of the call, and what it cannot hold itself. */
export interface Built {
  request: Request
  extra: Extra | undefined
}

/**
 * Builds the one `Request` of a call, as `fetch` does: URL, headers and body are taken now, and each member
 * of `init` is read once. Throws what `new Request` throws.
 */
export function build(
  input: RequestInfo | URL,
  init: ClientRequestInit | undefined,
  baseUrl: string | undefined,
): Built {
  const target = isBranded(requestUrl, input) ? input : resolve(`${input}`, baseUrl)
  // Not an object: for the constructor to accept (null, undefined) or to refuse.
  if (Object(init) !== init) return { request: new NativeRequest(target, init), extra: undefined }
  const given = readOnce(init as ClientRequestInit)
  const request = new NativeRequest(target, given)
  return { request, extra: extraOf(given, request) }
}

/** Whether URLs can be resolved against it. */
export function isBase(baseUrl: string | undefined): boolean {
  try {
    resolve('', baseUrl)
    return true
  } catch {
    return false
  }
}

/** Rejects as native fetch does for a signal that has fired: with its very reason. */
export function rejectAborted(request: Request): Promise<never> {
  const { reason } = request.signal
  request.body?.cancel(reason).catch(() => {})
  return Promise.reject(reason)
}

/** Waits for `promise`, but no longer than the request is wanted. Leaves no listener behind. */
export function whileWanted<T>(promise: Promise<T>, request: Request): Promise<T> {
  const { signal } = request
  return new Promise<T>((resolve, reject) => {
    const stop = () => resolve(rejectAborted(request))
    const done = () => signal.removeEventListener('abort', stop)
    signal.addEventListener('abort', stop, { once: true })
    promise.then(resolve, reject).finally(done)
  })
}

function resolve(url: string, baseUrl: string | undefined): string {
  return baseUrl == null ? url : new NativeURL(url, baseUrl).href
}

/** `init` with every member read at most once, getters included. Most are plain, and a copy is cheapest. */
function readOnce(init: ClientRequestInit): ClientRequestInit {
  if (Object.getPrototypeOf(init) === Object.prototype) return { ...init }
  const seen = new Map<PropertyKey, unknown>()
  return new Proxy(init, {
    get(target, key) {
      if (!seen.has(key)) seen.set(key, Reflect.get(target, key))
      return seen.get(key)
    },
  })
}

function extraOf(given: ClientRequestInit, request: Request): Extra {
  const { auth, body, priority, window } = given
  const extra: Extra = {}
  if (auth !== undefined) extra.auth = auth
  if (isBranded(streamLocked, body)) extra.stream = true
  if (priority !== undefined || window !== undefined) {
    // Any member resets the referrer, so that has to go along.
    const { referrer, referrerPolicy } = request
    extra.init = { referrer, referrerPolicy }
    if (priority !== undefined) extra.init.priority = priority
    if (window !== undefined) extra.init.window = window
  }
  return extra
}

/** Whether the platform made it, in whatever realm: `instanceof` would miss other frames. */
function isBranded<T>(read: ((this: T) => unknown) | undefined, value: unknown): value is T {
  if (!read) return false
  try {
    Reflect.apply(read, value, [])
    return true
  } catch {
    return false
  }
}

function getter<T>(type: { prototype: T } | undefined, name: keyof T): ((this: T) => unknown) | undefined {
  return type && Object.getOwnPropertyDescriptor(type.prototype, name)?.get
}
