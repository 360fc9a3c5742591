//! Between tabs: one lock around a refresh, and hints that storage has changed. A hint carries no
//! token and proves nothing: whoever hears it reads storage (behaviour.md 5.3, 5.8, 6.16).

use super::clock;
use super::js;
use super::lease::Lease;
use gloo_timers::callback::Timeout;
use js_sys::{Array, Function, Object, Promise};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, BroadcastChannel, MessageEvent};

/// How long a note of a stored rotation stays, ms: longer than storage takes to reach another tab.
const MARK: u32 = 2_000;
/// The longest wait for the lock manager to do what it can do at once, ms.
const LONGEST_NOTE: i64 = 1_000;
/// A lock that was not free for this much longer than a refresh may take, ms, is stolen.
const STUCK: i64 = 15_000;

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

/// The lock and the channel of one storage key. A page that is frozen or goes away holds, awaits
/// and opens nothing: between [`Tabs::suspend`] and [`Tabs::resume`] no lock is to be had.
pub(super) struct Tabs {
    key: String,
    /// Whether the session is where other tabs find it. If not, there is nothing to lock.
    stored: bool,
    locks: Option<LockManager>,
    /// Whatever is held or waited for, to let go of all of it at once.
    grips: RefCell<Vec<Rc<Grip>>>,
    mark: Rc<RefCell<Option<(Lock, Timeout)>>>,
    suspect: RefCell<Option<Suspect>>,
    suspended: Cell<bool>,
    /// What those wait for who want the page to be back, and what tells them.
    waking: RefCell<Option<(Promise, Function)>>,
    closed: Cell<bool>,
    channel: RefCell<Option<BroadcastChannel>>,
    /// Called by the channel; `None` = this tab does not follow the others.
    on_message: Option<Closure<dyn FnMut(MessageEvent)>>,
}

/// A held lock; dropping it releases it.
pub(super) struct Lock(Rc<Grip>);

/// The lock was not to be had in time, or the page went to sleep.
#[derive(Debug)]
pub(super) struct WaitedTooLong;

/// One request for a lock, and what came of it.
struct Grip {
    state: Cell<State>,
    hold: RefCell<Vec<Hold>>,
    giving_up: Option<AbortController>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not granted yet.
    Waiting,
    /// Not granted yet, and no longer wanted: it shows whether the lock ever gets free.
    Watching,
    Held,
    /// Given back, given up, or stolen.
    Over,
}

/// What has to be dropped to free the lock.
enum Hold {
    /// A Web Lock, and what ends it.
    Web(Function),
    Lease(Lease),
    /// The right to steal, kept for as long as what was stolen: nobody steals it back.
    Turn(#[expect(dead_code, reason = "kept, not used")] Lock),
}

/// How a Web Lock is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Alone,
    Shared,
    IfFree,
    Steal,
}

enum Asked {
    Got(Lock),
    /// Not granted.
    Late(Lock),
}

/// A lock that could not be had in time.
struct Suspect {
    name: String,
    /// How long we have waited for it, ms. The time between two waits does not count: the computer may
    /// have slept, and its holder with it.
    waited: i64,
    /// The first request. As long as it is not granted, the lock was never free.
    watch: Lock,
}

impl Tabs {
    /// Takes part in the lock if the session is `stored` where other tabs find it, and opens the
    /// channel if they are to follow each other; `on_hint` runs when one says that storage changed.
    pub(super) fn open(
        key: &str,
        stored: bool,
        cross_tab: bool,
        on_hint: impl Fn() + 'static,
    ) -> Self {
        let locks = js::global("navigator").and_then(|navigator| js::get_some(&navigator, "locks"));
        let follows = stored && cross_tab && js::global("BroadcastChannel").is_some();
        let on_message = follows.then(|| {
            Closure::new(move |message: MessageEvent| {
                if js::get(&message.data(), "type") == JsValue::from_str("changed") {
                    on_hint();
                }
            })
        });
        let tabs = Self {
            key: key.to_owned(),
            stored,
            locks: locks.filter(|_| stored).map(JsCast::unchecked_into),
            grips: RefCell::default(),
            mark: Rc::default(),
            suspect: RefCell::default(),
            suspended: Cell::new(false),
            waking: RefCell::default(),
            closed: Cell::new(false),
            channel: RefCell::default(),
            on_message,
        };
        tabs.open_channel();
        tabs
    }

