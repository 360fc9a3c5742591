// Every token that was issued, and everything that was said in the pages (behaviour.md 6.11, 7.23).

/** The server's tokens: Sanctum's `id|secret`, secrets behind a prefix, and what signs a JWT. */
const TOKEN =
  /(?:\d+\||\b(?:dja|djr|oaa|oar|pra|prr|cka|ckr|gtr)_|(?<=\beyJ[\w-]+\.eyJ[\w-]+\.))[A-Za-z0-9]{40}/g
/** A piece of a token this long gives it away. */
const PIECE = 8

export class Secrets {
  #tokens = new Set()
  #pieces = new Set()
  #said = new Map()

  /** Notes the tokens in a text that may hold some: an answer, a header, a body. */
  learn(text) {
    for (const [token] of text?.matchAll(TOKEN) ?? []) {
      if (this.#tokens.has(token)) continue
      this.#tokens.add(token)
      for (let at = 0; at + PIECE <= token.length; at += 1) this.#pieces.add(token.slice(at, at + PIECE))
    }
  }

  /** Notes a text that may not hold any. `where` says what it is. */
  say(where, text) {
    if (text && !this.#said.has(text)) this.#said.set(text, where)
  }

  get tokens() {
    return [...this.#tokens]
  }

  /** How many texts of this kind were noted. */
  heard(where) {
    return [...this.#said.values()].filter((kind) => kind === where).length
  }

  /** Forgets what was said. */
  forget() {
    this.#said.clear()
  }

  /** Where tokens or pieces of them appeared: kinds of text, not the texts. */
  leaks() {
    const leaky = [...this.#said].filter(([text]) => this.#occursIn(text))
    return [...new Set(leaky.map(([, where]) => where))]
  }

  #occursIn(text) {
    for (let at = 0; at + PIECE <= text.length; at += 1) {
      if (this.#pieces.has(text.slice(at, at + PIECE))) return true
    }
    return false
  }
}
