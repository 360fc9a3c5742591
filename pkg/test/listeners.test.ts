import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { makeListeners } from '../src/listeners.js'
import { makeLog } from '../src/log.js'
import type { LogEntry } from '../src/types.js'

const globals = globalThis as { reportError?: (error: unknown) => void }
afterEach(() => {
  delete globals.reportError
})

// 6.23, known-failures 19
test('a listener that throws is reported and harms nobody', () => {
  const reported: unknown[] = []
  globals.reportError = (error) => reported.push(error)
  const heard: string[] = []
  const listeners = makeListeners()
  const bad = new Error('mine')
  listeners.add('refreshed', () => {
    throw bad
  })
  listeners.add('refreshed', () => heard.push('second'))
  listeners.add('signed_out', () => heard.push('other event'))
  listeners.dispatch('refreshed', {})
  assert.deepEqual(heard, ['second'])
  assert.deepEqual(reported, [bad])
})

// known-failures 19
test('without reportError the throw reaches the runtime as uncaught', async () => {
  const bad = new Error('mine')
  const listeners = makeListeners()
  listeners.add('refreshed', () => {
    throw bad
  })
  const caught = new Promise((resolve) => process.setUncaughtExceptionCaptureCallback(resolve))
  listeners.dispatch('refreshed')
  assert.equal(await caught, bad)
  process.setUncaughtExceptionCaptureCallback(null)
})

// README: Use it
test('listeners may come and go during a dispatch', () => {
  const heard: string[] = []
  const listeners = makeListeners()
  listeners.add('x', () => {
    heard.push('first')
    removeSecond()
    listeners.add('x', () => heard.push('added'))
  })
  const removeSecond = listeners.add('x', () => heard.push('second'))
  listeners.dispatch('x')
  assert.deepEqual(heard, ['first'])
  removeSecond()
  removeSecond()
  listeners.dispatch('x')
  assert.deepEqual(heard, ['first', 'first', 'added'])
})

// README: Use it
test('one function added twice is two listeners', () => {
  let calls = 0
  const listeners = makeListeners()
  const listener = () => (calls += 1)
  const remove = listeners.add('x', listener)
  listeners.add('x', listener)
  remove()
  listeners.dispatch('x')
  assert.equal(calls, 1)
})

// README: Log lines
test('log entries below the level are dropped, and a logger may throw', () => {
  globals.reportError = () => {}
  const seen: string[] = []
  const entry = (level: LogEntry['level']): LogEntry => ({ level, event: 'x', message: 'x', at: 0 })
  const log = makeLog(({ level }) => {
    seen.push(level)
    throw new Error('mine')
  }, 'info')
  for (const level of ['error', 'warn', 'info', 'debug'] as const) log(entry(level))
  assert.deepEqual(seen, ['error', 'warn', 'info'])
  makeLog(() => assert.fail(), 'silent')(entry('error'))
})

// README: Log lines
test('without a logger warnings go to the console, and nothing below', (context) => {
  const warn = context.mock.method(console, 'warn', () => {})
  const info = context.mock.method(console, 'info', () => {})
  const log = makeLog(undefined)
  const entry = { level: 'warn', event: 'refresh_failed', message: 'Token refresh failed', at: 0 } as const
  log(entry)
  log({ ...entry, level: 'info' })
  assert.deepEqual(warn.mock.calls[0]?.arguments, ['keepfresh: Token refresh failed', entry])
  assert.equal(info.mock.callCount(), 0)
})