    /// Tells the other tabs to read storage.
    pub(super) fn hint(&self) {
        let channel = self.channel.borrow();
        let Some(channel) = &*channel else { return };
        let message = Object::new();
        js::set(&message, "v", &JsValue::from_f64(1.0));
        js::set(&message, "type", &JsValue::from_str("changed"));
        drop(channel.post_message(&message));
    }

    /// Takes the lock of one login. `longest` is how long a refresh may take, ms: nobody waits longer
    /// (behaviour.md 5.3). Without Web Locks it is a lease; without any storage for one, tabs rely on
    /// the compare-and-swap when they commit.
    ///
    /// # Errors
    /// [`WaitedTooLong`] when another tab keeps it for longer than any refresh may take.
    pub(super) async fn lock(&self, sid: &str, longest: i64) -> Result<Lock, WaitedTooLong> {
        let name = [&self.key, ":refresh:", sid].concat();
        if self.stored && self.locks.is_none() {
            return self.take_lease(name, longest).await;
        }
        let is_stuck = |suspect: &Suspect| suspect.is_stuck(&name);
        let suspect = self.suspect.take().filter(is_stuck);
        let waited = suspect.as_ref().map_or(0, |suspect| suspect.waited);
        let left = longest.saturating_add(STUCK).saturating_sub(waited);
        let patience = longest.min(left);
        let waiting = match self.ask(&name, How::Alone, patience).await {
            Asked::Late(waiting) if waiting.watch() => waiting,
            Asked::Late(_) => return Err(WaitedTooLong),
            Asked::Got(lock) => return Ok(lock),
        };
        let known = suspect.filter(is_stuck);
        let is_due = known.is_some() && patience == left;
        let suspect = Suspect {
            name,
            waited: waited.saturating_add(patience),
            watch: known.map_or(waiting, |known| known.watch),
        };
        if is_due {
            return self.steal(suspect).await.ok_or(WaitedTooLong);
        }
        if !self.closed.get() {
            self.suspect.replace(Some(suspect));
        }
        Err(WaitedTooLong)
    }

    /// Notes in the lock manager that storage holds this rotation now, or will when it arrives:
    /// Chromium hands a lock on faster than what was written under it. Call it before the refresh
    /// lock is released. The note is a lock that nobody waits for, kept for a moment.
    pub(super) async fn mark(&self, sid: &str, rotation: u32) {
        if self.locks.is_none() {
            return;
        }
        let name = [self.mark_prefix(sid), rotation.to_string()].concat();
        if let Asked::Got(lock) = self.ask(&name, How::Shared, LONGEST_NOTE).await {
            let slot = Rc::clone(&self.mark);
            let ending = Timeout::new(MARK, move || drop(slot.replace(None)));
            self.mark.replace(Some((lock, ending)));
        }
    }

    /// The newest rotation that a tab has noted for this login, if one did a moment ago.
    pub(super) async fn marked(&self, sid: &str) -> Option<u32> {
        let asked = self.locks.as_ref()?.query().ok()?;
        let state = clock::within(&asked, LONGEST_NOTE).await.ok()?;
        let held: Array = js::get(&state, "held").dyn_into().ok()?;
        let prefix = self.mark_prefix(sid);
        let noted = |lock: JsValue| {
            let name = js::get(&lock, "name").as_string()?;
            name.strip_prefix(&prefix)?.parse().ok()
        };
        held.iter().filter_map(noted).max()
    }

    /// Lets go of every lock, of every wait for one, and of the channel: a frozen page would keep them
    /// from the others, and they would keep the page out of the back-forward cache (behaviour.md 5.6).
    pub(super) fn suspend(&self) {
        self.suspended.set(true);
        self.let_go(|_| true);
        self.close_channel();
    }

