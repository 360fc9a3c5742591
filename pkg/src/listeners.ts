/** Listeners by name. Whoever throws harms nobody else. */
export interface Listeners {
  /** Adds one and returns what removes it; calling that twice is fine. */
  add(name: string, listener: (detail: never) => void): () => void
  /** Calls those that were there when it began and were not removed since. */
  dispatch(name: string, detail?: object): void
  clear(): void
}

export function makeListeners(): Listeners {
  // An entry of its own for each `add`, so that one function added twice is two listeners.
  const entries = new Set<{ name: string; listener: (detail: never) => void }>()
  return {
    add(name, listener) {
      const entry = { name, listener }
      entries.add(entry)
      return () => void entries.delete(entry)
    },
    dispatch(name, detail) {
      for (const entry of [...entries]) {
        if (entry.name === name && entries.has(entry)) isolated(() => entry.listener(detail as never))
      }
    },
    clear: () => entries.clear(),
  }
}

/** Runs the app's code; what it throws is reported as any uncaught error, and nothing else stops. */
export function isolated(run: () => void): void {
  try {
    run()
  } catch (error) {
    if (typeof reportError === 'function') reportError(error)
    else
      setTimeout(() => {
        throw error
      })
  }
}
