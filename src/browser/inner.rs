//! What all parts of one client share, and how they reach the policy.

use super::account::Entrance;
use super::answer;
use super::clock;
use super::error;
use super::handover::Copies;
use super::js;
use super::options::{Options, Place};
use super::refresh::Running;
use super::storage::{Found, Storage};
use super::tabs::Tabs;
use super::view;
use super::wake::{self, Listeners, Wake};
use crate::policy::{
    Code, Dead, Dialect, Error, Generation, Output, Policy, Secret, Session, Timing, TokenFields,
    TokenSet,
};
use gloo_timers::callback::Timeout;
use js_sys::{Function, JsString, Promise};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

#[wasm_bindgen]
extern "C" {
    /// Who hears the news: the TypeScript client. Its methods are called from a microtask, with no
    /// borrow and no lock held.
    pub type Host;
    #[wasm_bindgen(method, structural, catch)]
    fn changed(this: &Host, snapshot: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    pub(super) fn event(this: &Host, name: &str, detail: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    pub(super) fn log(this: &Host, entry: &JsValue) -> Result<(), JsValue>;
}

/// Strings that the hot path compares with, made once.
pub(super) struct Names {
    pub(super) authorization: JsString,
    pub(super) no_cors: JsValue,
    pub(super) only_if_cached: JsValue,
    pub(super) get: JsValue,
    pub(super) head: JsValue,
}

/// What the parts of one client share. The policy is borrowed only inside [`Inner::with`], never
/// across an await and never while the app's code runs.
pub(super) struct Inner {
    pub(super) options: Options,
    /// How the app's own `TokenSet`s are read: the usual names, seconds, any or no token type.
    pub(super) plain_dialect: Dialect,
    pub(super) names: Names,
    pub(super) host: Host,
    pub(super) storage: Storage,
    pub(super) tabs: Tabs,
    pub(super) copies: Copies,
    pub(super) catching_up: Cell<bool>,
    pub(super) user: RefCell<JsValue>,
    pub(super) refreshing: RefCell<Option<Running>>,
    pub(super) entering: RefCell<Vec<Entrance>>,
    pub(super) priming: RefCell<Option<Promise>>,
    /// The last sign-out.
    pub(super) parting: RefCell<Option<Promise>>,
    pub(super) disposed: Cell<bool>,
    pub(super) leaving: Cell<bool>,
    /// Sign-ins that were begun, and the last one that nothing earlier may undo.
    entrances: Cell<u32>,
    settled: Cell<u32>,
    policy: RefCell<Policy>,
    loading: RefCell<Option<Promise>>,
    header: RefCell<Option<(Generation, JsString)>>,
    transport: Function,
    timer: RefCell<Option<Timeout>>,
    listeners: RefCell<Option<Listeners>>,
    announced: Cell<u32>,
    announcing: Cell<bool>,
    /// The last write of the session failed: it lives in memory.
    pub(super) storage_lost: Cell<bool>,
    pub(super) myself: Weak<Inner>,
}

impl Inner {
    pub(super) fn start(options: Options, host: Host) -> Result<Rc<Self>, JsValue> {
        let transport = match &options.transport {
            Some(own) => own.clone(),
            None => js::global("fetch")
                .and_then(|fetch| fetch.dyn_into().ok())
                .ok_or_else(|| {
                    error::to_js(&Error::config(
                        "fetch",
                        "is needed here: this runtime has none",
                    ))
                })?,
        };
        let storage = Storage::open(&options);
        let inner = Rc::new_cyclic(|myself: &Weak<Inner>| {
            let hinted = myself.clone();
            let on_hint = move || {
                if let Some(inner) = hinted.upgrade() {
                    inner.look_around();
                }
            };
            let asked = myself.clone();
            let held = move |sid: &str| asked.upgrade()?.held(sid);
            let talk = options.cross_tab && options.place == Place::Session;
            Self {
                copies: Copies::open(&options.key, talk, held),
                tabs: Tabs::open(
                    &options.key,
                    options.place != Place::Memory,
                    options.uses_cookies(),
                    options.cross_tab,
                    on_hint,
                ),
                plain_dialect: Dialect {
                    fields: TokenFields::default(),
                    unit: 1000,
                    untyped: true,
                    tokenless: options.dialect.tokenless,
                },
                names: Names {
                    authorization: JsString::from("authorization"),
                    no_cors: JsValue::from_str("no-cors"),
                    only_if_cached: JsValue::from_str("only-if-cached"),
                    get: JsValue::from_str("GET"),
                    head: JsValue::from_str("HEAD"),
                },
                policy: RefCell::new(Policy::new(options.policy.clone())),
                user: RefCell::new(JsValue::UNDEFINED),
                refreshing: RefCell::new(None),
                entering: RefCell::new(Vec::new()),
                priming: RefCell::new(None),
                parting: RefCell::new(None),
                catching_up: Cell::new(false),
                disposed: Cell::new(false),
                leaving: Cell::new(false),
                entrances: Cell::new(0),
                settled: Cell::new(0),
                loading: RefCell::new(None),
                header: RefCell::new(None),
                timer: RefCell::new(None),
                listeners: RefCell::new(None),
                announced: Cell::new(0),
                announcing: Cell::new(false),
                storage_lost: Cell::new(false),
                myself: myself.clone(),
                transport,
                storage,
                host,
                options,
            }
        });
        inner.listen();
        inner.load_storage();
        inner.look_at_copies();
        Ok(inner)
    }

    /// Borrows the policy for one change, then hands out its news and arms the timer.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Policy) -> T) -> T {
        let (value, rearm, news) = {
            let mut policy = self.policy.borrow_mut();
            let value = act(&mut policy);
            let news = policy.revision() != self.announced.get() || policy.has_output();
            (value, policy.take_rearm(), news)
        };
        if rearm {
            self.arm();
        }
        if news {
            self.announce_soon();
        }
        value
    }

    /// The native fetch, or the one given in the options.
    pub(super) fn native_fetch(&self, request: &JsValue, init: &JsValue) -> Promise {
        let called = if init.is_undefined() {
            self.transport.call1(&JsValue::UNDEFINED, request)
        } else {
            self.transport.call2(&JsValue::UNDEFINED, request, init)
        };
        match called {
            Ok(promise) => promise
                .dyn_into()
                .unwrap_or_else(|value: JsValue| Promise::resolve(&value)),
            Err(thrown) => Promise::reject(&thrown),
        }
    }

    /// The `Authorization` value, made once per generation.
    pub(super) fn authorization(&self) -> Option<JsString> {
        let policy = self.policy.borrow();
        let generation = policy.generation();
        if let Some((made_for, value)) = &*self.header.borrow()
            && *made_for == generation
        {
            return Some(value.clone());
        }
        let token = policy.session()?.access_token.as_ref()?.reveal();
        let value = JsString::from(["Bearer ", token].concat());
        self.header.replace(Some((generation, value.clone())));
        Some(value)
    }

    /// Waits for the outside source if its last answer is too old.
    pub(super) async fn load_if_stale(self: &Rc<Self>) {
        if self.with(|policy| policy.cache_is_stale(clock::now())) {
            drop(JsFuture::from(self.load_outside()).await);
        }
    }

    /// The shared question to the outside source. Never rejects.
    pub(super) fn load_outside(self: &Rc<Self>) -> Promise {
        if let Some(promise) = &*self.loading.borrow() {
            return promise.clone();
        }
        let inner = Rc::clone(self);
        let promise = js::promise(async move {
            let (asked, timing) = answer::ask_outside(&inner, false).await;
            inner.outside_answered(asked, timing);
            inner.loading.replace(None);
            Ok(JsValue::UNDEFINED)
        });
        self.loading.replace(Some(promise.clone()));
        promise
    }

    /// A number for a sign-in that begins now.
    pub(super) fn next_entrance(&self) -> u32 {
        let entrance = self.entrances.get().wrapping_add(1);
        self.entrances.set(entrance);
        entrance
    }

    /// The number of the last sign-in that nothing earlier may undo.
    pub(super) fn settled(&self) -> u32 {
        self.settled.get()
    }

    /// Whether a sign-out, or a sign-in that began later, has happened since that one began.
    pub(super) fn is_overtaken(&self, entrance: u32) -> bool {
        entrance <= self.settled.get()
    }

    /// Starts a session and stores it.
    pub(super) fn begin_session(
        &self,
        entrance: u32,
        tokens: TokenSet,
        timing: Timing,
        remember: bool,
    ) {
        self.settled.set(entrance);
        let remember = self.options.place == Place::Local
            || (remember && self.options.place == Place::Session);
        let before = self.remembered();
        let copies = self.options.place == Place::Session && !remember;
        let key = Secret::new(clock::random_key()).filter(|_| copies);
        self.with(|policy| {
            policy.sign_in(clock::random_id(), tokens, timing, remember);
            if let Some(key) = key {
                policy.set_handover_key(key);
            }
        });
        if copies {
            self.copies.prune(clock::now().wall);
        }
        if before.is_some_and(|before| before != remember) {
            self.storage.remove(!remember);
        }
        self.write_storage();
        // The policy learns that its record is kept, so that a record that vanishes later says something.
        self.read_storage();
    }

    /// Ends the session in memory, in storage and in the other tabs, without waiting for anything.
    pub(super) fn end_session(&self) -> Option<Session> {
        // Another tab may have renewed the token and its hint got lost: the server must hear of the
        // live one. Another login in its place is not ours to end.
        let found = self.storage.read(self.remembered());
        let theirs = found
            .stored
            .record
            .as_ref()
            .map(|record| &record.session.sid);
        if theirs.is_some() && self.sid().as_ref() == theirs {
            self.with(|policy| policy.adopt(&found.stored, clock::now()));
        }
        self.settled.set(self.entrances.get());
        let session = self.with(|policy| policy.sign_out(clock::now()));
        self.user.replace(JsValue::UNDEFINED);
        self.header.replace(None);
        if let Some(session) = &session {
            self.storage.remove_login(&session.sid);
            self.bury(&session.sid, None);
        } else if let Some(over) = found.stored.record.filter(|record| record.session.dead) {
            // A living login that this tab knows nothing of is not ours to end.
            self.storage.remove_login(&over.session.sid);
        }
        self.tabs.hint();
        session
    }

    /// The session ended by the server's word on a resource: storage follows.
    pub(super) fn forget_ended(&self, sid: &str, dead: Dead) {
        self.user.replace(JsValue::UNDEFINED);
        self.header.replace(None);
        self.storage.remove_login(sid);
        self.bury(sid, Some(dead));
        self.tabs.hint();
    }

    fn bury(&self, sid: &str, dead: Option<Dead>) {
        let now = clock::now();
        let tombstone = self.with(|policy| policy.tombstone(sid.to_owned(), dead, now));
        self.storage.bury(tombstone);
        self.copies.forget(sid);
    }

    /// Reads storage and takes over what another tab did.
    pub(super) fn read_storage(&self) {
        if self.options.policy.outside {
            return;
        }
        let before = self.sid();
        let found = self.storage.read(self.remembered());
        self.with(|policy| policy.adopt(&found.stored, clock::now()));
        if let Some(over) = before.filter(|before| self.sid().as_ref() != Some(before)) {
            // A copy of the record in this tab's own storage would bring the session back one day.
            self.storage.remove_login(&over);
        }
        self.take_user(&found);
        self.report_storage();
    }

    /// Stores the session as it is now and tells the other tabs.
    pub(super) fn write_storage(&self) {
        if self.options.policy.outside {
            return;
        }
        let record = self.policy.borrow().record();
        let Some(record) = record else { return };
        // Taken out first: writing may run a `toJSON` of the app's.
        let user = self.user.borrow().clone();
        let written = self.storage.write(&record, &user);
        if !written {
            self.with(Policy::not_stored);
            // What is still there holds a spent token: no tab may try that one again.
            self.storage.remove(record.session.remember);
        }
        let lost_before = self.storage_lost.replace(!written);
        if !written && !lost_before {
            self.with(|policy| policy.storage_failed(false));
        }
        self.tabs.hint();
    }

    /// Where the current session is kept, if there is one.
    pub(super) fn remembered(&self) -> Option<bool> {
        self.policy
            .borrow()
            .session()
            .map(|session| session.remember)
    }

    /// The id of the current login.
    pub(super) fn sid(&self) -> Option<String> {
        self.policy
            .borrow()
            .session()
            .map(|session| session.sid.clone())
    }

    /// How many refreshes the current login has seen.
    pub(super) fn rotation(&self) -> Option<u32> {
        self.policy
            .borrow()
            .session()
            .map(|session| session.rotation)
    }

    /// An error unless somebody is signed in.
    pub(super) fn signed_in(&self) -> Result<(), JsValue> {
        match self.sid() {
            Some(_) => Ok(()),
            None => Err(error::to_js(&Error::new(Code::NotSignedIn))),
        }
    }

    /// `Session` for JavaScript, or null.
    pub(super) fn session_view(&self) -> JsValue {
        view::session(self, &self.policy.borrow(), clock::now())
    }

    pub(super) fn snapshot(&self) -> JsValue {
        view::snapshot(self, &self.policy.borrow(), clock::now())
    }

    /// Looks for what other tabs did, wherever it may be.
    fn look_around(&self) {
        self.read_storage();
        self.look_at_copies();
    }

    fn load_storage(&self) {
        if self.options.policy.outside {
            return;
        }
        let found = self.storage.read(None);
        self.with(|policy| {
            policy.set_visible(wake::visible(), clock::roll());
            policy.load(&found.stored, clock::now());
        });
        self.take_user(&found);
        self.report_storage();
        if self.storage.degraded() {
            self.with(|policy| policy.storage_failed(false));
        }
        // A stored token that is past its lead is renewed before anybody asks for it.
        self.on_timer();
    }

    pub(super) fn take_user(&self, found: &Found) {
        let theirs = found
            .stored
            .record
            .as_ref()
            .map(|record| &record.session.sid);
        if theirs.is_some() && self.sid().as_ref() == theirs {
            self.user.replace(found.user.clone());
        }
    }

    fn report_storage(&self) {
        if self.storage.take_corrupt() {
            self.with(|policy| policy.storage_failed(true));
        }
    }

    fn outside_answered(&self, asked: Result<Option<(TokenSet, JsValue)>, ()>, timing: Timing) {
        let (tokens, user) = match asked {
            Ok(Some((tokens, user))) => (Ok(Some(tokens)), user),
            Ok(None) => (Ok(None), JsValue::UNDEFINED),
            Err(()) => (Err(()), JsValue::UNDEFINED),
        };
        if tokens.is_ok() {
            self.user.replace(user);
        }
        self.with(|policy| policy.outside_answered(tokens, clock::random_id(), timing));
    }

    fn listen(&self) {
        let (heard, asked) = (self.myself.clone(), self.myself.clone());
        let concerns = move |key: Option<&str>| {
            let inner = asked.upgrade().filter(|inner| inner.options.cross_tab);
            inner.is_some_and(|inner| inner.storage.concerns(key) || inner.copies.concerns(key))
        };
        let on_wake = move |wake| {
            if let Some(inner) = heard.upgrade() {
                inner.on_wake(wake);
            }
        };
        self.listeners
            .replace(Some(Listeners::start(concerns, on_wake)));
    }

    fn on_wake(&self, wake: Wake) {
        match wake {
            Wake::Leaving => self.leaving.set(true),
            Wake::Seen | Wake::Up => self.leaving.set(false),
            Wake::Frozen | Wake::Hidden | Wake::Storage => {}
        }
        match wake {
            Wake::Leaving | Wake::Frozen | Wake::Hidden => {
                if wake != Wake::Hidden {
                    self.tabs.suspend();
                    self.copies.suspend();
                }
                self.with(|policy| policy.set_visible(false, clock::roll()));
            }
            Wake::Storage => self.look_around(),
            Wake::Seen | Wake::Up => {
                self.tabs.resume();
                self.copies.resume();
                self.look_around();
                self.with(|policy| {
                    policy.set_visible(wake::visible(), clock::roll());
                    policy.woke(clock::now(), wake == Wake::Up);
                });
                self.on_timer();
            }
        }
    }

    fn on_timer(&self) {
        let due = self.with(|policy| policy.handle_timeout(clock::now()));
        if let (Some(wanted), Some(inner)) = (due, self.myself.upgrade())
            && inner.refreshing.borrow().is_none()
        {
            drop(inner.refresh(wanted));
        }
    }

    fn arm(&self) {
        let delay = self.policy.borrow_mut().poll_timeout(clock::now());
        let delay = delay.filter(|_| !self.disposed.get() && self.refreshing.borrow().is_none());
        let timer = delay
            .and_then(|delay| u32::try_from(delay).ok())
            .map(|delay| {
                let myself = self.myself.clone();
                Timeout::new(delay, move || {
                    if let Some(inner) = myself.upgrade() {
                        inner.on_timer();
                    }
                })
            });
        self.timer.replace(timer);
    }

    /// Hands out the news in a microtask of their own, so that no caller is in the middle of anything.
    fn announce_soon(&self) {
        let Some(inner) = self.myself.upgrade() else {
            return;
        };
        if self.announcing.replace(true) || self.disposed.get() {
            return;
        }
        spawn_local(async move {
            inner.announcing.set(false);
            inner.announce();
        });
    }

    fn announce(&self) {
        let revision = self.policy.borrow().revision();
        if self.announced.replace(revision) != revision {
            drop(self.host.changed(&self.snapshot()));
        }
        loop {
            let output = self.policy.borrow_mut().poll_output();
            let Some(output) = output else { return };
            view::deliver(self, &output, clock::now());
            if let Output::Event(event) = &output {
                self.send_to_login(event);
            }
        }
    }

    pub(super) fn dispose(&self) {
        self.disposed.set(true);
        self.timer.replace(None);
        self.listeners.replace(None);
        self.tabs.close();
        self.copies.suspend();
    }
}
