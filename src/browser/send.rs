//! One request: ask the policy what is next, do it, ask again.

use super::clock::{self, Alarm};
use super::error;
use super::inner::Inner;
use super::js::{self, Extra, Outgoing};
use super::peek;
use crate::policy::{Answer, Attempt, Code, Error, Step, Verdict};
use js_sys::{Array, Object, Promise};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Response};

/// A request under the policy's care.
struct Sending {
    inner: Rc<Inner>,
    attempt: Attempt,
    request: Outgoing,
    /// A second copy for the replay; the body of the first is spent by sending it.
    spare: Option<Outgoing>,
    extra: Extra,
    /// How often it was sent.
    sends: u8,
    /// The 401 that goes to the caller if there is no replay.
    refused: Option<Response>,
}

/// `client.fetch` once the `Request` is built. With a fresh token the native fetch starts before
/// this returns (behaviour.md 4.5).
pub(super) fn fetch(inner: &Rc<Inner>, request: Outgoing, extra: Extra) -> Promise {
    if inner.disposed.get() {
        return Promise::reject(&error::to_js(&Error::new(Code::Disposed)));
    }
    if !carries_token(inner, &request, &extra) {
        return inner.native_fetch(&request, &init_of(&extra));
    }
    let unloading = inner.leaving.get() && request.keepalive();
    let attempt = inner.with(|policy| policy.begin(unloading));
    let mut sending = Sending {
        inner: Rc::clone(inner),
        attempt,
        request,
        spare: None,
        extra,
        sends: 0,
        refused: None,
    };
    let first = match sending.step() {
        Step::Send { bearer } => Ok(sending.dispatch(bearer)),
        other => Err(other),
    };
    js::promise(async move { sending.run(first).await })
}

/// Whether the token may go along: an allowed origin, no Authorization of the caller's own, and a
/// mode in which the header survives (behaviour.md 4.1, 4.21). All strings stay in JavaScript.
fn carries_token(inner: &Inner, request: &Outgoing, extra: &Extra) -> bool {
    let url = request.url_js();
    let allowed = inner
        .options
        .prefixes
        .iter()
        .any(|prefix| js::starts_with(&url, prefix));
    allowed
        && (extra.is_undefined() || extra.auth() != JsValue::FALSE)
        && request.mode_js() != inner.names.no_cors
        && !request.headers_js().has_js(&inner.names.authorization)
}

/// What is given to the native fetch beside the `Request`: `priority` and `window` are not part of
/// one (behaviour.md 4.4).
fn init_of(extra: &Extra) -> JsValue {
    if extra.is_undefined() {
        JsValue::UNDEFINED
    } else {
        extra.init()
    }
}

/// The same for a request that must not be redirected.
fn unredirected(request: &Outgoing, extra: &Extra) -> JsValue {
    let init = Object::new();
    // Any member resets the referrer, so that has to go along.
    for name in ["referrer", "referrerPolicy"] {
        js::set(&init, name, &js::get(request, name));
    }
    let given = init_of(extra);
    if given.is_object() {
        Object::assign(&init, given.unchecked_ref());
    }
    if js::get(request, "redirect") == JsValue::from_str("follow") {
        js::set(&init, "redirect", &JsValue::from_str("error"));
    }
    init.into()
}

impl Sending {
    fn step(&mut self) -> Step {
        let (inner, request) = (&self.inner, &self.request);
        let exempt = || is_exempt(inner, request);
        inner.with(|policy| policy.next(&mut self.attempt, clock::now(), exempt))
    }

    async fn run(mut self, first: Result<Promise, Step>) -> Result<JsValue, JsValue> {
        let mut now = first;
        loop {
            match now {
                Ok(answer) => {
                    let response: Response = JsFuture::from(answer).await?.unchecked_into();
                    match self.judge(&response).await {
                        Verdict::Again => self.refused = Some(response),
                        Verdict::Prime => {
                            self.wait(&self.inner.prime()).await?;
                            self.refused = Some(response);
                        }
                        _ => return Ok(response.into()),
                    }
                }
                Err(Step::Refresh(wanted)) => self.wait(&self.inner.refresh(wanted)).await?,
                Err(Step::Load) => self.wait(&self.inner.load_outside()).await?,
                Err(Step::Fail(failure)) => return Err(error::to_js(&failure)),
                Err(Step::Return | Step::Send { .. }) => {
                    return self
                        .refused
                        .map(JsValue::from)
                        .ok_or_else(|| error::to_js(&Error::new(Code::RefreshFailed)));
                }
            }
            now = match self.step() {
                Step::Send { bearer } => Ok(self.dispatch(bearer)),
                other => Err(other),
            };
        }
    }

    /// Starts the native fetch, synchronously.
    fn dispatch(&mut self, bearer: bool) -> Promise {
        if let Some(refused) = self.refused.take() {
            js::cancel_body(&refused);
        }
        let outgoing = self
            .spare
            .take()
            .unwrap_or_else(|| Clone::clone(&self.request));
        let cookies = self.inner.options.csrf.is_some();
        if bearer || cookies {
            self.keep_spare(&outgoing);
        }
        if let Some(value) = self.inner.authorization().filter(|_| bearer)
            && let Err(refused) = outgoing
                .headers_js()
                .set_js(&self.inner.names.authorization, &value)
        {
            return Promise::reject(&refused);
        }
        self.add_key(&outgoing);
        let init = if cookies && self.inner.add_csrf(&outgoing) {
            unredirected(&outgoing, &self.extra)
        } else {
            init_of(&self.extra)
        };
        self.inner.native_fetch(&outgoing, &init)
    }

