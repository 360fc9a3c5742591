import type { KeepfreshError, KeepfreshErrorCode } from './types.js'

/**
 * Whether something that was thrown came from keepfresh.
 *
 * It looks at `name` and `code`, not at a class, so it holds across bundles, frames and both entry points.
 */
export function isKeepfreshError(error: unknown): error is KeepfreshError {
  const maybe = error as Partial<KeepfreshError> | null | undefined
  return maybe?.name === 'KeepfreshError' && typeof maybe.code === 'string'
}

/** For the failures that happen while there is no core to report them. */
export function makeError(
  code: KeepfreshErrorCode,
  message: string,
  more: { retryable?: boolean; cause?: unknown } = {},
): KeepfreshError {
  const { retryable = false, ...options } = more
  const error = new Error(`keepfresh: ${message}`, options)
  return Object.assign(error, { name: 'KeepfreshError' as const, code, retryable })
}
