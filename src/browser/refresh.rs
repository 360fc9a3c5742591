//! The shared refresh: one stored promise, one lock, one call. A `match` for each of the policy's
//! answers, and no decision of its own.

use super::answer::{self, Call, Refreshed};
use super::clock::{self, Alarm};
use super::inner::Inner;
use super::js;
use super::tabs::{Lock, WaitedTooLong};
use crate::policy::{Carrier, Commit, Failure, Generation, RefreshAnswer, RefreshPlan, Timing};
use js_sys::{Object, Promise};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// The least patience with another tab's refresh, ms.
const LEAST_WAIT: i64 = 1_000;
/// Time between two looks for what another tab wrote, ms, and how many of them are worth it.
const STORAGE_PAUSE: i64 = 25;
const STORAGE_LOOKS: u32 = 60;

/// The refresh in flight, and the generation that asked for it.
pub(super) struct Running {
    wanted: Generation,
    promise: Promise,
}

/// A refresh call that may outlive the patience of those who wait for it.
#[derive(Default)]
struct Flight {
    landed: RefCell<Option<Refreshed>>,
    given_up: Cell<bool>,
}

impl Inner {
    /// The promise of the refresh of `wanted`: the one in flight, or a new one. It never rejects;
    /// ask the policy what came of it. Nobody's abort reaches it (behaviour.md 4.16).
    pub(super) fn refresh(self: &Rc<Self>, wanted: Generation) -> Promise {
        let running = self
            .refreshing
            .borrow()
            .as_ref()
            .map(|running| (running.wanted, running.promise.clone()));
        match running {
            Some((same, promise)) if same == wanted => {
                self.with(super::super::policy::Policy::joined);
                promise
            }
            Some((_, earlier)) => self.refresh_after(wanted, earlier),
            None => self.start_refresh(wanted),
        }
    }

    /// The refresh in flight, if there is one.
    pub(super) fn running_refresh(&self) -> Option<Promise> {
        let running = self.refreshing.borrow();
        running.as_ref().map(|running| running.promise.clone())
    }

    fn start_refresh(self: &Rc<Self>, wanted: Generation) -> Promise {
        let inner = Rc::clone(self);
        let promise = js::promise(async move {
            inner.run_refresh(wanted).await;
            inner.refreshing.replace(None);
            inner.with(|policy| policy.set_refreshing(false));
            Ok(JsValue::UNDEFINED)
        });
        let running = Running {
            wanted,
            promise: promise.clone(),
        };
        self.refreshing.replace(Some(running));
        promise
    }

    fn refresh_after(self: &Rc<Self>, wanted: Generation, earlier: Promise) -> Promise {
        let inner = Rc::clone(self);
        js::promise(async move {
            drop(JsFuture::from(earlier).await);
            drop(JsFuture::from(inner.refresh(wanted)).await);
            Ok(JsValue::UNDEFINED)
        })
    }

    async fn run_refresh(self: &Rc<Self>, wanted: Generation) {
        self.with(|policy| policy.set_refreshing(true));
        self.refresh_once(wanted).await;
        let wait = self.with(|policy| policy.retry_in(wanted, clock::now()));
        if let Some(wait) = wait {
            let pause = Alarm::after(wait);
            drop(JsFuture::from(pause.promise().clone()).await);
            self.refresh_once(wanted).await;
        }
    }

    async fn refresh_once(self: &Rc<Self>, wanted: Generation) {
        if self.options.policy.outside {
            // No lock: the app's own function must not run while one is held (behaviour.md 5.2).
            return self.plan_and_call(wanted).await;
        }
        // A page that fell asleep gave up the lock, or its place in the queue: it asks again when it is
        // back.
        while !self.refresh_under_lock(wanted).await {
            self.tabs.awake().await;
        }
    }

    /// `false` = the page fell asleep before anything was called.
    async fn refresh_under_lock(self: &Rc<Self>, wanted: Generation) -> bool {
        let Some(sid) = self.sid() else { return true };
        let naps = self.tabs.naps();
        let lock = self
            .tabs
            .lock(self.lock_name(&sid), self.longest_wait())
            .await;
        self.read_storage();
        let held = || lock.as_ref().is_ok_and(|held| !held.is_lost());
        let caught_up = held() && self.storage_caught_up(&sid).await;
        let before = self.notable();
        let ready = caught_up && self.copies_caught_up(wanted).await;
        if !held() && self.tabs.slept_since(naps) {
            return false;
        }
        if !caught_up || !held() {
            self.with(|policy| policy.refresh_not_started(wanted));
            return true;
        }
        if ready {
            self.plan_and_call(wanted).await;
        }
        self.release(lock, sid, before);
        true
    }

