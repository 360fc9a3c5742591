// What the tests of locks do behind the client's back.

/** A Web Lock in the hands of somebody who does not know keepfresh. */
export class Holder {
  lost = false
  #release

  /** Resolves once the lock is held. */
  take(name, options) {
    return new Promise((held) => {
      const until = new Promise((release) => {
        this.#release = release
      })
      const callback = () => {
        held()
        return until
      }
      navigator.locks.request(name, options, callback).catch(() => {
        this.lost = true
      })
    })
  }
  release() {
    this.#release()
  }
}

/** Counts rejections that nobody handles, until `stop`. */
export class Unhandled {
  count = 0
  #note = () => {
    this.count += 1
  }

  constructor() {
    globalThis.addEventListener('unhandledrejection', this.#note)
  }
  stop() {
    globalThis.removeEventListener('unhandledrejection', this.#note)
  }
}

/** A promise that never resolves. */
export function never() {
  return new Promise(() => {})
}
