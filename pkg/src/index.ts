import base64 from 'keepfresh:wasm'
import { makeClient } from './client.js'
import { loader } from './load.js'
import type { Client, ClientOptions } from './types.js'

export { isKeepfreshError } from './error.js'
export { returnTo } from './return-to.js'
export type * from './types.js'

const load = loader(() => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0)))

/**
 * A client that keeps one auth session fresh.
 *
 * Synchronous and safe at module level and on a server: it only stores the options. The WebAssembly, which
 * is part of this module, is compiled at first use. A wrong option rejects `ready` and every method with a
 * `KeepfreshError` of code `config` that names the field.
 *
 * @example
 * export const api = createClient({ baseUrl: 'https://api.example.com', preset: 'sanctum' })
 * await api.login({ email, password }, { remember: true })
 * const response = await api.fetch('/bookings')
 */
export function createClient(options: ClientOptions): Client {
  return makeClient(options, load)
}
