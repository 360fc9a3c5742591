// Runs the test files, two at a time: much of their time is waiting. `node run.mjs tabs` runs tabs.test.mjs.
// KEEPFRESH_BROWSER=firefox runs those that are about what browsers do differently.
import { readdirSync } from 'node:fs'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { BROWSER } from './kit/browser.mjs'

/** The longest first, so that none is left alone at the end. */
const FILES = {
  chromium: [
    'tabs',
    'lifecycle',
    'dialects',
    'presets',
    'refresh',
    'faults',
    'storage',
    'leaks',
    'csp',
    'origins',
  ],
  firefox: ['tabs', 'lifecycle', 'refresh', 'storage'],
}

const here = fileURLToPath(new URL('.', import.meta.url))
const named = process.argv.slice(2)
const present = readdirSync(here)
  .filter((name) => name.endsWith('.test.mjs'))
  .map((name) => name.replace('.test.mjs', ''))
const planned = FILES[BROWSER]
const unplanned = present.filter((name) => !FILES.chromium.includes(name))
if (unplanned.length > 0) throw new Error(`run.mjs does not know ${unplanned.join(', ')}`)
const wanted = named.length > 0 ? named : planned
const missing = wanted.filter((name) => !present.includes(name))
if (missing.length > 0) throw new Error(`no test file is called ${missing.join(' or ')}`)
const files = FILES.chromium.filter((name) => wanted.includes(name)).map((name) => `${here}${name}.test.mjs`)

run({ files, concurrency: 2 })
  .on('test:fail', ({ todo }) => {
    if (todo === undefined) process.exitCode = 1
  })
  .compose(new spec())
  .pipe(process.stdout)
