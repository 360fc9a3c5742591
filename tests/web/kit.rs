//! What the tests are written with: a world of one fake server, and the tabs in it. What the server
//! saw and what the host was told is written down in `kit.js`.

use js_sys::{Array, Function, JSON, Object, Promise, Reflect, Uint8Array};
use keepfresh::browser::Core;
use serde_json::{Value, json};
use std::cell::Cell;
use std::ops::Deref;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Request, RequestInit, Response};

/// The origin that may receive the token.
pub(crate) const API: &str = "https://api.test";
/// The refresh (and code exchange) endpoint of the `oauth2` preset.
pub(crate) const TOKEN: &str = "POST https://api.test/oauth/token";
/// The revocation endpoint of the `oauth2` preset.
pub(crate) const REVOKE: &str = "POST https://api.test/oauth/revoke";
/// The refresh endpoint of the `sanctum` preset.
pub(crate) const SANCTUM: &str = "POST https://api.test/api/auth/refresh";
/// Every token holds this text, so that a leak is found by looking for it.
pub(crate) const CANARY: &str = "canary";

#[wasm_bindgen(module = "/tests/web/kit.js")]
extern "C" {
    #[wasm_bindgen(js_name = patchValue)]
    pub(crate) fn patch_value(target: &JsValue, name: &str, value: &JsValue);
    pub(crate) fn pollute(name: &str, value: &JsValue);
    #[wasm_bindgen(js_name = patchThrowing)]
    pub(crate) fn patch_throwing(target: &JsValue, name: &str);
    #[wasm_bindgen(js_name = fillStorage)]
    pub(crate) fn fill_storage();
    pub(crate) fn restore();
    #[wasm_bindgen(js_name = realNow)]
    fn real_now() -> f64;
    fn turn() -> Promise;
    fn within(promise: &Promise, what: &str) -> Promise;
    fn rejection(promise: &Promise, what: &str) -> Promise;
    #[wasm_bindgen(js_name = takeSpilled)]
    fn take_spilled() -> String;
    pub(crate) fn spill(value: &JsValue);
    #[wasm_bindgen(js_name = holdLock)]
    pub(crate) fn hold_lock(name: &str) -> Promise;
    pub(crate) fn locks() -> Promise;
    #[wasm_bindgen(js_name = formFields)]
    pub(crate) fn form_fields(text: &str) -> JsValue;
    pub(crate) fn streamed(url: &str) -> Request;
    pub(crate) fn body(kind: &str) -> JsValue;

    /// A request as the server saw it.
    #[derive(Clone)]
    pub(crate) type Call;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn method(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn url(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn credentials(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn redirect(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn cache(this: &Call) -> String;
    #[wasm_bindgen(method, getter, js_name = referrerPolicy)]
    pub(crate) fn referrer_policy(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn keepalive(this: &Call) -> bool;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn init(this: &Call) -> JsValue;
    #[wasm_bindgen(method)]
    pub(crate) fn header(this: &Call, name: &str) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn body(this: &Call) -> Uint8Array;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn text(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn response(this: &Call) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn error(this: &Call) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn cancelled(this: &Call) -> bool;

    /// The fake server.
    pub(crate) type Server;
    #[wasm_bindgen(constructor)]
    fn new() -> Server;
    #[wasm_bindgen(method, getter)]
    fn fetch(this: &Server) -> Function;
    #[wasm_bindgen(method, js_name = script)]
    fn script_js(this: &Server, route: &str, answers: &JsValue);
    #[wasm_bindgen(method, js_name = calls)]
    fn calls_js(this: &Server, route: &str) -> Array;
    #[wasm_bindgen(method, getter)]
    fn unexpected(this: &Server) -> String;
    /// Lets the answers go that are held behind this gate.
    #[wasm_bindgen(method)]
    pub(crate) fn open(this: &Server, gate: &str);

    /// The host of one client.
    #[derive(Clone)]
    pub(crate) type Recorder;
    #[wasm_bindgen(constructor)]
    fn new() -> Recorder;
    #[wasm_bindgen(method)]
    fn names(this: &Recorder, kind: &str) -> Array;
    #[wasm_bindgen(method)]
    fn story(this: &Recorder) -> Array;
    #[wasm_bindgen(method)]
    fn last(this: &Recorder, kind: &str, name: &str) -> JsValue;
    #[wasm_bindgen(method)]
    pub(crate) fn forget(this: &Recorder);
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_throwing(this: &Recorder, throwing: bool);
    #[wasm_bindgen(method, setter, js_name = onEvent)]
    pub(crate) fn set_on_event(this: &Recorder, callback: &JsValue);

    /// Time that moves by hand.
    pub(crate) type Clock;
    #[wasm_bindgen(constructor)]
    pub(crate) fn new() -> Clock;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn pending(this: &Clock) -> u32;
    /// ms since the epoch.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn now(this: &Clock) -> f64;
    #[wasm_bindgen(method)]
    pub(crate) fn jump(this: &Clock, ms: f64);
    #[wasm_bindgen(method)]
    pub(crate) fn advance(this: &Clock, ms: f64);

    /// What scripts see of the cookies.
    pub(crate) type CookieJar;
    #[wasm_bindgen(constructor)]
    pub(crate) fn new(text: &str) -> CookieJar;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn writes(this: &CookieJar) -> u32;

    /// Says when a promise is settled.
    type Outcome;
    #[wasm_bindgen(constructor)]
    fn new(promise: &Promise) -> Outcome;
    #[wasm_bindgen(method, getter)]
    fn known(this: &Outcome) -> bool;

    /// Where the page wants to go; it goes nowhere.
    pub(crate) type Departures;
    #[wasm_bindgen(constructor)]
    pub(crate) fn new() -> Departures;
    #[wasm_bindgen(method, getter)]
    fn urls(this: &Departures) -> Array;

    /// Promises that nobody handled.
    pub(crate) type Unhandled;
    #[wasm_bindgen(constructor)]
    pub(crate) fn new() -> Unhandled;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn seen(this: &Unhandled) -> u32;

    /// Listeners added to a target and not removed.
    pub(crate) type ListenerCount;
    #[wasm_bindgen(constructor)]
    pub(crate) fn new(target: &JsValue) -> ListenerCount;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn live(this: &ListenerCount) -> u32;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn added(this: &ListenerCount) -> u32;

    /// Another listener on the client's channel.
    pub(crate) type Eavesdropper;
    #[wasm_bindgen(constructor)]
    fn new(name: &str) -> Eavesdropper;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn heard(this: &Eavesdropper) -> u32;
    #[wasm_bindgen(method)]
    pub(crate) fn say(this: &Eavesdropper, message: &JsValue);
    #[wasm_bindgen(method)]
    fn close(this: &Eavesdropper);
}

/// The n-th access token.
pub(crate) fn at(n: u32) -> String {
    format!("{CANARY}-at-{n}")
}

/// The n-th refresh token.
pub(crate) fn rt(n: u32) -> String {
    format!("{CANARY}-rt-{n}")
}

/// The `Authorization` that carries the n-th access token.
#[allow(
    clippy::unnecessary_wraps,
    reason = "compared with what the server saw, which may be nothing"
)]
pub(crate) fn bearer(n: u32) -> Option<String> {
    Some(format!("Bearer {}", at(n)))
}

/// The n-th token answer of an OAuth 2 server, which lives for an hour.
pub(crate) fn tokens(n: u32) -> Value {
    json!({"access_token": at(n), "refresh_token": rt(n), "token_type": "Bearer", "expires_in": 3600})
}

/// An answer that brings the n-th tokens.
pub(crate) fn grant(n: u32) -> Value {
    json!({"json": tokens(n)})
}

/// A JWT with these claims, which nobody has signed.
pub(crate) fn jwt(claims: &Value) -> String {
    let window = web_sys::window().unwrap();
    let payload = window.btoa(&claims.to_string()).unwrap();
    let payload = payload.replace('+', "-").replace('/', "_");
    format!("e30.{}.{CANARY}", payload.trim_end_matches('='))
}

/// Credentials, or whatever a method takes as an object.
pub(crate) fn object(value: &Value) -> Object {
    js(value).unchecked_into()
}

/// Fires an event of this name at the window, or at the document where such events happen.
pub(crate) fn happens(name: &str) {
    let event = web_sys::Event::new(name).unwrap();
    if name == "pageshow" {
        put(&event, "persisted", &JsValue::TRUE);
    }
    let target = match name {
        "visibilitychange" | "resume" | "freeze" => global("document"),
        _ => js_sys::global().into(),
    };
    let target: web_sys::EventTarget = target.unchecked_into();
    target.dispatch_event(&event).unwrap();
}

/// What every call to an auth endpoint has in common (behaviour.md 1.19, 6.7).
pub(crate) fn is_guarded(call: &Call) {
    assert_eq!(call.header("accept").as_deref(), Some("application/json"));
    assert_eq!(call.redirect(), "manual");
    assert_eq!(call.cache(), "no-store");
    assert_eq!(call.referrer_policy(), "no-referrer");
    assert!(!call.url().contains(CANARY));
}

/// A resource that takes only the n-th access token.
pub(crate) fn only(n: u32) -> Value {
    json!({"token": at(n), "json": {"ok": true}})
}

/// A JavaScript value of the same shape.
pub(crate) fn js(value: &Value) -> JsValue {
    JSON::parse(&value.to_string()).unwrap()
}

/// A member of a JavaScript object.
pub(crate) fn get(target: &JsValue, name: &str) -> JsValue {
    Reflect::get(target, &name.into()).unwrap()
}

/// A text member, or "" where there is none.
pub(crate) fn text(target: &JsValue, name: &str) -> String {
    get(target, name).as_string().unwrap_or_default()
}

/// A number member.
pub(crate) fn number(target: &JsValue, name: &str) -> f64 {
    get(target, name).as_f64().unwrap_or(f64::NAN)
}

/// A global of the page.
pub(crate) fn global(name: &str) -> JsValue {
    get(&js_sys::global(), name)
}

/// What the promise resolves to.
pub(crate) async fn done(promise: Promise, what: &str) -> JsValue {
    JsFuture::from(within(&promise, what)).await.unwrap()
}

/// What the promise rejects with.
pub(crate) async fn fails(promise: Promise, what: &str) -> JsValue {
    JsFuture::from(rejection(&promise, what)).await.unwrap()
}

/// The code that the promise rejects with; it has to be a `KeepfreshError`.
pub(crate) async fn fails_with(promise: Promise, what: &str) -> String {
    let error = fails(promise, what).await;
    assert_eq!(text(&error, "name"), "KeepfreshError", "{what}");
    text(&error, "code")
}

/// The response that the promise resolves to.
pub(crate) async fn response(promise: Promise, what: &str) -> Response {
    done(promise, what).await.dyn_into().unwrap()
}

/// The status that the promise resolves to.
pub(crate) async fn status(promise: Promise, what: &str) -> u16 {
    response(promise, what).await.status()
}

/// The text of a body that nobody has read yet.
pub(crate) async fn unread(response: &Response) -> String {
    assert!(!response.body_used(), "the body was read");
    let text = done(response.text().unwrap(), "the body").await;
    text.as_string().unwrap()
}

/// Waits until something holds, for as long as patience lasts.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = real_now() + 5_000.0;
    while !holds() {
        assert!(real_now() < end, "did not happen: {what}");
        JsFuture::from(turn()).await.unwrap();
    }
}

/// Lets everything run that is ready to run, messages between tabs and locks included.
pub(crate) async fn settle() {
    for _ in 0..20 {
        JsFuture::from(turn()).await.unwrap();
    }
}

/// A GET of a path of the API.
pub(crate) fn request(path: &str) -> Request {
    Request::new_with_str(&[API, path].concat()).unwrap()
}

/// A request with an `init`.
pub(crate) fn request_with(url: &str, init: &JsValue) -> Request {
    let init: &RequestInit = init.unchecked_ref();
    Request::new_with_str_and_init(url, init).unwrap()
}

/// A POST of a path of the API.
pub(crate) fn post(path: &str, body: &JsValue) -> Request {
    let init = js(&json!({"method": "POST"}));
    Reflect::set(&init, &"body".into(), body).unwrap();
    request_with(&[API, path].concat(), &init)
}

/// A GET that an `AbortController` can end.
pub(crate) fn abortable(path: &str, controller: &web_sys::AbortController) -> Request {
    let init = Object::new();
    Reflect::set(&init, &"signal".into(), &controller.signal()).unwrap();
    request_with(&[API, path].concat(), &init)
}

/// Adds a member to options.
pub(crate) fn put(target: &JsValue, name: &str, value: &JsValue) {
    Reflect::set(target, &name.into(), value).unwrap();
}

/// An async function without arguments that answers with this.
pub(crate) fn source(answer: impl FnMut() -> Result<JsValue, JsValue> + 'static) -> JsValue {
    let mut answer = answer;
    Closure::<dyn FnMut() -> Promise>::new(move || match answer() {
        Ok(value) => Promise::resolve(&value),
        Err(error) => Promise::reject(&error),
    })
    .into_js_value()
}

impl Clock {
    /// Lets time go by until a promise is settled, for two minutes at most.
    pub(crate) async fn pass_until(&self, promise: &Promise) {
        let outcome = Outcome::new(promise);
        for _ in 0..240 {
            settle().await;
            // Web Locks live in another process, whose time this clock does not stop: what was asked of
            // them before this question is answered before it.
            drop(JsFuture::from(locks()).await);
            settle().await;
            if outcome.known() {
                return;
            }
            self.advance(500.0);
        }
    }
}

impl Departures {
    /// The addresses so far.
    pub(crate) fn all(&self) -> Vec<String> {
        strings(&self.urls())
    }
}

impl Server {
    /// What a route answers, in turn; the last answer stays.
    pub(crate) fn script(&self, route: &str, answers: &[Value]) {
        self.script_js(route, &js(&json!(answers)));
    }

    /// What it saw of a route, in order.
    pub(crate) fn calls(&self, route: &str) -> Vec<Call> {
        let calls = self.calls_js(route);
        calls.iter().map(JsCast::unchecked_into).collect()
    }

    /// How often it was called.
    pub(crate) fn count(&self, route: &str) -> usize {
        self.calls(route).len()
    }

    /// Whether a call of a route had this in its body.
    pub(crate) fn got(&self, route: &str, part: &str) -> bool {
        let calls = self.calls(route);
        calls.iter().any(|call| call.text().contains(part))
    }

    /// The `Authorization` headers it saw, in order.
    pub(crate) fn tokens_at(&self, route: &str) -> Vec<Option<String>> {
        let calls = self.calls(route);
        calls
            .iter()
            .map(|call| call.header("authorization"))
            .collect()
    }
}

impl Recorder {
    /// The names of the events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        strings(&self.names("event"))
    }

    /// The events of the log entries so far.
    pub(crate) fn logs(&self) -> Vec<String> {
        strings(&self.names("log"))
    }

    /// The statuses of the snapshots so far.
    pub(crate) fn statuses(&self) -> Vec<String> {
        strings(&self.names("changed"))
    }

    /// Everything so far, as "kind name".
    pub(crate) fn all(&self) -> Vec<String> {
        strings(&self.story())
    }

    /// The detail of the last event of that name.
    pub(crate) fn detail(&self, event: &str) -> JsValue {
        self.last("event", event)
    }

    /// The last log entry of that event.
    pub(crate) fn entry(&self, event: &str) -> JsValue {
        self.last("log", event)
    }

    /// Whether such an event has come.
    pub(crate) fn told(&self, event: &str) -> bool {
        self.times(event) > 0
    }

    /// How often such an event has come.
    pub(crate) fn times(&self, event: &str) -> usize {
        let events = self.events();
        events.iter().filter(|name| *name == event).count()
    }
}

/// A list of texts.
pub(crate) fn strings(list: &Array) -> Vec<String> {
    list.iter().filter_map(|item| item.as_string()).collect()
}

/// One client and its host: what a tab of the browser holds.
pub(crate) struct Tab {
    pub(crate) core: Core,
    pub(crate) host: Recorder,
}

impl Tab {
    fn open(options: &JsValue) -> Self {
        let host = Recorder::new();
        let told: JsValue = host.clone().into();
        let core = Core::new(options, told.unchecked_into()).unwrap();
        Self { core, host }
    }

    /// Sends a request.
    pub(crate) fn fetch(&self, request: &Request) -> Promise {
        self.fetch_with(request, &JsValue::UNDEFINED)
    }

    /// Sends a request with what a `Request` cannot hold.
    pub(crate) fn fetch_with(&self, request: &Request, extra: &JsValue) -> Promise {
        let request: JsValue = request.into();
        self.core
            .fetch(request.unchecked_into(), extra.clone().unchecked_into())
    }

    /// GETs a path of the API.
    pub(crate) fn get(&self, path: &str) -> Promise {
        self.fetch(&request(path))
    }

    /// GETs a path and gives the status.
    pub(crate) async fn get_status(&self, path: &str) -> u16 {
        status(self.get(path), path).await
    }

    /// Starts a session with tokens that the app brought.
    pub(crate) async fn begin(&self, tokens: &Value, remember: bool) -> JsValue {
        done(self.core.set_session(&js(tokens), remember), "setSession").await
    }

    /// Starts a session with the n-th tokens, which live for an hour.
    pub(crate) async fn sign_in(&self, n: u32) -> JsValue {
        self.begin(&tokens(n), false).await
    }

    /// The status that the app sees.
    pub(crate) fn status(&self) -> String {
        text(&self.core.snapshot(), "status")
    }

    /// Where the session is kept, by the snapshot.
    pub(crate) fn persisted(&self) -> String {
        text(&self.core.snapshot(), "persisted")
    }

    /// One of the metrics.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        number(&self.core.metrics(), name)
    }
}

impl Drop for Tab {
    /// No token in anything that the app is shown (behaviour.md 6.11).
    fn drop(&mut self) {
        spill(&self.core.snapshot());
        spill(&self.core.metrics());
        self.core.dispose();
    }
}

/// A server, a storage key of its own, and the first tab.
pub(crate) struct World {
    first: Option<Tab>,
    pub(crate) server: Server,
    pub(crate) channel: Eavesdropper,
    options: JsValue,
    key: String,
}

thread_local! {
    static WORLDS: Cell<u32> = const { Cell::new(0) };
}

impl World {
    /// A client with these options beside `baseUrl`, `storageKey` and `fetch`.
    pub(crate) fn new(options: &Value) -> Self {
        let mut world = Self::empty(options);
        world.first = Some(world.open());
        world
    }

    /// A world in which no tab is open yet.
    pub(crate) fn empty(options: &Value) -> Self {
        // A test that panicked could not tidy up.
        restore();
        take_spilled();
        Self::behind(options)
    }

    /// Like `empty`, for tests that have patched the page already.
    pub(crate) fn behind(options: &Value) -> Self {
        let number = WORLDS.with(|worlds| worlds.replace(worlds.get() + 1));
        let key = options["storageKey"]
            .as_str()
            .map_or_else(|| format!("web-test-{number}"), str::to_owned);
        let server = Server::new();
        let options = js(options);
        for (name, value) in [
            ("baseUrl", JsValue::from_str(API)),
            ("storageKey", JsValue::from_str(&key)),
            ("fetch", server.fetch().into()),
        ] {
            if !Object::has_own(options.unchecked_ref::<Object>(), &name.into()) {
                put(&options, name, &value);
            }
        }
        Self {
            first: None,
            server,
            channel: Eavesdropper::new(&["keepfresh.", &key].concat()),
            options,
            key: ["keepfresh.", &key].concat(),
        }
    }

    /// A public OAuth 2 client.
    pub(crate) fn oauth2() -> Self {
        Self::new(&json!({"preset": "oauth2", "clientId": "demo"}))
    }

    /// A client of a Laravel Sanctum server.
    pub(crate) fn sanctum() -> Self {
        Self::new(&json!({"preset": "sanctum"}))
    }

    /// Opens a tab on the same storage.
    pub(crate) fn open(&self) -> Tab {
        Tab::open(&self.options)
    }

    /// Opens a tab with some options changed.
    pub(crate) fn open_with(&self, changes: &Value) -> Tab {
        let options = Object::assign(&Object::new(), self.options.unchecked_ref());
        Tab::open(&Object::assign(&options, js(changes).unchecked_ref()))
    }

    /// Sets an option that JSON cannot spell.
    pub(crate) fn option(&self, name: &str, value: &JsValue) {
        put(&self.options, name, value);
    }

    /// Opens the first tab of an empty world.
    pub(crate) fn start(&mut self) {
        self.first = Some(self.open());
    }

    /// Closes the first tab, as a reload does; `start` opens it again.
    pub(crate) fn close(&mut self) {
        self.first = None;
    }

    /// The key of the stored record.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The stored record of a session that is not remembered.
    pub(crate) fn in_session(&self) -> Option<String> {
        storage("sessionStorage").get_item(&self.key).unwrap()
    }

    /// The stored record of a remembered session.
    pub(crate) fn in_local(&self) -> Option<String> {
        storage("localStorage").get_item(&self.key).unwrap()
    }

    /// The stored record, wherever it is kept.
    pub(crate) fn record(&self) -> Value {
        let text = self.in_session().or_else(|| self.in_local());
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    /// Another tab has refreshed and stored the n-th tokens, and said nothing.
    pub(crate) fn refreshed_elsewhere(&self, n: u32) {
        self.tamper(|record| {
            let rotation = record["rotation"].as_i64().unwrap();
            for (name, value) in [
                ("rotation", json!(rotation + 1)),
                ("credential_since", json!(rotation + 1)),
                ("access_token", json!(at(n))),
                ("refresh_token", json!(rt(n))),
                ("failures", json!(0)),
                ("opened_at", json!(null)),
                ("not_before", json!(0)),
                ("sent_at", json!(null)),
                ("indeterminate", json!(false)),
            ] {
                record[name] = value;
            }
        });
    }

    /// Members of the stored record, changed by hand.
    pub(crate) fn tamper(&self, change: impl FnOnce(&mut Value)) {
        let mut record: Value = serde_json::from_str(&self.in_session().unwrap()).unwrap();
        change(&mut record);
        storage("sessionStorage")
            .set_item(&self.key, &record.to_string())
            .unwrap();
    }
}

impl Deref for World {
    type Target = Tab;

    fn deref(&self) -> &Tab {
        self.first.as_ref().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.close();
        restore();
        self.channel.close();
        for place in ["sessionStorage", "localStorage"] {
            storage(place).remove_item(&self.key).unwrap();
            for note in [":ended", ":redirected"] {
                storage(place)
                    .remove_item(&[&self.key, note].concat())
                    .unwrap();
            }
        }
        assert_eq!(self.server.unexpected(), "", "nobody expected these calls");
        let spilled = take_spilled();
        assert!(
            !spilled.contains(CANARY),
            "a token was shown: {}",
            spilled.lines().find(|line| line.contains(CANARY)).unwrap()
        );
    }
}

/// The page's sessionStorage or localStorage.
pub(crate) fn storage(name: &str) -> web_sys::Storage {
    global(name).unchecked_into()
}
