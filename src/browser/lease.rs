//! A lock for pages without Web Locks: a lease that runs out by itself (behaviour.md 5.15). It is
//! kept in `IndexedDB`, whose readwrite transactions run one after the other in all tabs, or else in
//! localStorage, where two tabs may both win in bad luck. Storage may show late what was written
//! under a lease; whoever takes one can only read anew, as after any lock.

use super::clock;
use super::js;
use super::json::{JsBody, stringify};
use super::tabs::WaitedTooLong;
use crate::policy::Now;
use js_sys::{Array, Function, JsString, Object, Promise};
use std::pin::pin;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

const DATABASE: &str = "keepfresh";
const STORE: &str = "leases";
/// How much longer than a refresh a lease lives, ms.
const MARGIN: i64 = 5_000;
/// A lease that ends this much later than it could, ms, was written before the clock was set back.
const FAR: i64 = 60_000;
/// The longest wait for one try in `IndexedDB`, ms. A busy machine may need more than a second, and who
/// gives up too early looks in the wrong place.
const LONGEST_TRY: i64 = 3_000;
/// The shortest pause between two tries, ms; the longest is twice that.
const PAUSE: f64 = 50.0;

/// A lease; dropping it gives it back.
pub(super) struct Lease {
    name: String,
    owner: String,
    /// ms.
    lifetime: i64,
    since: Now,
    place: Place,
}

enum Place {
    /// Not taken, or there is no storage to take it in: this tab is on its own.
    Nowhere,
    /// Stays open, so that the lease can be given back while the page goes away.
    Database(Connection),
    /// And what we wrote there.
    Local(web_sys::Storage, String),
}

/// A question for the database; if it is dropped unanswered, the answer is closed.
struct Opening(JsValue);

/// An open database; dropping it closes it.
struct Connection(JsValue);

/// A transaction; dropping it ends it, unless it is complete.
struct Transaction(JsValue);

/// There is no such storage, or it does not work.
struct Broken;

impl Lease {
    /// Takes the lease of that name, waiting `longest` ms at most, and no longer than it is `wanted`.
    ///
    /// # Errors
    /// [`WaitedTooLong`] when another tab keeps it.
    pub(super) async fn take(
        name: String,
        longest: i64,
        wanted: impl Fn() -> bool,
    ) -> Result<Self, WaitedTooLong> {
        let started = clock::now();
        let mut lease = Self {
            name,
            owner: clock::random_id(),
            lifetime: longest.saturating_add(MARGIN),
            since: started,
            place: Place::Nowhere,
        };
        let (mut in_database, mut works) = (true, false);
        while wanted() && lease.since.mono.saturating_sub(started.mono) < longest {
            let tried = if in_database {
                let tried = pin!(lease.take_in_database());
                js::first_of(tried, clock::pause(LONGEST_TRY)).await
            } else {
                Some(lease.take_in_local().await)
            };
            let place = match tried {
                Some(Ok(Place::Nowhere)) => {
                    works = true;
                    None
                }
                Some(Ok(place)) => Some(place),
                // Another tab's lease was seen there: the other place would not know of it.
                _ if works => None,
                _ if in_database => {
                    in_database = false;
                    continue;
                }
                _ => Some(Place::Nowhere),
            };
            if let Some(place) = place {
                lease.place = place;
                return if wanted() {
                    Ok(lease)
                } else {
                    Err(WaitedTooLong)
                };
            }
            drop(pause().await);
            lease.since = clock::now();
        }
        Err(WaitedTooLong)
    }

    /// Whether another tab may have taken it meanwhile: it ran out, or the clock was set.
    pub(super) fn is_over(&self) -> bool {
        let now = clock::now();
        let lived = now.wall.saturating_sub(self.since.wall);
        let awake = now.mono.saturating_sub(self.since.mono);
        let in_time = lived >= 0 && lived.max(awake) < self.lifetime;
        match &self.place {
            Place::Nowhere => false,
            Place::Database(_) => !in_time,
            Place::Local(storage, mine) => {
                !in_time || read(storage, &self.name).as_ref() != Some(mine)
            }
        }
    }

    /// One try; `Nowhere` = another tab has it. Nothing but the transaction may be awaited while it
    /// runs: it would end.
    async fn take_in_database(&self) -> Result<Place, Broken> {
        let connection = open_database().await?;
        let (transaction, store) = open_store(&connection)?;
        let transaction = Transaction(transaction);
        let name = JsValue::from_str(&self.name);
        let reading = call(&store, "get", &[&name])?;
        event(&reading, "onsuccess", "onerror").await?;
        let found = JsBody::of(&js::get(&reading, "result"));
        let Some(record) = self.record(found) else {
            return Ok(Place::Nowhere);
        };
        call(&store, "put", &[&record, &name])?;
        event(&transaction.0, "oncomplete", "onabort").await?;
        Ok(Place::Database(connection))
    }

