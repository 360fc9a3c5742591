// A tab that was duplicated has a sessionStorage of its own; and somebody who listens to what copies of a
// login say to each other, and talks.

/** A sessionStorage of its own, with a copy of one record in it. */
export function ownStorage(key, record) {
  const held = new Map([[key, record]])
  return Object.assign(Object.create(Storage.prototype), {
    getItem: (name) => held.get(name) ?? null,
    setItem: (name, value) => void held.set(name, `${value}`),
    removeItem: (name) => void held.delete(name),
  })
}

/** Runs something in a page whose sessionStorage is another one. */
export function inStorage(storage, run) {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'sessionStorage')
  Object.defineProperty(globalThis, 'sessionStorage', { configurable: true, value: storage })
  try {
    run()
  } finally {
    Object.defineProperty(globalThis, 'sessionStorage', before)
  }
}

/** The names in localStorage that start like this. */
export function namesIn(prefix) {
  return Object.keys(localStorage).filter((name) => name.startsWith(prefix))
}

/** Somebody on the channel of the copies. What is heard is kept; what is asked can be answered. */
export class Stranger {
  #channel
  #forge = []
  heard = []
  /** What it would have copies believe. */
  evil = ''

  constructor(name) {
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = ({ data }) => {
      this.heard.push(data)
      if (data?.type === 'ask') this.#answer(data)
    }
  }
  say(message) {
    this.#channel.postMessage(message)
  }
  close() {
    this.#channel.close()
  }
  count(type) {
    return this.heard.filter((message) => message?.type === type).length
  }
  last(type) {
    return this.heard.findLast((message) => message?.type === type)
  }
  /** All that was heard as text, bytes one by one. */
  get text() {
    const plain = (_, value) => (value instanceof Uint8Array ? String.fromCharCode(...value) : value)
    return JSON.stringify(this.heard, plain)
  }
  /** From now on whoever asks is answered in these ways, one after the other. */
  forge(kinds) {
    this.#forge = kinds
  }
  async #answer(ask) {
    for (const kind of this.#forge) {
      const forged = await forgeries[kind](ask, this)
      for (const part of [forged].flat()) this.say({ v: 1, type: 'answer', id: ask.id, ...part })
    }
  }
}

const noise = (size) => crypto.getRandomValues(new Uint8Array(size))

/** AES-GCM by hand, so that the client is not its own witness. */
export async function seal(key, iv, about, text) {
  const encode = (part) => new TextEncoder().encode(part)
  const raw = Uint8Array.from(key.match(/../g), (pair) => Number.parseInt(pair, 16))
  const imported = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt'])
  const algorithm = { name: 'AES-GCM', iv, additionalData: encode(about) }
  return new Uint8Array(await crypto.subtle.encrypt(algorithm, imported, encode(text)))
}

/** Teaches the stranger to answer as a true copy would: any question, with this record. */
export function knowKey(channel, key, record) {
  forgeries.true = async ({ id, sid }) => {
    const iv = noise(12)
    return { iv, data: await seal(key, iv, `${channel}\n${sid}\n${id}`, record) }
  }
  forgeries.wrongKey = async ({ id, sid }, { evil }) => {
    const iv = noise(12)
    return { iv, data: await seal('00'.repeat(32), iv, `${channel}\n${sid}\n${id}`, evil) }
  }
  forgeries.wrongQuestion = async ({ sid }, { evil }) => {
    const iv = noise(12)
    return { iv, data: await seal(key, iv, `${channel}\n${sid}\nother`, evil) }
  }
}

const forgeries = {
  clear: (_, { evil }) => ({ iv: noise(12), data: evil, record: evil }),
  noise: () => ({ iv: noise(12), data: noise(300) }),
  empty: () => ({ iv: noise(12), data: new Uint8Array() }),
  nothing: () => ({}),
  shortIv: () => ({ iv: noise(4), data: noise(300) }),
  buffers: () => ({ iv: noise(12).buffer, data: noise(300).buffer }),
  huge: () => ({ iv: noise(12), data: new Uint8Array((2 << 20) + 1) }),
  newer: () => ({ v: 2, iv: noise(12), data: noise(300) }),
  deep: () => ({ iv: { length: 12 }, data: { length: 1, deep: [[[[[]]]]] } }),
  longId: () => ({ id: 'x'.repeat(5_000_000), iv: noise(12), data: noise(300) }),
  // The last true answer, sent again under the new question's id.
  replayed: (_, stranger) => {
    const { iv, data } = stranger.last('answer')
    return { iv, data }
  },
  forOthers: () => Array.from({ length: 40 }, () => ({ id: 'x', ...forgeries.noise() })),
  flood: () => Array.from({ length: 40 }, forgeries.noise),
}
