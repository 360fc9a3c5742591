const NativeURL = globalThis.URL

/**
 * Where to go after a sign-in: the `returnTo` that `options.loginUrl` put into this page's address, as a path
 * of this origin. Anything else in its place (another origin, `javascript:`, `//host`, control characters)
 * gives `fallback`, so that no link can send a person elsewhere by way of your sign-in page (6.14).
 *
 * @example
 * await api.login({ email, password })
 * location.assign(returnTo())
 */
export function returnTo(fallback = '/'): string {
  const wanted = new URLSearchParams(location.search).get('returnTo')
  if (!wanted || !/^\/(?![/\\])[\x20-\x7e]*$/.test(wanted)) return fallback
  const url = new NativeURL(wanted, location.origin)
  const path = url.pathname + url.search + url.hash
  // `/.//host` is a path of this origin, and what is left of it once resolved is not.
  return url.origin === location.origin && !path.startsWith('//') ? path : fallback
}
