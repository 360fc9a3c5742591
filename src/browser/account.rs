//! Signing in and out, and who is signed in.

use super::answer::{self, Answered, Call};
use super::clock::{self, Alarm};
use super::error;
use super::inner::Inner;
use super::js;
use super::json::JsBody;
use crate::policy::{Code, Error, Goodbye, Hello, Secret, Timing, TokenSet};
use js_sys::{Object, Promise};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestCredentials, RequestInit, Response};

/// What is sent to the server, for `endpoints.login` or `endpoints.register`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// An account that exists.
    Login,
    /// A new account.
    Register,
    /// Cookies that were there before this page, or its storage, was (known-failures 59).
    Restore,
}

/// A sign-in under way, for telling whether another is the same.
#[derive(PartialEq, Eq)]
pub(super) struct Entering {
    door: Door,
    remember: bool,
    text: String,
}

impl Inner {
    /// Sends credentials and starts a session with the tokens of the answer. The same call again while
    /// the first is under way shares its answer: an authorization code is good for one use, and React's
    /// strict mode runs effects twice (known-failures 46).
    pub(super) fn enter(
        self: &Rc<Self>,
        door: Door,
        credentials: &Object,
        remember: bool,
    ) -> Promise {
        let body = match door {
            Door::Restore => None,
            _ => Some(self.hello(credentials, remember)),
        };
        let text = body.as_ref().and_then(|(_, body)| body.as_string());
        let entering = Entering {
            door,
            remember,
            text: text.unwrap_or_default(),
        };
        if let Some((same, promise)) = &*self.entering.borrow()
            && *same == entering
        {
            return promise.clone();
        }
        let inner = Rc::clone(self);
        let promise = js::promise(async move {
            let entered = inner.go_in(door, body, remember).await;
            inner.entering.replace(None);
            entered
        });
        self.entering.replace(Some((entering, promise.clone())));
        promise
    }

