// What the tests of leases do behind the client's back. `kit.js` takes the patches back.

const databases = globalThis.indexedDB
const STORE = 'leases'

/** Resolves with the request's result. */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

async function inStore(work) {
  const opening = databases.open('keepfresh', 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE)
  const database = await settled(opening)
  try {
    return await work(database.transaction(STORE, 'readwrite').objectStore(STORE))
  } finally {
    database.close()
  }
}

/** The names of the leases in IndexedDB. */
export function leases() {
  return inStore((store) => settled(store.getAllKeys()))
}

/** What is kept under the name of a lease. */
export function lease(name) {
  return inStore((store) => settled(store.get(name)))
}

/** Writes a lease, or whatever is given for one. */
export function putLease(name, value) {
  return inStore((store) => settled(store.put(value, name)))
}

/** Deletes the database. That waits until nobody has it open. */
export function dropDatabase() {
  return settled(databases.deleteDatabase('keepfresh'))
}

/** An IndexedDB that never answers. `open` makes what was asked for happen after all. */
export class HangingDatabases {
  opened = 0
  #waiting = []
  factory = {
    open: (...given) => {
      this.opened += 1
      const promised = { result: undefined, readyState: 'pending' }
      this.#waiting.push(() => {
        const opening = databases.open(...given)
        const forward = (name) => {
          opening[name] = (event) => {
            Object.assign(promised, { result: opening.result, readyState: opening.readyState })
            promised[name]?.(event)
          }
        }
        for (const name of ['onsuccess', 'onupgradeneeded', 'onerror']) forward(name)
        return settled(databases.open(...given)).then((database) => database.close())
      })
      return promised
    },
  }
  open() {
    return Promise.all(this.#waiting.splice(0).map((go) => go()))
  }
}

/** An IndexedDB that counts how often it is opened. */
export class CountingDatabases {
  opened = 0
  factory = {
    open: (...given) => {
      this.opened += 1
      return databases.open(...given)
    },
  }
}

/** ms since the epoch. */
export function wallClock() {
  return Date.now()
}