    /// What the refresh lock is for: one login. Cookies are the browser's, not a login's: tabs that
    /// have each found a login of their own in them send one and the same credential.
    pub(super) fn lock_name<'a>(&self, sid: &'a str) -> &'a str {
        if self.options.uses_cookies() {
            "cookies"
        } else {
            sid
        }
    }

    /// Gives the lock back. Whoever gets it next has to find the note of a token stored under it, so
    /// the note comes first; nobody here waits for that.
    fn release(
        self: &Rc<Self>,
        lock: Result<Lock, WaitedTooLong>,
        sid: String,
        before: Option<u32>,
    ) {
        let lost = self.remembered() == Some(true) && self.storage_lost.get();
        let same = self.sid().as_deref() == Some(&sid);
        let stored = self
            .notable()
            .filter(|_| same && !lost && !self.disposed.get());
        if let (Some(stored), true) = (stored, stored > before) {
            let inner = Rc::clone(self);
            spawn_local(async move {
                inner.tabs.mark(&sid, stored).await;
                drop(lock);
            });
        }
    }

    /// As long as another tab's refresh may take (behaviour.md 5.3).
    pub(super) fn longest_wait(&self) -> i64 {
        LEAST_WAIT.max(self.options.refresh_timeout)
    }

    /// Waits until storage shows the token that another tab stored a moment ago. A token that is
    /// known to be spent must not be sent: reuse ends the session everywhere.
    async fn storage_caught_up(self: &Rc<Self>, sid: &str) -> bool {
        if self.remembered() != Some(true) {
            return true;
        }
        let Some(noted) = self.tabs.marked(sid).await else {
            return true;
        };
        let behind = || self.sid().as_deref() == Some(sid) && self.rotation() < Some(noted);
        for _ in 0..STORAGE_LOOKS {
            if !behind() {
                return true;
            }
            let pause = Alarm::after(STORAGE_PAUSE);
            drop(JsFuture::from(pause.promise().clone()).await);
            self.read_storage();
        }
        !behind()
    }

    async fn plan_and_call(self: &Rc<Self>, wanted: Generation) {
        // Getting here took turns of the event loop: what follows must not write over a sign-out.
        self.read_storage();
        let plan = self.with(|policy| policy.plan_refresh(wanted, clock::now(), js::online()));
        let Some(plan) = plan else { return };
        let Some(answer) = plan.known.clone() else {
            return self.call_with_deadline(plan).await;
        };
        let now = clock::now();
        let timing = Timing {
            sent: now,
            received: now,
            date: None,
        };
        let user = JsValue::UNDEFINED;
        self.commit(
            &plan,
            Refreshed {
                answer,
                timing,
                user,
            },
        );
    }

    /// Notes in storage that a call goes out: a page that comes after this one has to know that its
    /// answer may be lost (behaviour.md 5.5, 5.14). Not worth a word if it fails.
    fn write_ahead(&self) {
        if self.options.policy.outside {
            return;
        }
        if let Some(record) = self.with(|policy| policy.record()) {
            let user = self.user.borrow().clone();
            self.storage.write(&record, &user);
        }
    }

    /// Waits for the answer as long as `refreshTimeout` allows. A token that comes later is still
    /// the only valid one, so it is committed when it comes (behaviour.md 2.5).
    async fn call_with_deadline(self: &Rc<Self>, plan: RefreshPlan) {
        self.write_ahead();
        let flight = Rc::new(Flight::default());
        let sent = clock::now();
        let landing = self.launch(plan.clone(), Rc::clone(&flight));
        let deadline = Alarm::after(self.options.refresh_timeout);
        drop(JsFuture::from(js::race(&landing, deadline.promise())).await);
        let landed = flight.landed.take().unwrap_or_else(|| {
            flight.given_up.set(true);
            let timing = Timing {
                sent,
                received: clock::now(),
                date: None,
            };
            Refreshed::failed(Failure::Timeout, timing)
        });
        self.commit(&plan, landed);
    }

    fn launch(self: &Rc<Self>, plan: RefreshPlan, flight: Rc<Flight>) -> Promise {
        let inner = Rc::clone(self);
        js::promise(async move {
            let landed = inner.call_server(&plan, &flight).await;
            let late = flight.given_up.get();
            if !late {
                flight.landed.replace(Some(landed));
            } else if matches!(landed.answer, RefreshAnswer::Tokens(_)) {
                inner.commit(&plan, landed);
            }
            Ok(JsValue::UNDEFINED)
        })
    }

    async fn call_server(self: &Rc<Self>, plan: &RefreshPlan, flight: &Flight) -> Refreshed {
        if self.options.policy.outside {
            return self.call_outside().await;
        }
        let credential = plan.credential.as_ref();
        let credential = credential.map(crate::policy::Secret::reveal);
        let sent = clock::now();
        let Some(url) = &self.options.endpoints.refresh else {
            return Refreshed::failed(
                Failure::Network,
                Timing {
                    sent,
                    received: sent,
                    date: None,
                },
            );
        };
        let body = credential.and_then(|credential| self.refresh_body(credential));
        let call = Call {
            url,
            method: self.options.refresh_method,
            body,
            bearer: credential.filter(|_| self.options.carrier == Carrier::Bearer),
            keepalive: false,
            given_up: Some(&flight.given_up),
        };
        if let Ok(answered) = answer::exchange(self, call).await {
            answer::read_refresh(self, answered).await
        } else {
            let timing = Timing {
                sent,
                received: clock::now(),
                date: None,
            };
            Refreshed::failed(Failure::Network, timing)
        }
    }

    async fn call_outside(self: &Rc<Self>) -> Refreshed {
        let (asked, timing) = answer::ask_outside(self, true).await;
        match asked {
            Ok(Some((tokens, user))) => Refreshed {
                answer: RefreshAnswer::Tokens(tokens),
                timing,
                user,
            },
            Ok(None) => Refreshed {
                answer: RefreshAnswer::NoSession,
                timing,
                user: JsValue::UNDEFINED,
            },
            Err(()) => Refreshed::failed(Failure::Network, timing),
        }
    }

    fn refresh_body(&self, token: &str) -> Option<(&'static str, JsValue)> {
        let options = &self.options;
        match options.carrier {
            Carrier::Bearer | Carrier::Cookie => None,
            Carrier::Json => {
                let object = Object::new();
                js::set(&object, &options.refresh_field, &JsValue::from_str(token));
                Some(js::json_body(&object))
            }
            Carrier::Form => {
                let mut fields = vec![
                    ("grant_type", "refresh_token"),
                    (options.refresh_field.as_str(), token),
                ];
                fields.extend(options.client_id.as_deref().map(|id| ("client_id", id)));
                fields.extend(options.scope.as_deref().map(|scope| ("scope", scope)));
                Some(js::form_body(&fields))
            }
        }
    }

    fn commit(self: &Rc<Self>, plan: &RefreshPlan, landed: Refreshed) {
        let Refreshed {
            answer,
            timing,
            user,
        } = landed;
        let renewed = matches!(answer, RefreshAnswer::Tokens(_));
        let found = self.storage.read(self.remembered());
        let roll = clock::roll();
        let commit =
            self.with(|policy| policy.finish_refresh(plan, answer, timing, &found.stored, roll));
        if commit == Commit::Store && user.is_object() {
            self.user.replace(user);
        }
        if commit == Commit::Store && renewed {
            self.note_credential();
        }
        self.apply(commit);
    }

    /// Does to storage what the policy says.
    pub(super) fn apply(self: &Rc<Self>, commit: Commit) {
        match commit {
            Commit::Store => self.write_storage(),
            Commit::Clear(sid, dead) => self.forget_ended(&sid, dead),
            Commit::Abandon(sid) => self.storage.remove_login(&sid),
            Commit::Keep => {}
            Commit::Revoke(tokens) => {
                let inner = Rc::clone(self);
                spawn_local(async move {
                    let refresh = tokens.refresh_token.as_ref();
                    inner
                        .say_goodbye(tokens.access_token.as_ref(), refresh)
                        .await;
                });
            }
        }
    }
}
