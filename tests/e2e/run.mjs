// Runs the test files, two at a time: much of their time is waiting. `node run.mjs tabs` runs tabs.test.mjs.
import { readdirSync } from 'node:fs'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const wanted = process.argv.slice(2)
const files = readdirSync(here)
  .filter((name) => name.endsWith('.test.mjs'))
  .filter((name) => wanted.length === 0 || wanted.includes(name.replace('.test.mjs', '')))
  // The longest first, so that none is left alone at the end.
  .sort((a, b) => weight(b) - weight(a))
  .map((name) => here + name)

function weight(name) {
  return ['csp', 'origins', 'leaks', 'storage', 'faults', 'refresh', 'presets', 'tabs'].indexOf(
    name.replace('.test.mjs', ''),
  )
}

if (files.length === 0) throw new Error(`no test file is called ${wanted.join(' or ')}`)
run({ files, concurrency: 2 })
  .on('test:fail', ({ todo }) => {
    if (todo === undefined) process.exitCode = 1
  })
  .compose(new spec())
  .pipe(process.stdout)
