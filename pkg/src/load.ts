import init, { Core } from 'keepfresh:glue'
import type { CoreConstructor, LoadCore } from './core.js'
import { isKeepfreshError, makeError } from './error.js'

const BLOCKED =
  "the page's Content Security Policy does not allow WebAssembly; add 'wasm-unsafe-eval' to it: " +
  "script-src 'self' 'wasm-unsafe-eval'"
const ABSENT =
  'this browser has WebAssembly switched off (Lockdown Mode and hardened browsers do that); ' +
  'ask the person to allow it for this site'

/**
 * Loads the core once for all clients of this module.
 *
 * A browser that will not run it says so for as long as the page lives; bytes that did not arrive are
 * asked for again at the next use.
 */
export function loader(bytes: () => BufferSource | Promise<BufferSource>): LoadCore {
  let loading: Promise<CoreConstructor> | undefined
  return () => {
    loading ??= load(bytes).catch((error: unknown) => {
      if (isKeepfreshError(error) && error.retryable) loading = undefined
      throw error
    })
    return loading
  }
}

async function load(bytes: () => BufferSource | Promise<BufferSource>): Promise<CoreConstructor> {
  if (typeof WebAssembly !== 'object') throw makeError('wasm_unavailable', ABSENT)
  const wasm = await arrived(bytes)
  try {
    await init({ module_or_path: wasm })
  } catch (cause) {
    // Chromium and Firefox both name the policy; any other CompileError is about the bytes.
    const blocked =
      cause instanceof WebAssembly.CompileError && /CSP|Content.Security.Policy/i.test(cause.message)
    throw makeError('wasm_unavailable', blocked ? BLOCKED : `WebAssembly did not start: ${cause}`, { cause })
  }
  return Core
}

async function arrived(bytes: () => BufferSource | Promise<BufferSource>): Promise<BufferSource> {
  try {
    return await bytes()
  } catch (cause) {
    throw makeError('wasm_unavailable', `keepfresh.wasm could not be loaded: ${cause}`, {
      retryable: true,
      cause,
    })
  }
}