    /// One try without transactions: write, wait, and see who wrote last.
    async fn take_in_local(&self) -> Result<Place, Broken> {
        let storage = js::global("localStorage").ok_or(Broken)?;
        let storage: web_sys::Storage = storage.dyn_into().map_err(|_| Broken)?;
        let found = read(&storage, &self.name).unwrap_or_default();
        let found = JsBody::parse(&JsString::from(found));
        let Some(record) = self.record(found) else {
            return Ok(Place::Nowhere);
        };
        let mine = String::from(stringify(&record).map_err(|_| Broken)?);
        storage.set_item(&self.name, &mine).map_err(|_| Broken)?;
        drop(pause().await);
        if read(&storage, &self.name).as_ref() == Some(&mine) {
            Ok(Place::Local(storage, mine))
        } else {
            Ok(Place::Nowhere)
        }
    }

    /// What to write, unless what was found there is a living lease.
    fn record(&self, found: Option<JsBody>) -> Option<Object> {
        let now = self.since.wall;
        let theirs = found.and_then(|found| found.integer("expires"));
        let left = theirs.map_or(0, |expires| expires.saturating_sub(now));
        if left > 0 && left <= self.lifetime.saturating_add(FAR) {
            return None;
        }
        let record = Object::new();
        #[allow(clippy::cast_precision_loss, reason = "ms since the epoch are exact")]
        let expires = now.saturating_add(self.lifetime) as f64;
        js::set(&record, "expires", &JsValue::from_f64(expires));
        js::set(&record, "owner", &JsValue::from_str(&self.owner));
        Some(record)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_over() {
            return;
        }
        match &self.place {
            Place::Nowhere => {}
            Place::Database(connection) => {
                if let Ok((transaction, store)) = open_store(connection) {
                    drop(call(&store, "delete", &[&JsValue::from_str(&self.name)]));
                    // A page that goes away has no time to wait for the answer first.
                    drop(call(&transaction, "commit", &[]));
                }
            }
            Place::Local(storage, _) => drop(storage.remove_item(&self.name)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(call(&self.0, "close", &[]));
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        drop(call(&self.0, "abort", &[]));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if js::get(&self.0, "readyState") == JsValue::from_str("pending") {
            let close = Closure::once_into_js(|event: JsValue| {
                drop(Connection(opened(&event)));
            });
            js::set(self.0.unchecked_ref(), "onsuccess", &close);
        }
    }
}

async fn open_database() -> Result<Connection, Broken> {
    thread_local! {
        static CREATE: Closure<dyn FnMut(JsValue)> = Closure::new(|event| {
            drop(call(&opened(&event), "createObjectStore", &[&STORE.into()]));
        });
    }
    let factory = js::global("indexedDB").ok_or(Broken)?;
    let version = JsValue::from_f64(1.0);
    let opening = Opening(call(&factory, "open", &[&DATABASE.into(), &version])?);
    // Also if nobody waits any more: there must never be a database without the store.
    CREATE.with(|create| {
        js::set(
            opening.0.unchecked_ref(),
            "onupgradeneeded",
            create.as_ref(),
        );
    });
    let success = event(&opening.0, "onsuccess", "onerror").await?;
    Ok(Connection(opened(&success)))
}

/// The database that an event of its opening brings.
fn opened(event: &JsValue) -> JsValue {
    js::get(&js::get(event, "target"), "result")
}

fn open_store(connection: &Connection) -> Result<(JsValue, JsValue), Broken> {
    let (store, mode) = (JsValue::from_str(STORE), JsValue::from_str("readwrite"));
    let transaction = call(&connection.0, "transaction", &[&store, &mode])?;
    let store = call(&transaction, "objectStore", &[&store])?;
    Ok((transaction, store))
}

/// Which of two events comes first.
async fn event(target: &JsValue, good: &str, bad: &str) -> Result<JsValue, Broken> {
    let target: &Object = target.unchecked_ref();
    let first = Promise::new(&mut |resolve, reject| {
        js::set(target, good, &resolve);
        js::set(target, bad, &reject);
    });
    JsFuture::from(first).await.map_err(|_| Broken)
}

/// Calls a method that may be missing or throw.
fn call(target: &JsValue, name: &str, arguments: &[&JsValue]) -> Result<JsValue, Broken> {
    let method: Function = js::get(target, name).dyn_into().map_err(|_| Broken)?;
    let arguments: Array = arguments.iter().copied().collect();
    method.apply(target, &arguments).map_err(|_| Broken)
}

fn read(storage: &web_sys::Storage, name: &str) -> Option<String> {
    storage.get_item(name).ok().flatten()
}

/// Not the same for all, so that tabs which wait do not meet again and again.
fn pause() -> clock::Within {
    #[allow(clippy::cast_possible_truncation, reason = "50 to 100")]
    clock::pause((PAUSE + PAUSE * clock::roll()) as i64)
}
