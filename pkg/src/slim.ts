import { makeClient } from './client.js'
import { loader } from './load.js'
import type { Client, ClientOptions } from './types.js'

export { isKeepfreshError } from './error.js'
export { returnTo } from './return-to.js'
export type * from './types.js'

// Taken at import, so that what patches `fetch` later does not see keepfresh load itself.
const nativeFetch = globalThis.fetch
const load = loader(download)

/**
 * The same `createClient` as that of `keepfresh`, with the WebAssembly as a file of its own:
 * `keepfresh.wasm` beside this module, fetched at first use. Smaller on the wire, and for bundlers that
 * know `new URL(…, import.meta.url)`. A download that fails is tried again at the next use.
 */
export function createClient(options: ClientOptions): Client {
  return makeClient(options, load)
}

async function download(): Promise<ArrayBuffer> {
  // Bundlers look for exactly this expression to take the file along.
  const response = await nativeFetch(new URL('./keepfresh.wasm', import.meta.url))
  if (!response.ok) throw new Error(`the server answered ${response.status}`)
  const bytes = await response.arrayBuffer()
  // Servers like to answer with a web page where a file is missing.
  const isWasm = bytes.byteLength > 8 && new DataView(bytes).getUint32(0) === 0x0061736d
  if (!isWasm) throw new Error('the server answered with something that is not WebAssembly')
  return bytes
}
