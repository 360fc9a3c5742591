// Bundles the TypeScript tests and hands them to Node's own runner.

import { spawnSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const out = join(root, 'node_modules/.cache/keepfresh-test')
const tests = readdirSync(join(root, 'test')).filter((name) => name.endsWith('.test.ts'))

rmSync(out, { recursive: true, force: true })
await build({
  absWorkingDir: root,
  entryPoints: tests.map((name) => `test/${name}`),
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: 'inline',
  logLevel: 'warning',
})
const files = tests.map((name) => join(out, name.replace(/\.ts$/, '.mjs')))
const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...files], {
  cwd: root,
  stdio: 'inherit',
})
process.exitCode = run.status ?? 1
