//! When the page wakes up, goes away, or storage changes under it (behaviour.md 5.7).

use super::js;
use wasm_bindgen::prelude::*;
use web_sys::{Event, EventTarget, StorageEvent};

/// What happened to the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Shown or focused.
    Seen,
    /// Restored from the back-forward cache, resumed from sleep, or online again.
    Up,
    /// Hidden, but alive.
    Hidden,
    /// About to be frozen: no code runs until it is resumed.
    Frozen,
    /// Going away: requests must not wait for anything any more.
    Leaving,
    /// Another document changed storage.
    Storage,
}

/// The listeners of one client; dropping them removes them.
pub(super) struct Listeners {
    listening: Vec<(EventTarget, &'static str)>,
    closure: Closure<dyn FnMut(Event)>,
}

impl Listeners {
    /// Listens on the window (or worker) and the document. `concerns` says whether a storage event
    /// with that key is about us.
    pub(super) fn start(
        concerns: impl Fn(Option<&str>) -> bool + 'static,
        on_wake: impl Fn(Wake) + 'static,
    ) -> Self {
        let closure = Closure::new(move |event: Event| {
            if let Some(wake) = read(&event, &concerns) {
                on_wake(wake);
            }
        });
        let mut listeners = Self {
            listening: Vec::new(),
            closure,
        };
        let scope: JsValue = js_sys::global().into();
        listeners.listen(
            &scope,
            &["pageshow", "pagehide", "focus", "online", "storage"],
        );
        if let Some(document) = js::global("document") {
            listeners.listen(&document, &["visibilitychange", "freeze", "resume"]);
        }
        listeners
    }

    fn listen(&mut self, target: &JsValue, names: &[&'static str]) {
        // Node has no events on its global: nothing to listen to.
        if !js::get(target, "addEventListener").is_function() {
            return;
        }
        let target: &EventTarget = target.unchecked_ref();
        for name in names {
            let callback = self.closure.as_ref().unchecked_ref();
            if target
                .add_event_listener_with_callback(name, callback)
                .is_ok()
            {
                self.listening.push((target.clone(), name));
            }
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for (target, name) in &self.listening {
            let callback = self.closure.as_ref().unchecked_ref();
            drop(target.remove_event_listener_with_callback(name, callback));
        }
    }
}

/// Whether the page can be seen; workers always count as seen.
pub(super) fn visible() -> bool {
    js::global("document")
        .is_none_or(|document| js::get(&document, "visibilityState") != JsValue::from_str("hidden"))
}

fn read(event: &Event, concerns: &dyn Fn(Option<&str>) -> bool) -> Option<Wake> {
    match event.type_().as_str() {
        "storage" => {
            let event: &StorageEvent = event.unchecked_ref();
            concerns(event.key().as_deref()).then_some(Wake::Storage)
        }
        "pagehide" => Some(Wake::Leaving),
        "freeze" => Some(Wake::Frozen),
        "visibilitychange" if !visible() => Some(Wake::Hidden),
        // The first pageshow of a page is not a return.
        "pageshow" if js::get(event, "persisted") != JsValue::TRUE => None,
        "visibilitychange" | "focus" => Some(Wake::Seen),
        _ => Some(Wake::Up),
    }
}