    /// The page is back.
    pub(super) fn resume(&self) {
        if self.suspended.replace(false) {
            self.open_channel();
        }
        self.wake();
    }

    /// Whether the page is frozen, or in the back-forward cache, and may come back.
    pub(super) fn is_asleep(&self) -> bool {
        self.suspended.get() && !self.closed.get()
    }

    /// Resolves when the page is back.
    pub(super) async fn awake(&self) {
        if !self.is_asleep() {
            return;
        }
        let waking = self
            .waking
            .borrow()
            .as_ref()
            .map(|(promise, _)| promise.clone());
        let promise = waking.unwrap_or_else(|| {
            let mut tell = None;
            let promise = Promise::new(&mut |resolve, _| tell = Some(resolve));
            self.waking
                .replace(tell.map(|tell| (promise.clone(), tell)));
            promise
        });
        drop(JsFuture::from(promise).await);
    }

    fn wake(&self) {
        if let Some((_, tell)) = self.waking.take() {
            drop(tell.call0(&JsValue::UNDEFINED));
        }
    }

    /// Stops listening and waiting. A lock that is held stays until its refresh is done: its answer
    /// may hold the only valid token.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.let_go(|state| state != State::Held);
        self.close_channel();
        self.wake();
    }

    fn open_channel(&self) {
        let Some(on_message) = &self.on_message else {
            return;
        };
        let channel = BroadcastChannel::new(&self.key).ok();
        if let Some(channel) = &channel {
            channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        }
        self.channel.replace(channel);
    }

    fn close_channel(&self) {
        if let Some(channel) = self.channel.take() {
            channel.set_onmessage(None);
            channel.close();
        }
    }

    fn let_go(&self, which: impl Fn(State) -> bool) {
        self.mark.replace(None);
        self.suspect.replace(None);
        for grip in self.grips.take() {
            if which(grip.state.get()) {
                grip.let_go();
            }
        }
    }

    fn mark_prefix(&self, sid: &str) -> String {
        [&self.key, ":stored:", sid, ":"].concat()
    }

    /// A new request, which [`Tabs::suspend`] can end.
    fn grip(&self, can_wait: bool) -> Rc<Grip> {
        let suspended = self.suspended.get();
        let grip = Rc::new(Grip {
            state: Cell::new(if suspended {
                State::Over
            } else {
                State::Waiting
            }),
            hold: RefCell::default(),
            giving_up: can_wait.then(AbortController::new).and_then(Result::ok),
        });
        let mut grips = self.grips.borrow_mut();
        grips.retain(|grip| grip.state.get() != State::Over);
        grips.push(Rc::clone(&grip));
        grip
    }

    async fn take_lease(&self, name: String, longest: i64) -> Result<Lock, WaitedTooLong> {
        let lock = Lock(self.grip(false));
        let lease = Lease::take(name, longest, || lock.0.state.get() == State::Waiting).await?;
        lock.0.hold.borrow_mut().push(Hold::Lease(lease));
        lock.0.state.set(State::Held);
        Ok(lock)
    }

    /// Asks for a Web Lock. Where the platform grants none (not a fully active document, a session
    /// that only this tab has) there is nothing to wait for.
    async fn ask(&self, name: &str, how: How, longest: i64) -> Asked {
        let grip = self.grip(matches!(how, How::Alone | How::Shared));
        let lock = Lock(Rc::clone(&grip));
        let granted = match &self.locks {
            Some(locks) if grip.state.get() == State::Waiting => request(locks, name, how, &grip),
            _ => None,
        };
        let refused = match granted {
            Some(granted) => clock::within(&granted, longest).await.is_err(),
            None => true,
        };
        if refused && grip.state.get() == State::Waiting {
            grip.state.set(State::Held);
        }
        match grip.state.get() {
            State::Held => Asked::Got(lock),
            _ => Asked::Late(lock),
        }
    }

    /// Takes the lock from whoever is stuck with it, once: while one tab has what it stole, no other
    /// may steal (behaviour.md 5.4).
    async fn steal(&self, from: Suspect) -> Option<Lock> {
        let turn = [&from.name, ":steal"].concat();
        let Asked::Got(turn) = self.ask(&turn, How::IfFree, LONGEST_NOTE).await else {
            return None;
        };
        // Another tab was quicker, and is done with it.
        if !from.is_stuck(&from.name) {
            return None;
        }
        let Asked::Got(lock) = self.ask(&from.name, How::Steal, LONGEST_NOTE).await else {
            return None;
        };
        lock.0.hold.borrow_mut().push(Hold::Turn(turn));
        Some(lock)
    }
}

