// Builds dist/ from src/ and from what wasm-bindgen left in wasm/ (`cargo xtask build` calls it).

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const glue = join(here, 'wasm/keepfresh.js')
const wasm = join(here, 'wasm/keepfresh_bg.wasm')

if (!existsSync(glue) || !existsSync(wasm)) {
  throw new Error('pkg/wasm holds no generated code: run `cargo xtask build`, which makes it and calls this')
}

const generated = {
  name: 'generated',
  setup(builder) {
    builder.onResolve({ filter: /^keepfresh:glue$/ }, () => ({ path: glue }))
    builder.onResolve({ filter: /^keepfresh:wasm$/ }, () => ({ path: wasm }))
    builder.onLoad({ filter: /wasm[\\/]keepfresh\.js$/ }, () => ({ contents: withoutDefaultUrl() }))
  },
}

// The entry points always hand the bytes over. Left in, this URL would make every bundler look for a file
// that the package does not have.
function withoutDefaultUrl() {
  return readFileSync(glue, 'utf8').replace(/new URL\([^()]*_bg\.wasm[^()]*\)/g, 'undefined')
}

rmSync(join(here, 'dist'), { recursive: true, force: true })
await build({
  absWorkingDir: here,
  entryPoints: ['src/index.ts', 'src/slim.ts'],
  outdir: 'dist',
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  loader: { '.wasm': 'base64' },
  logLevel: 'warning',
  plugins: [generated],
  // The globals that tokens pass through are those of the import (behaviour.md 6.13).
  inject: ['src/primordials.ts'],
})
cpSync(wasm, join(here, 'dist/keepfresh.wasm'))

const packages = createRequire(import.meta.url)
const compiler = join(dirname(packages.resolve('typescript/package.json')), 'bin/tsc')
execFileSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: here, stdio: 'inherit' })
