//! The double-submit token of sessions whose tokens are cookies: read from a cookie that scripts may
//! read, repeated in a header that only the page's own scripts can set (behaviour.md 6.21, 6.22).

use super::answer::{self, Call};
use super::clock::Alarm;
use super::inner::Inner;
use super::js::{self, Outgoing};
use js_sys::Promise;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

impl Inner {
    /// The CSRF token and the name of its header, where there is one now. It changes with every
    /// sign-in and with some refreshes, so nobody keeps it.
    pub(super) fn csrf_token(&self) -> Option<(&str, String)> {
        let csrf = self.options.csrf.as_ref()?;
        let cookies = js::get(&js::global("document")?, "cookie").as_string()?;
        let raw = cookies.split(';').find_map(|cookie| {
            let value = cookie.trim_start().strip_prefix(csrf.cookie.as_str())?;
            value.strip_prefix('=')
        })?;
        let decoded = js_sys::decode_uri_component(raw).map(String::from);
        Some((&csrf.header, decoded.unwrap_or_else(|_| raw.to_owned())))
    }

    /// Fetches a new CSRF cookie; whoever asks meanwhile shares the call. Never rejects.
    pub(super) fn prime(self: &Rc<Self>) -> Promise {
        if let Some(promise) = &*self.priming.borrow() {
            return promise.clone();
        }
        let inner = Rc::clone(self);
        let promise = js::promise(async move {
            if let Some(url) = inner.options.endpoints.csrf.as_deref() {
                let call = Call {
                    url,
                    method: "GET",
                    ..Call::default()
                };
                let deadline = Alarm::after(inner.options.refresh_timeout);
                let call = std::pin::pin!(answer::exchange_once(&inner, &call));
                drop(js::first_of(call, JsFuture::from(deadline.promise().clone())).await);
            }
            inner.priming.replace(None);
            Ok(JsValue::UNDEFINED)
        });
        self.priming.replace(Some(promise.clone()));
        promise
    }

    /// Adds the token to a request that changes something at the auth server's own origin. Returns
    /// whether it did: such a request must not be redirected, because a header of ours would go along
    /// to wherever that leads (behaviour.md 4.24).
    pub(super) fn add_csrf(&self, request: &Outgoing) -> bool {
        if self.options.csrf.is_none() || self.is_safe(request) || !self.is_home(request) {
            return false;
        }
        let Some((header, token)) = self.csrf_token() else {
            return false;
        };
        let headers = request.headers();
        headers.has(header) == Ok(false) && headers.set(header, &token).is_ok()
    }

    /// Whether a request goes to the auth server's own origin.
    pub(super) fn is_home(&self, request: &Outgoing) -> bool {
        let home = self.options.home.as_ref();
        home.is_some_and(|home| js::starts_with(&request.url_js(), home))
    }

    fn is_safe(&self, request: &Outgoing) -> bool {
        let method = request.method_js();
        let safe = [&self.names.get, &self.names.head];
        safe.contains(&&method) || method == JsValue::from_str("OPTIONS")
    }
}