    async fn go_in(
        self: &Rc<Self>,
        door: Door,
        body: Option<(&'static str, JsValue)>,
        remember: bool,
    ) -> Result<JsValue, JsValue> {
        let endpoints = &self.options.endpoints;
        let (url, field) = match door {
            Door::Login => (&endpoints.login, "endpoints.login"),
            Door::Register => (&endpoints.register, "endpoints.register"),
            Door::Restore => (&endpoints.refresh, "endpoints.refresh"),
        };
        let url = url.as_deref().ok_or_else(|| missing(field))?;
        let method = match door {
            Door::Restore => self.options.refresh_method,
            Door::Login | Door::Register => "POST",
        };
        let entrance = self.next_entrance();
        let call = Call {
            url,
            method,
            body,
            ..Call::default()
        };
        let answered = self.post(call).await?;
        if answered.status == 401 && door == Door::Restore {
            return Err(error::to_js(&Error::new(Code::NotSignedIn)));
        }
        if !answered.ok() {
            return Err(rejected(&answered));
        }
        let timing = answered.timing;
        let (tokens, user) = self.read_tokens(&answered).await?;
        if self.is_overtaken(entrance) {
            // Somebody signed out, or in, after this was begun: that has the last word.
            self.say_goodbye(tokens.access_token.as_ref(), tokens.refresh_token.as_ref())
                .await;
            let code = self.sid().map_or(Code::SignedOut, |_| Code::UserChanged);
            return Err(error::to_js(&Error::new(code)));
        }
        self.user.replace(user);
        self.begin_session(entrance, tokens, timing, remember);
        Ok(self.session_view())
    }

    /// Starts a session with tokens that the app got elsewhere.
    pub(super) fn set_session(&self, tokens: &JsValue, remember: bool) -> Result<JsValue, JsValue> {
        let now = clock::now();
        let (tokens, user) = answer::token_set(self, tokens, false).map_err(|_| {
            error::to_js(&Error::config(
                "tokens",
                "must hold accessToken, a string of visible ASCII characters",
            ))
        })?;
        self.user.replace(user);
        self.begin_session(
            self.next_entrance(),
            tokens,
            Timing {
                sent: now,
                received: now,
                date: None,
            },
            remember,
        );
        Ok(self.session_view())
    }

    /// Ends the session: here and in storage at once, in the other tabs by a note, and on the server
    /// as well as it goes (behaviour.md 5.11). Never fails: a person who signs out is signed out.
    pub(super) fn log_out(self: &Rc<Self>) -> Promise {
        let session = self.end_session();
        let inner = Rc::clone(self);
        js::promise(async move {
            if let Some(session) = session {
                inner.settle_cookies().await;
                inner
                    .say_goodbye(
                        session.access_token.as_ref(),
                        session.refresh_token.as_ref(),
                    )
                    .await;
            }
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Where tokens are cookies, the answer of a refresh under way would put new ones in place after
    /// the server has removed them: it has to be in first (known-failures 39).
    async fn settle_cookies(&self) {
        if !self.options.uses_cookies() {
            return;
        }
        if let Some(running) = self.running_refresh() {
            let patience = Alarm::after(self.options.refresh_timeout);
            drop(JsFuture::from(js::race(&running, patience.promise())).await);
        }
    }

    /// Ends every session of the person. Here it always ends; `confirmed` says whether the server
    /// agreed.
    pub(super) async fn log_out_everywhere(self: Rc<Self>) -> Result<JsValue, JsValue> {
        let url = self
            .options
            .endpoints
            .logout_all
            .clone()
            .ok_or_else(|| missing("endpoints.logoutAll"))?;
        self.load_if_stale().await;
        self.signed_in()?;
        let sid = self.sid();
        let token = self.fresh_token(None).await;
        self.still(sid.as_deref())?;
        let call = Call {
            url: &url,
            method: "POST",
            bearer: token.as_deref(),
            ..Call::default()
        };
        let answered = self.post(call).await;
        if self.still(sid.as_deref()).is_ok() {
            self.end_session();
        }
        let result = Object::new();
        let confirmed = answered.as_ref().is_ok_and(Answered::ok);
        js::set(&result, "confirmed", &JsValue::from_bool(confirmed));
        let count = answered
            .ok()
            .and_then(|answered| answered.body.map(|body| body.value("revoked_count")));
        let count = count.filter(|count| count.as_f64().is_some());
        js::set(&result, "revokedCount", &count.unwrap_or(JsValue::NULL));
        Ok(result.into())
    }

    /// Asks the server who is signed in.
    pub(super) async fn me(self: Rc<Self>) -> Result<JsValue, JsValue> {
        let url = self
            .options
            .endpoints
            .me
            .as_deref()
            .ok_or_else(|| missing("endpoints.me"))?;
        let init = RequestInit::new();
        let headers = web_sys::Headers::new()?;
        headers.set("Accept", "application/json")?;
        init.set_headers(&headers);
        if self.options.uses_cookies() {
            init.set_credentials(RequestCredentials::Include);
        }
        let request = web_sys::Request::new_with_str_and_init(url, &init)?;
        let sent = super::send::fetch(
            &self,
            request.unchecked_into(),
            JsValue::UNDEFINED.unchecked_into(),
        );
        let response: Response = JsFuture::from(sent).await?.unchecked_into();
        let text = JsFuture::from(response.text()?).await?;
        let body = text.dyn_ref().and_then(JsBody::parse);
        match body {
            _ if !response.ok() => Err(error::with_cause(
                &Error::new(Code::Rejected).with_status(response.status()),
                &body.map_or(JsValue::UNDEFINED, |body| body.whole()),
            )),
            Some(body) => Ok(body.whole()),
            None => Err(error::to_js(
                &Error::new(Code::InvalidResponse).with_status(response.status()),
            )),
        }
    }

    /// Tells the server that these tokens are no longer wanted; best effort, within the time limit
    /// of a refresh.
    pub(super) async fn say_goodbye(
        self: &Rc<Self>,
        access: Option<&Secret>,
        refresh: Option<&Secret>,
    ) {
        let Some(url) = self.options.endpoints.logout.as_deref() else {
            return;
        };
        let token = refresh.or(access);
        let body = match (self.options.preset.goodbye, token) {
            (Goodbye::Bearer | Goodbye::Cookie, _) | (_, None) => None,
            (Goodbye::Json, Some(token)) => {
                let object = Object::new();
                js::set(
                    &object,
                    &self.options.refresh_field,
                    &JsValue::from_str(token.reveal()),
                );
                Some(js::json_body(&object))
            }
            (Goodbye::Revocation, Some(token)) => {
                let hint = if refresh.is_some() {
                    "refresh_token"
                } else {
                    "access_token"
                };
                let mut fields = vec![("token", token.reveal()), ("token_type_hint", hint)];
                fields.extend(
                    self.options
                        .client_id
                        .as_deref()
                        .map(|id| ("client_id", id)),
                );
                Some(js::form_body(&fields))
            }
        };
        let revocation = self.options.preset.goodbye == Goodbye::Revocation;
        let bearer = access.filter(|_| !revocation).map(Secret::reveal);
        let call = Call {
            url,
            method: "POST",
            body,
            bearer,
            keepalive: true,
        };
        let status = self.post(call).await.ok().map(|answered| answered.status);
        self.with(|policy| policy.sign_out_answered(status));
    }

    /// The access token with at least `min_validity` ms of life, refreshed if need be.
    pub(super) async fn fresh_token(self: &Rc<Self>, min_validity: Option<i64>) -> Option<String> {
        self.load_if_stale().await;
        let wanted = match self.token(min_validity) {
            Ok(token) => return token,
            Err(wanted) => wanted,
        };
        drop(JsFuture::from(self.refresh(wanted)).await);
        self.token(min_validity).unwrap_or_else(|_| {
            let now = clock::now();
            self.with(|policy| {
                let session = policy
                    .usable_session(now)
                    .filter(|session| !session.expired(now));
                let token = session.and_then(|session| session.access_token.as_ref());
                token.map(|token| token.reveal().to_owned())
            })
        })
    }

    fn token(
        &self,
        min_validity: Option<i64>,
    ) -> Result<Option<String>, crate::policy::Generation> {
        self.with(|policy| {
            let token = policy.token_for(min_validity, clock::now())?;
            Ok(token.map(|token| token.reveal().to_owned()))
        })
    }

    /// The tokens of a login's answer; the app's `parseTokens` gets no longer than the server did.
    async fn read_tokens(&self, answered: &Answered) -> Result<(TokenSet, JsValue), JsValue> {
        let deadline = Alarm::after(self.options.refresh_timeout);
        let reading = std::pin::pin!(answer::tokens_of(self, answered));
        match js::first_of(reading, JsFuture::from(deadline.promise().clone())).await {
            Some(Ok(read)) => Ok(read),
            Some(Err(_)) => {
                let unusable = Error::new(Code::InvalidResponse).with_status(answered.status);
                Err(error::to_js(&unusable))
            }
            None => Err(error::to_js(&Error::new(Code::Timeout))),
        }
    }

    /// An error unless this login is still the current one.
    fn still(&self, sid: Option<&str>) -> Result<(), JsValue> {
        let now = self.sid();
        if now.as_deref() == sid {
            return Ok(());
        }
        let code = now.map_or(Code::SignedOut, |_| Code::UserChanged);
        Err(error::to_js(&Error::new(code)))
    }

    /// Calls an auth endpoint within the time limit.
    async fn post(self: &Rc<Self>, call: Call<'_>) -> Result<Answered, JsValue> {
        let deadline = Alarm::after(self.options.refresh_timeout);
        let exchange = std::pin::pin!(answer::exchange(self, call));
        match js::first_of(exchange, JsFuture::from(deadline.promise().clone())).await {
            Some(Ok(answered)) => Ok(answered),
            Some(Err(native)) => Err(error::with_cause(&Error::new(Code::Network), &native)),
            None => Err(error::to_js(&Error::new(Code::Timeout))),
        }
    }

    fn hello(&self, credentials: &Object, remember: bool) -> (&'static str, JsValue) {
        let body = Object::assign(&Object::new(), credentials);
        match self.options.preset.hello {
            Hello::Json => js::json_body(&body),
            Hello::JsonWithDevice => {
                js::set_default(&body, "remember_me", &JsValue::from_bool(remember));
                js::set_default(&body, "device_name", &device_name());
                js::json_body(&body)
            }
            Hello::Form => {
                js::set_default(
                    &body,
                    "grant_type",
                    &JsValue::from_str("authorization_code"),
                );
                if let Some(id) = &self.options.client_id {
                    js::set_default(&body, "client_id", &JsValue::from_str(id));
                }
                js::form_of(&body)
            }
        }
    }
}

/// What a person would call this browser in a list of devices.
fn device_name() -> JsValue {
    let navigator = js::global("navigator").unwrap_or(JsValue::UNDEFINED);
    let name = js::get(&js::get(&navigator, "userAgentData"), "platform");
    if name.is_string() && name != JsValue::from_str("") {
        return name;
    }
    let platform = js::get(&navigator, "platform");
    if platform.is_string() && platform != JsValue::from_str("") {
        platform
    } else {
        JsValue::from_str("Browser")
    }
}

fn missing(field: &str) -> JsValue {
    error::to_js(&Error::config(
        field,
        "is needed for this call and the preset knows none",
    ))
}

fn rejected(answered: &Answered) -> JsValue {
    error::with_cause(
        &Error::new(Code::Rejected).with_status(answered.status),
        &answered.json(),
    )
}
