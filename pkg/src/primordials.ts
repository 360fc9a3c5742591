// What tokens pass through, as it was when keepfresh was imported. The bundler puts these in the place of the
// globals (see build.mjs), so that a page whose globals are replaced later does not hand tokens to the
// replacements. It raises the bar and no more: a script that runs first, or that patches prototypes, still
// sees them (behaviour.md 6.2, 6.13).

const { parse, stringify } = globalThis.JSON
const { apply, construct, get, set } = globalThis.Reflect

const json = { parse, stringify }
const reflect = { apply, construct, get, set }
const request = globalThis.Request
const headers = globalThis.Headers

export { headers as Headers, json as JSON, reflect as Reflect, request as Request }
