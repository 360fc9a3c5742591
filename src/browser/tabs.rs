//! Between tabs: one lock around a refresh, and hints that storage has changed. A hint carries no
//! token and proves nothing: whoever hears it reads storage (behaviour.md 5.3, 5.8, 6.16).

use super::clock::Alarm;
use super::js;
use gloo_timers::callback::Timeout;
use js_sys::{Array, Function, Object, Promise};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, BroadcastChannel, MessageEvent};

/// How long a note of a stored rotation stays, ms: longer than storage takes to reach another tab.
const MARK: u32 = 2_000;
/// The longest wait for the lock manager to take or show a note, ms.
const LONGEST_NOTE: i64 = 1_000;

#[wasm_bindgen]
extern "C" {
    /// `navigator.locks`.
    type LockManager;
    #[wasm_bindgen(method, structural, catch)]
    fn query(this: &LockManager) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &Object,
        callback: &Function,
    ) -> Result<Promise, JsValue>;
}

/// The lock and the channel of one storage key.
pub(super) struct Tabs {
    key: String,
    locks: Option<LockManager>,
    channel: Option<BroadcastChannel>,
    mark: Rc<RefCell<Option<(Lock, Timeout)>>>,
    /// Kept for as long as the channel calls it.
    on_message: Option<Closure<dyn FnMut(MessageEvent)>>,
}

/// A held lock; dropping it releases it.
pub(super) struct Lock {
    release: Option<Function>,
}

/// The lock was not to be had in time.
#[derive(Debug)]
pub(super) struct WaitedTooLong;

impl Tabs {
    /// Takes part in the lock if the session is `stored` where other tabs find it, and opens the
    /// channel if they are to follow each other; `on_hint` runs when one says that storage changed.
    pub(super) fn open(
        key: &str,
        stored: bool,
        cross_tab: bool,
        on_hint: impl Fn() + 'static,
    ) -> Self {
        let mut tabs = Self {
            key: key.to_owned(),
            locks: None,
            channel: None,
            mark: Rc::default(),
            on_message: None,
        };
        if !stored {
            return tabs;
        }
        tabs.locks = js::global("navigator")
            .and_then(|navigator| js::get_some(&navigator, "locks"))
            .map(JsCast::unchecked_into);
        if cross_tab && js::global("BroadcastChannel").is_some() {
            tabs.channel = BroadcastChannel::new(key).ok();
        }
        if let Some(channel) = &tabs.channel {
            let on_message = Closure::new(move |message: MessageEvent| {
                if js::get(&message.data(), "type") == JsValue::from_str("changed") {
                    on_hint();
                }
            });
            channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
            tabs.on_message = Some(on_message);
        }
        tabs
    }

    /// Tells the other tabs to read storage.
    pub(super) fn hint(&self) {
        let Some(channel) = &self.channel else { return };
        let message = Object::new();
        js::set(&message, "v", &JsValue::from_f64(1.0));
        js::set(&message, "type", &JsValue::from_str("changed"));
        drop(channel.post_message(&message));
    }

    /// Notes in the lock manager that storage holds this rotation now, or will when it arrives:
    /// Chromium hands a lock on faster than what was written under it. Call it before the refresh
    /// lock is released. The note is a lock that nobody waits for, kept for a moment.
    pub(super) async fn mark(&self, sid: &str, rotation: u32) {
        let Some(locks) = &self.locks else { return };
        let name = [self.mark_prefix(sid), rotation.to_string()].concat();
        let release: Rc<RefCell<Option<Function>>> = Rc::default();
        let Some(granted) = request(locks, &name, "shared", None, &release) else {
            return;
        };
        let patience = Alarm::after(LONGEST_NOTE);
        drop(JsFuture::from(js::race(&granted, patience.promise())).await);
        let Some(release) = release.borrow_mut().take() else {
            return;
        };
        let slot = Rc::clone(&self.mark);
        let ending = Timeout::new(MARK, move || drop(slot.replace(None)));
        let lock = Lock {
            release: Some(release),
        };
        self.mark.replace(Some((lock, ending)));
    }

