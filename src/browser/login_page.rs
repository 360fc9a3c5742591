//! Sending a person to the sign-in page once there is nothing left to do without one
//! (`options.loginUrl`, behaviour.md 6.14).

use super::clock;
use super::inner::Inner;
use super::js;
use super::storage;
use crate::policy::Event;
use js_sys::Function;
use wasm_bindgen::prelude::*;
use web_sys::Url;

/// The least time between two automatic redirects, ms: a sign-in page that signs nobody in must not
/// make the browser go round in circles.
const LEAST_PAUSE: i64 = 30_000;

impl Inner {
    /// Goes to the sign-in page, if this event means that the session is over and the app named one. A
    /// sign-out in this tab is the app's own doing: it knows where to go.
    pub(super) fn send_to_login(&self, event: &Event) {
        let over = matches!(
            event,
            Event::ReauthRequired(_) | Event::SignedOut { elsewhere: true }
        );
        let usable =
            |policy: &mut crate::policy::Policy| policy.usable_session(clock::now()).is_some();
        let Some(url) = self.options.login_url.as_ref().filter(|_| over) else {
            return;
        };
        if !self.with(usable) {
            self.go_to(url);
        }
    }

    fn go_to(&self, login: &Url) {
        let Some(location) = js::global("location") else {
            return;
        };
        let part = |name: &str| js::get(&location, name).as_string().unwrap_or_default();
        if part("pathname") == login.pathname() || !self.may_redirect() {
            return;
        }
        let here = [part("pathname"), part("search"), part("hash")].concat();
        let here = String::from(js_sys::encode_uri_component(&here));
        let Ok(target) = Url::new(&login.href()) else {
            return;
        };
        let mark = if target.search().is_empty() { "?" } else { "&" };
        target.set_search(&[&target.search(), mark, "returnTo=", &here].concat());
        if let Ok(assign) = js::get(&location, "assign").dyn_into::<Function>() {
            drop(assign.call1(&location, &JsValue::from_str(&target.href())));
        }
    }

    /// At most one redirect in 30 s, noted where a reload does not lose it.
    fn may_redirect(&self) -> bool {
        let key = [&self.options.key, ":redirected"].concat();
        let now = clock::now().wall;
        let Some(storage) = storage::of_tab() else {
            return false;
        };
        let last = storage.get_item(&key).ok().flatten();
        let last = last.and_then(|last| last.parse::<i64>().ok());
        if last.is_some_and(|last| (0..LEAST_PAUSE).contains(&now.saturating_sub(last))) {
            return false;
        }
        // Where that cannot be noted, a circle could not be broken.
        storage.set_item(&key, &now.to_string()).is_ok()
    }
}
