// What the build puts in place of these two names (see build.mjs). They are declared here, and not
// taken from the generated files, so that the types can be checked before anything is generated.

declare module 'keepfresh:glue' {
  import type { CoreConstructor } from './core.js'

  export const Core: CoreConstructor
  export default function init(from: { module_or_path: BufferSource }): Promise<unknown>
}

declare module 'keepfresh:wasm' {
  const base64: string
  export default base64
}