    /// The public key that servers behind a gateway want beside the token (Supabase).
    fn add_key(&self, outgoing: &Outgoing) {
        let options = &self.inner.options;
        let Some(key) = &options.api_key else { return };
        let (name, headers) = (options.preset.key_header, outgoing.headers());
        if self.inner.is_home(outgoing) && headers.has(name) == Ok(false) {
            drop(headers.set(name, key.reveal()));
        }
    }

    /// Copies the request before its body is spent. Requests without a body can be sent twice as
    /// they are, and a stream is not copied (behaviour.md 4.9, 4.10). A third time comes only where a
    /// CSRF token and an access token were both refused.
    fn keep_spare(&mut self, outgoing: &Outgoing) {
        let most = if self.inner.options.csrf.is_some() {
            2
        } else {
            1
        };
        if self.sends < most && self.is_replayable() && self.has_body() {
            let copy = web_sys::Request::clone(outgoing);
            self.spare = copy.ok().map(JsCast::unchecked_into);
        }
        self.sends = self.sends.saturating_add(1);
    }

    fn has_body(&self) -> bool {
        let method = self.request.method_js();
        method != self.inner.names.get && method != self.inner.names.head
    }

    fn is_replayable(&self) -> bool {
        let stream = !self.extra.is_undefined() && self.extra.stream() == JsValue::TRUE;
        !stream && self.request.cache_js() != self.inner.names.only_if_cached
    }

    async fn judge(&mut self, response: &Response) -> Verdict {
        let status = response.status();
        let auth_error = self.ask_app(response, status).await;
        let refused = auth_error.unwrap_or(status == 401);
        if !refused && status != 419 {
            let answer = Answer {
                status,
                auth_error,
                ..Answer::default()
            };
            return self
                .inner
                .with(|policy| policy.on_response(&mut self.attempt, answer, clock::now()));
        }
        self.inner.read_storage();
        let challenge = response.headers().get("www-authenticate").ok().flatten();
        let answer = Answer {
            status,
            auth_error,
            redirected_away: response.redirected()
                && !self.inner.options.origins.allows(&response.url()),
            replayable: self.is_replayable() && (!self.has_body() || self.spare.is_some()),
            exempt: is_exempt(&self.inner, &self.request),
            challenge: challenge.as_deref(),
        };
        let verdict = self
            .inner
            .with(|policy| policy.on_response(&mut self.attempt, answer, clock::now()));
        if verdict != Verdict::Peek {
            return verdict;
        }
        let code = peek::code_in(response).await;
        self.inner.read_storage();
        let sid = self.inner.sid();
        let verdict = self.inner.with(|policy| {
            policy.on_code(&mut self.attempt, code.as_deref(), answer, clock::now())
        });
        if let (Verdict::Over(dead), Some(sid)) = (verdict, sid) {
            self.inner.forget_ended(&sid, dead);
        }
        verdict
    }

    /// What the app says of an answer that is an error: whether it is about the token. It gets a copy,
    /// and no longer than a look takes (behaviour.md 2.7).
    async fn ask_app(&self, response: &Response, status: u16) -> Option<bool> {
        let ask = self.inner.options.is_auth_error.as_ref();
        let ask = ask.filter(|_| status >= 400)?;
        let copy = Response::clone(response).ok()?;
        let patience = Alarm::after(peek::LONGEST);
        let asked = js::call_user(ask, &Array::of1(&copy));
        let said = JsFuture::from(js::race(&asked, patience.promise())).await;
        js::cancel_body(&copy);
        said.ok()?.as_bool()
    }

    /// Waits for something shared, but no longer than the caller wants (behaviour.md 4.15).
    async fn wait(&self, shared: &Promise) -> Result<(), JsValue> {
        let aborted = Aborted::watch(&self.request.signal());
        JsFuture::from(js::race(shared, &aborted.promise))
            .await
            .map(drop)
    }
}

fn is_exempt(inner: &Inner, request: &Outgoing) -> bool {
    inner
        .options
        .origins
        .is_endpoint(&String::from(request.url_js()))
}

/// A promise that rejects with the signal's own reason, and a listener that goes when it is dropped.
struct Aborted {
    signal: AbortSignal,
    listener: Closure<dyn FnMut()>,
    promise: Promise,
}

impl Aborted {
    fn watch(signal: &AbortSignal) -> Self {
        let mut reject_with = None;
        let promise = Promise::new(&mut |_, reject| reject_with = Some(reject));
        js::ignore(&promise);
        let source = signal.clone();
        let fire = move || {
            if let Some(reject) = &reject_with {
                drop(reject.call1(&JsValue::UNDEFINED, &js::get(&source, "reason")));
            }
        };
        if signal.aborted() {
            fire();
        }
        let listener = Closure::new(fire);
        drop(signal.add_event_listener_with_callback("abort", listener.as_ref().unchecked_ref()));
        Self {
            signal: signal.clone(),
            listener,
            promise,
        }
    }
}

impl Drop for Aborted {
    fn drop(&mut self) {
        let listener = self.listener.as_ref().unchecked_ref();
        drop(
            self.signal
                .remove_event_listener_with_callback("abort", listener),
        );
    }
}
