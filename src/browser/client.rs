//! The class that JavaScript gets: one method for each call, and nothing else.

use super::account::Door;
use super::clock;
use super::error;
use super::inner::{Host, Inner};
use super::js::{self, Extra, Outgoing};
use super::options::Options;
use super::send;
use super::view;
use crate::policy::{Code, Error};
use js_sys::{Object, Promise};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// One client. Every method that can wait returns a promise; nothing here takes `&mut self`, so
/// that calls may overlap.
#[wasm_bindgen]
pub struct Core {
    inner: Rc<Inner>,
}

#[wasm_bindgen]
impl Core {
    /// A client with these options, which reads the stored session at once.
    ///
    /// # Errors
    /// `KeepfreshError` of code `config` with the field that is wrong.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &JsValue, host: Host) -> Result<Core, JsValue> {
        let options = *Options::read(options).map_err(|failure| error::to_js(&failure))?;
        Ok(Self {
            inner: Inner::start(options, host)?,
        })
    }

    /// Resolves when the stored session has been read and the outside source asked. Never rejects.
    pub fn ready(&self) -> Promise {
        let inner = Rc::clone(&self.inner);
        js::promise(async move {
            inner.load_if_stale().await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Sends one request; see [`crate::policy::Policy`] for the rules.
    pub fn fetch(&self, request: Outgoing, extra: Extra) -> Promise {
        send::fetch(&self.inner, request, extra)
    }

    /// Signs in with credentials.
    #[allow(clippy::needless_pass_by_value, reason = "JavaScript hands it over")]
    pub fn login(&self, credentials: Object, remember: bool) -> Promise {
        self.entrance(Door::Login, &credentials, remember)
    }

    /// Creates an account and signs in.
    #[allow(clippy::needless_pass_by_value, reason = "JavaScript hands it over")]
    pub fn register(&self, details: Object, remember: bool) -> Promise {
        self.entrance(Door::Register, &details, remember)
    }

    /// Renews the token now, through the shared refresh.
    pub fn refresh(&self) -> Promise {
        self.promise(|inner| async move {
            inner.load_if_stale().await;
            if inner.options.dialect.tokenless && inner.sid().is_none() {
                let restored = inner.enter(Door::Restore, &Object::new(), false);
                return JsFuture::from(restored).await;
            }
            inner.signed_in()?;
            let wanted = inner.with(|policy| policy.generation());
            JsFuture::from(inner.refresh(wanted)).await?;
            let outcome = inner.with(|policy| policy.refresh_outcome(wanted, clock::now()));
            outcome.map_err(|failure| error::to_js(&failure))?;
            Ok(inner.session_view())
        })
    }

    /// Signs out, here at once and on the server as well as it goes.
    pub fn logout(&self) -> Promise {
        if self.inner.disposed.get() {
            return Promise::reject(&error::to_js(&Error::new(Code::Disposed)));
        }
        self.inner.log_out()
    }

    /// Signs the person out everywhere.
    #[wasm_bindgen(js_name = logoutAll)]
    pub fn logout_all(&self) -> Promise {
        self.promise(Inner::log_out_everywhere)
    }

    /// Asks the server who is signed in.
    pub fn me(&self) -> Promise {
        self.promise(Inner::me)
    }

    /// The session, or null. An expired token is renewed first.
    #[wasm_bindgen(js_name = getSession)]
    pub fn get_session(&self) -> Promise {
        self.promise(|inner| async move {
            drop(inner.fresh_token(Some(1)).await);
            Ok(inner.session_view())
        })
    }

    /// The access token, or null; `min_validity` in ms.
    #[wasm_bindgen(js_name = getAccessToken)]
    pub fn get_access_token(&self, min_validity: Option<f64>) -> Promise {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "saturates; a huge wish is simply not met"
        )]
        let wanted = min_validity.map(|ms| ms as i64);
        self.promise(move |inner| async move {
            let token = inner.fresh_token(wanted).await;
            Ok(token.map_or(JsValue::NULL, |token| JsValue::from_str(&token)))
        })
    }

    /// Starts a session with tokens from elsewhere.
    #[wasm_bindgen(js_name = setSession)]
    pub fn set_session(&self, tokens: &JsValue, remember: bool) -> Promise {
        if self.inner.disposed.get() {
            return Promise::reject(&error::to_js(&Error::new(Code::Disposed)));
        }
        // In this turn: what is called after it has to come after it.
        match self.inner.set_session(tokens, remember) {
            Ok(session) => Promise::resolve(&session),
            Err(refused) => Promise::reject(&refused),
        }
    }

    /// Forgets the cached answer of `getSession`.
    #[wasm_bindgen(js_name = clearSessionCache)]
    pub fn clear_session_cache(&self) {
        let now = clock::now();
        self.inner.with(|policy| policy.clear_cache(now));
    }

    /// The state now.
    pub fn snapshot(&self) -> JsValue {
        self.inner.snapshot()
    }

    /// Counts so far.
    pub fn metrics(&self) -> JsValue {
        self.inner.with(|policy| view::metrics(policy.metrics()))
    }

    /// Stops the timer, the listeners and the channel. The session stays where it is stored.
    pub fn dispose(&self) {
        self.inner.dispose();
    }
}

impl Core {
    fn entrance(&self, door: Door, body: &Object, remember: bool) -> Promise {
        if self.inner.disposed.get() {
            return Promise::reject(&error::to_js(&Error::new(Code::Disposed)));
        }
        self.inner.enter(door, body, remember)
    }

    fn promise<F, W>(&self, work: F) -> Promise
    where
        F: FnOnce(Rc<Inner>) -> W,
        W: Future<Output = Result<JsValue, JsValue>> + 'static,
    {
        if self.inner.disposed.get() {
            return Promise::reject(&error::to_js(&Error::new(Code::Disposed)));
        }
        js::promise(work(Rc::clone(&self.inner)))
    }
}