    /// The newest rotation that a tab has noted for this login, if one did a moment ago.
    pub(super) async fn marked(&self, sid: &str) -> Option<u32> {
        let asked = self.locks.as_ref()?.query().ok()?;
        let patience = Alarm::after(LONGEST_NOTE);
        let state = JsFuture::from(js::race(&asked, patience.promise())).await;
        let held: Array = js::get(&state.ok()?, "held").dyn_into().ok()?;
        let prefix = self.mark_prefix(sid);
        let noted = |lock: JsValue| {
            let name = js::get(&lock, "name").as_string()?;
            name.strip_prefix(&prefix)?.parse().ok()
        };
        held.iter().filter_map(noted).max()
    }

    /// Takes the note back: a page that goes away must hold no lock (behaviour.md 5.6).
    pub(super) fn unmark(&self) {
        self.mark.replace(None);
    }

    fn mark_prefix(&self, sid: &str) -> String {
        [&self.key, ":stored:", sid, ":"].concat()
    }

    /// Stops listening.
    pub(super) fn close(&self) {
        self.unmark();
        if let Some(channel) = &self.channel {
            channel.set_onmessage(None);
            channel.close();
        }
    }

    /// Takes the lock of one login, waiting `longest` ms at most. Without Web Locks, tabs rely on the
    /// compare-and-swap in storage.
    ///
    /// # Errors
    /// [`WaitedTooLong`] when another tab holds it for longer than any refresh may take.
    pub(super) async fn lock(&self, sid: &str, longest: i64) -> Result<Lock, WaitedTooLong> {
        let Some(locks) = &self.locks else {
            return Ok(Lock { release: None });
        };
        let name = [&self.key, ":refresh:", sid].concat();
        let release: Rc<RefCell<Option<Function>>> = Rc::default();
        let giving_up = AbortController::new().ok();
        let granted = request(locks, &name, "exclusive", giving_up.as_ref(), &release);
        let Some(granted) = granted else {
            return Ok(Lock { release: None });
        };
        let timer = Alarm::after(longest);
        let first = JsFuture::from(js::race(&granted, timer.promise())).await;
        if let Some(release) = release.borrow_mut().take() {
            return Ok(Lock {
                release: Some(release),
            });
        }
        if let Some(controller) = giving_up {
            controller.abort();
        }
        match first {
            Ok(_) => Err(WaitedTooLong),
            // Not fully active document, or a name the platform refuses: go on without a lock.
            Err(_) => Ok(Lock { release: None }),
        }
    }
}

impl Drop for Tabs {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(release) = &self.release {
            drop(release.call0(&JsValue::UNDEFINED));
        }
    }
}

/// Asks for the lock. The promise resolves when it is granted; `release` then holds what frees it.
fn request(
    locks: &LockManager,
    name: &str,
    mode: &str,
    giving_up: Option<&AbortController>,
    release: &Rc<RefCell<Option<Function>>>,
) -> Option<Promise> {
    let mut failed = None;
    let granted = Promise::new(&mut |granted, refused| {
        let release = Rc::clone(release);
        let on_granted = Closure::once_into_js(move || {
            Promise::new(&mut |resolve, _| {
                *release.borrow_mut() = Some(resolve);
                drop(granted.call0(&JsValue::UNDEFINED));
            })
        });
        let options = Object::new();
        js::set(&options, "mode", &JsValue::from_str(mode));
        if let Some(controller) = giving_up {
            js::set(&options, "signal", &controller.signal());
        }
        match locks.request(name, &options, on_granted.unchecked_ref()) {
            // Rejected when we give up, or at once where locks are not allowed.
            Ok(held) => {
                let refused = Closure::once_into_js(move |error: JsValue| {
                    drop(refused.call1(&JsValue::UNDEFINED, &error));
                });
                let then = js::get(&held, "then").unchecked_into::<Function>();
                drop(then.call2(&held, &JsValue::UNDEFINED, &refused));
            }
            Err(error) => failed = Some(error),
        }
    });
    js::ignore(&granted);
    failed.is_none().then_some(granted)
}
