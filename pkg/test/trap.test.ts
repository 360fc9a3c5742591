// A trap inside the WebAssembly must not be the end of the page's session.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeClient } from '../src/client.js'
import { isKeepfreshError } from '../src/error.js'
import type { LogEntry } from '../src/types.js'
import { fakeLoad } from './fake-core.js'

// known-failures 66: the next call works on a core that was made anew
test('a core that trapped is replaced at the next call', async () => {
  const { load, cores, loads } = fakeLoad()
  const entries: LogEntry[] = []
  const client = makeClient({ logger: (entry) => entries.push(entry) }, load)
  await client.ready
  const [first] = cores
  assert.ok(first)
  first.getSession = () => {
    throw new WebAssembly.RuntimeError('unreachable')
  }
  first.dispose = () => {
    throw new WebAssembly.RuntimeError('unreachable')
  }
  await assert.rejects(client.getSession(), (error) => {
    assert.ok(isKeepfreshError(error))
    assert.deepEqual([error.code, error.retryable], ['internal', true])
    return true
  })
  assert.ok(await client.getSession())
  assert.equal((await client.fetch('http://127.0.0.1/')).status, 200)
  assert.deepEqual([cores.length, loads()], [2, 2])
  assert.deepEqual(
    entries.map((entry) => [entry.level, entry.event]),
    [['error', 'internal']],
  )
  client.dispose()
})