impl Drop for Tabs {
    fn drop(&mut self) {
        self.close();
    }
}

impl Lock {
    /// Whether it is no longer ours: stolen, run out, or given up because the page went to sleep. No
    /// call may be started then. The answer of one that is on its way is still committed, if the
    /// compare-and-swap allows it (behaviour.md 5.4, 5.10).
    pub(super) fn is_lost(&self) -> bool {
        let ran_out = |hold: &Hold| matches!(hold, Hold::Lease(lease) if lease.is_over());
        self.is(State::Over) || self.0.hold.borrow().iter().any(ran_out)
    }

    fn is(&self, state: State) -> bool {
        self.0.state.get() == state
    }

    /// Goes on waiting, but not for the lock; `false` = it does not wait.
    fn watch(&self) -> bool {
        let waits = self.is(State::Waiting);
        if waits {
            self.0.state.set(State::Watching);
        }
        waits
    }
}

impl Suspect {
    fn is_stuck(&self, name: &str) -> bool {
        self.name == name && self.watch.is(State::Watching)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl Grip {
    /// Takes the lock that the platform hands over, until the promise returned resolves. A grant that
    /// nobody wants any more is given back at once.
    fn take(&self, lock: &JsValue) -> JsValue {
        if lock.is_null() || self.state.get() != State::Waiting {
            self.state.set(State::Over);
            return JsValue::UNDEFINED;
        }
        self.state.set(State::Held);
        let held = Promise::new(&mut |release, _| {
            self.hold.borrow_mut().push(Hold::Web(release));
        });
        held.into()
    }

    fn let_go(&self) {
        self.state.set(State::Over);
        if let Some(controller) = &self.giving_up {
            controller.abort();
        }
        drop(self.hold.take());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Self::Web(release) = self {
            drop(release.call0(&JsValue::UNDEFINED));
        }
    }
}

/// Asks for the lock. The promise resolves when the platform has granted it or, with
/// [`How::IfFree`], refused it; the state of `grip` says which.
fn request(locks: &LockManager, name: &str, how: How, grip: &Rc<Grip>) -> Option<Promise> {
    let mut asked = false;
    let granted = Promise::new(&mut |granted, refused| {
        let taken = Rc::clone(grip);
        let on_granted = Closure::once_into_js(move |lock: JsValue| {
            let hold = taken.take(&lock);
            drop(granted.call0(&JsValue::UNDEFINED));
            hold
        });
        let Ok(held) = locks.request(name, &how.options(grip), on_granted.unchecked_ref()) else {
            return;
        };
        asked = true;
        // Rejected when we give up, where locks are not allowed, or when it is stolen from us.
        let ended = Rc::clone(grip);
        let on_refused = Closure::once_into_js(move |error: JsValue| {
            if ended.state.get() == State::Held {
                ended.let_go();
            }
            drop(refused.call1(&JsValue::UNDEFINED, &error));
        });
        let then = js::get(&held, "then").unchecked_into::<Function>();
        drop(then.call2(&held, &JsValue::UNDEFINED, &on_refused));
    });
    js::ignore(&granted);
    asked.then_some(granted)
}

impl How {
    fn options(self, grip: &Grip) -> Object {
        let options = Object::new();
        match self {
            Self::Alone => {}
            Self::Shared => js::set(&options, "mode", &JsValue::from_str("shared")),
            Self::IfFree => js::set(&options, "ifAvailable", &JsValue::TRUE),
            Self::Steal => js::set(&options, "steal", &JsValue::TRUE),
        }
        if let Some(controller) = &grip.giving_up {
            js::set(&options, "signal", &controller.signal());
        }
        options
    }
}
