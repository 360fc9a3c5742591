import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { returnTo } from '../src/return-to.js'

const ORIGIN = 'https://app.example'

/** The sign-in page, with this query. */
function at(search: string) {
  const value = { origin: ORIGIN, search, href: `${ORIGIN}/login${search}` }
  Object.defineProperty(globalThis, 'location', { value, configurable: true })
}

/** What comes of a `returnTo` in the address. */
function given(wanted: string, fallback?: string): string {
  at(`?returnTo=${encodeURIComponent(wanted)}`)
  return returnTo(fallback)
}

afterEach(() => {
  Reflect.deleteProperty(globalThis, 'location')
})

// 6.14
test('returnTo gives back a path of this origin as it was', () => {
  for (const path of [
    '/',
    '/bookings',
    '/bookings/7?tab=notes&sort=a%20b#top',
    '/p%C3%A4ge',
    '/search?next=https://other.example/#//x',
    '/a//b',
    '/@user:8080/x',
  ]) {
    assert.equal(given(path), path)
  }
})

// 6.14: no link can send a person elsewhere by way of the sign-in page
test('returnTo leads nowhere else', () => {
  const hosts = ['evil.example', 'evil.example/path', 'app.example@evil.example', 'app.example.evil.example']
  for (const host of hosts) {
    for (const start of [
      '//',
      '///',
      '////',
      '/\\',
      '\\/',
      '\\\\',
      '/\t/',
      '/\n/',
      '/\r/',
      '\t//',
      ' //',
      '/ /',
      '/\u0000/',
      '/\u00a0/',
      '/\u2028/',
      '/.//',
      '/..//',
      '/./\\',
      '/.\\\\',
      '/..\\/',
      '/%2e//',
      '/%2E%2e//',
      '/a/..//',
      '/a/../\\',
      '/a/%2e%2e///',
      'http://',
      'https://',
      'https:',
      'https:/',
      'HTTPS://',
      'ftp://',
      'blob:https://',
      'javascript://',
    ]) {
      const wanted = start + host
      const result = given(wanted)
      // What a browser makes of it, as `location.assign` does.
      const gone = new URL(result, `${ORIGIN}/login`)
      assert.equal(gone.origin, ORIGIN, JSON.stringify({ wanted, result }))
      assert.match(result, /^\/(?![/\\])/, JSON.stringify({ wanted, result }))
    }
  }
})

// 6.14
test('returnTo takes nothing that is no path', () => {
  for (const wanted of [
    '',
    'bookings',
    '?x',
    '#x',
    '.',
    '../x',
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'java\nscript:alert(1)',
    '\u0001javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:x',
    'about:blank',
    'file:///etc/passwd',
    '/x\ny',
    '/x\u0000',
    '/x\u007f',
    '/\u202eevil',
    '/päge',
    'null',
  ]) {
    assert.equal(given(wanted), '/', JSON.stringify(wanted))
    assert.equal(given(wanted, '/home'), '/home', JSON.stringify(wanted))
  }
})

// 6.14
test('returnTo has a fallback, and takes the first of several', () => {
  at('')
  assert.equal(returnTo(), '/')
  assert.equal(returnTo('/start'), '/start')
  at('?other=1')
  assert.equal(returnTo('/start'), '/start')
  at('?returnTo=%2Fa&returnTo=%2F%2Fevil.example')
  assert.equal(returnTo(), '/a')
  at('?returnTo=%2F%2Fevil.example&returnTo=%2Fa')
  assert.equal(returnTo(), '/')
  at('?returnTo=%252F%252Fevil.example')
  assert.equal(returnTo(), '/')
})
