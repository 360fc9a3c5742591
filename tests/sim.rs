//! Many tabs, one storage, a rotating server, a bad network: thousands of interleavings in virtual
//! time, each made by a seed. The shell around the policy is written as async code that does what
//! `src/browser` does; the executor picks at random which of the ready tasks goes on.
//!
//! `KEEPFRESH_SIM_RUNS=100000` runs more of them, `KEEPFRESH_SIM_SEED=17` runs that one and prints
//! what happened in it.
#![cfg(not(target_arch = "wasm32"))]

use keepfresh::policy::{
    Answer, Attempt, Code, Commit, Config, Dead, Event, Failure, Generation, Lifetimes, Now,
    Output, Policy, RefreshAnswer, RefreshPlan, Secret, Session, Step, Stored, Timing, TokenSet,
    Tombstone, Verdict,
};
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

const START: i64 = 1_763_640_000_000;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// The longest wait for a lock and for an answer of the refresh endpoint, ms.
const PATIENCE: i64 = 10 * SECOND;
/// No request of a tab that is awake takes longer than this, ms: two refreshes with a retry each,
/// and one of an older generation before them.
const SETTLES: i64 = 3 * (4 * PATIENCE + 2 * SECOND) + 10 * SECOND;

// 2.2, 2.4, 3.8, 3.10, 3.12, 5.3, 5.5, 5.8, 5.10, 5.11, 5.12, 7.10, 7.11, 7.13, 7.14
// known-failures 12, 21, 34, 37, 38, 42
#[test]
fn every_interleaving_keeps_the_promises() {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = variable("KEEPFRESH_SIM_SEED") {
        let report = run(seed, true);
        println!("{}", report.trace);
        assert_eq!(report.failure, None, "seed {seed}");
        return;
    }
    let runs = variable("KEEPFRESH_SIM_RUNS").unwrap_or(10_000);
    let mut total = Totals::default();
    for seed in 0..runs {
        let report = run(seed, false);
        if let Some(failure) = report.failure {
            let trace = run(seed, true).trace;
            panic!("{trace}\nseed {seed}: {failure}\nagain: KEEPFRESH_SIM_SEED={seed}");
        }
        total.add(&report.totals);
    }
    println!("{runs} interleavings: {total:?}");
    assert!(runs < 1_000 || total.covers_everything(), "{total:?}");
}

/// What all runs together went through, so that a simulation of nothing does not pass.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    choices: u64,
    requests: u64,
    unauthorized: u64,
    replays: u64,
    refreshes: u64,
    lost: u64,
    adopted: u64,
    sign_outs: u64,
    revoked_late: u64,
    kept_out: u64,
    kills: u64,
    freezes: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.choices += other.choices;
        self.requests += other.requests;
        self.unauthorized += other.unauthorized;
        self.replays += other.replays;
        self.refreshes += other.refreshes;
        self.lost += other.lost;
        self.adopted += other.adopted;
        self.sign_outs += other.sign_outs;
        self.revoked_late += other.revoked_late;
        self.kept_out += other.kept_out;
        self.kills += other.kills;
        self.freezes += other.freezes;
    }

    fn covers_everything(&self) -> bool {
        let counts = [
            self.requests,
            self.unauthorized,
            self.replays,
            self.refreshes,
            self.lost,
            self.adopted,
            self.sign_outs,
            self.revoked_late,
            self.kept_out,
            self.kills,
            self.freezes,
        ];
        counts.into_iter().all(|count| count > 0)
    }
}

struct Report {
    failure: Option<String>,
    trace: String,
    totals: Totals,
}

fn run(seed: u64, tracing: bool) -> Report {
    let on_panic = SeedPrinter(seed);
    let world = World::new(seed, tracing);
    world.spawn(None, direct(Rc::clone(&world)));
    world.run_tasks();
    world.drop_tasks(|_| true);
    // Tabs and the world hold each other.
    world.tabs.borrow_mut().clear();
    std::mem::forget(on_panic);
    Report {
        failure: world.failure.take(),
        trace: world.trace.take(),
        totals: world.totals.get(),
    }
}

/// Names the seed when something panics instead of failing.
struct SeedPrinter(u64);

impl Drop for SeedPrinter {
    fn drop(&mut self) {
        eprintln!("panicked in KEEPFRESH_SIM_SEED={}", self.0);
    }
}

// --- Chance --------------------------------------------------------------------------------------

/// `SplitMix64`.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("usize fits");
        usize::try_from(self.next() % limit).expect("below a usize")
    }
}

// --- What a run is about -------------------------------------------------------------------------

/// How the server treats refresh credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Refresh tokens rotate; the reuse of one revokes the whole family.
    Rotating,
    /// The access token is the credential and dies when it is rotated.
    Sanctum,
}

#[derive(Clone, Debug)]
struct Scenario {
    kind: Kind,
    /// ms.
    lifetime: i64,
    tabs: usize,
    /// The old access token dies when it is rotated (always so for Sanctum).
    rotation_kills: bool,
    /// Signing out with a refresh token that was rotated ends the family anyway.
    logout_ends_family: bool,
    /// The refresh endpoint answers errors now and then, and connections drop before anything happened.
    faults: bool,
    /// Answers get lost or come too late after the server has rotated.
    losses: bool,
    /// Tabs are killed and frozen.
    chaos: bool,
    /// People sign out and in.
    people: bool,
    /// The server rejects a good access token now and then; one endpoint always says 401.
    refusals: bool,
    /// The server ends sessions.
    endings: bool,
    /// The wall clock jumps.
    jumps: bool,
    /// Percent of the hints between tabs that get lost.
    deaf: usize,
}

impl Scenario {
    fn roll(rng: &mut Rng) -> Self {
        let mut odds = |percent: usize| rng.below(100) < percent;
        let kind = if odds(40) {
            Kind::Sanctum
        } else {
            Kind::Rotating
        };
        let (rotation_kills, logout_ends_family) = (odds(50), odds(50));
        let (faults, losses, chaos) = (odds(40), odds(20), odds(30));
        let (people, refusals, endings, jumps) = (odds(50), odds(30), odds(15), odds(10));
        let deaf = [0, 30, 100][rng.below(3)];
        Self {
            kind,
            lifetime: [60, 119, 300, 900][rng.below(4)] * SECOND,
            tabs: 1 + rng.below(5),
            rotation_kills: rotation_kills || kind == Kind::Sanctum,
            logout_ends_family,
            faults,
            losses,
            chaos,
            people,
            refusals,
            endings,
            jumps,
            deaf,
        }
    }

    /// Nothing happens but requests: then nobody may see so much as a 401.
    fn is_calm(&self) -> bool {
        !self.faults && !self.losses && !self.chaos && !self.refusals && !self.jumps
    }

    fn lead(&self) -> i64 {
        (self.lifetime / 2).min(120 * SECOND)
    }
}

// --- The server ----------------------------------------------------------------------------------

/// What became of the answer of a refresh that the server committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    OnItsWay,
    Arrived,
    Lost,
}

/// Marks an answer as lost when whoever waits for it disappears.
struct Parcel(Rc<Cell<Fate>>);

impl Parcel {
    fn new() -> Self {
        Self(Rc::new(Cell::new(Fate::OnItsWay)))
    }
}

impl Parcel {
    fn arrive(&self, answer: &RefreshAnswer) {
        if matches!(answer, RefreshAnswer::Tokens(_)) {
            self.0.set(Fate::Arrived);
        }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.0.get() == Fate::OnItsWay {
            self.0.set(Fate::Lost);
        }
    }
}

/// One access token and its refresh token.
struct Grant {
    family: usize,
    expires: i64,
    access_dead: bool,
    /// A resource answered 401 to it.
    refused: bool,
    /// It was rotated, and what became of the answer.
    rotated: Option<Rc<Cell<Fate>>>,
}

/// Everything that came of one login.
struct Family {
    sid: String,
    /// The server ended it, for whatever reason.
    over: bool,
    signed_out: bool,
}

#[derive(Default)]
struct Server {
    grants: Vec<Grant>,
    families: Vec<Family>,
}

#[derive(Clone, Debug)]
enum Reply {
    Tokens(usize),
    Status(u16, Option<&'static str>, Option<i64>),
    Nothing,
}

impl Server {
    fn log_in(&mut self, sid: &str, expires: i64) -> usize {
        self.families.push(Family {
            sid: sid.to_owned(),
            over: false,
            signed_out: false,
        });
        self.issue(self.families.len() - 1, expires)
    }

    fn issue(&mut self, family: usize, expires: i64) -> usize {
        self.grants.push(Grant {
            family,
            expires,
            access_dead: false,
            refused: false,
            rotated: None,
        });
        self.grants.len() - 1
    }

    fn family_of(&mut self, grant: usize) -> &mut Family {
        let family = self.grants[grant].family;
        &mut self.families[family]
    }

    fn find(&self, sid: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.sid == sid)
    }

    /// The server ended it, or the answer with its only living token was lost.
    fn is_over(&mut self, sid: &str) -> bool {
        let lost = self.grants.iter().any(|grant| {
            let rotated = grant.rotated.as_ref().map(|fate| fate.get());
            self.families[grant.family].sid == sid && rotated == Some(Fate::Lost)
        });
        let family = self.families.iter_mut().find(|family| family.sid == sid);
        family.is_some_and(|family| {
            family.over |= lost;
            family.over
        })
    }

    fn accepts(&self, grant: usize, now: i64) -> bool {
        let grant = &self.grants[grant];
        !grant.access_dead && grant.expires > now && !self.families[grant.family].over
    }

    fn end_family(&mut self, family: usize) {
        self.families[family].over = true;
        for grant in &mut self.grants {
            grant.access_dead |= grant.family == family;
        }
    }

    fn is_lost(&self, grant: usize) -> bool {
        let rotated = self.grants[grant].rotated.as_ref();
        rotated.is_some_and(|fate| fate.get() == Fate::Lost)
    }

    fn resource(&mut self, grant: usize, now: i64, kind: Kind) -> Reply {
        if self.accepts(grant, now) {
            return Reply::Status(200, None, None);
        }
        self.grants[grant].refused = true;
        if self.is_lost(grant) {
            self.family_of(grant).over |= kind == Kind::Sanctum;
        }
        let revoked = self.grants[grant].access_dead;
        let code = match kind {
            Kind::Rotating => None,
            Kind::Sanctum if revoked => Some("TOKEN_REVOKED"),
            Kind::Sanctum => Some("TOKEN_EXPIRED"),
        };
        Reply::Status(401, code, None)
    }

    fn log_out(&mut self, grant: usize, now: i64, scenario: &Scenario) {
        let current = match scenario.kind {
            Kind::Sanctum => self.accepts(grant, now),
            Kind::Rotating => self.grants[grant].rotated.is_none() || scenario.logout_ends_family,
        };
        if current {
            self.end_family(self.grants[grant].family);
        }
    }
}

// --- The executor --------------------------------------------------------------------------------

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Slot {
    tab: Option<usize>,
    task: Option<Task>,
    waker: Waker,
}

/// Tickets of those who wait for a lock; the first holds it.
type Queue = VecDeque<(u64, Option<Waker>)>;

struct Ready {
    id: usize,
    queue: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.queue.lock().expect("one thread").push(self.id);
    }
}

struct World {
    scenario: Scenario,
    rng: RefCell<Rng>,
    /// The monotonic clock, ms.
    now: Cell<i64>,
    /// The wall clock is this far from where it should be.
    jump: Cell<i64>,
    slots: RefCell<Vec<Slot>>,
    ready: Arc<Mutex<Vec<usize>>>,
    timers: RefCell<BinaryHeap<Reverse<(i64, usize)>>>,
    sleepers: RefCell<Vec<Option<Waker>>>,
    server: RefCell<Server>,
    stored: RefCell<Stored>,
    locks: RefCell<BTreeMap<String, Queue>>,
    tickets: Cell<u64>,
    tabs: RefCell<Vec<Rc<Tab>>>,
    /// Who the browser's storage should hold.
    expected: RefCell<Option<String>>,
    /// Logins that somebody signed out of, or that another login replaced.
    gone: RefCell<BTreeSet<String>>,
    /// Faults may happen.
    rough: Cell<bool>,
    open_requests: Cell<usize>,
    failure: RefCell<Option<String>>,
    trace: RefCell<String>,
    tracing: bool,
    totals: Cell<Totals>,
}

impl World {
    fn new(seed: u64, tracing: bool) -> Rc<Self> {
        let mut rng = Rng(seed);
        let scenario = Scenario::roll(&mut rng);
        let world = Rc::new(Self {
            scenario,
            rng: RefCell::new(rng),
            now: Cell::new(SECOND),
            jump: Cell::new(0),
            slots: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            sleepers: RefCell::default(),
            server: RefCell::default(),
            stored: RefCell::default(),
            locks: RefCell::default(),
            tickets: Cell::new(0),
            tabs: RefCell::default(),
            expected: RefCell::default(),
            gone: RefCell::default(),
            rough: Cell::new(true),
            open_requests: Cell::new(0),
            failure: RefCell::default(),
            trace: RefCell::default(),
            tracing,
            totals: Cell::default(),
        });
        world.note(|| format!("{:?}", world.scenario));
        world
    }

    fn below(&self, limit: usize) -> usize {
        self.rng.borrow_mut().below(limit)
    }

    fn odds(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A duration of up to `limit` ms.
    fn span(&self, limit: i64) -> i64 {
        let limit = usize::try_from(limit).expect("not negative");
        i64::try_from(self.below(limit + 1)).expect("fits")
    }

    fn clocks(&self) -> Now {
        Now {
            wall: START + self.now.get() + self.jump.get(),
            mono: self.now.get(),
        }
    }

    fn count(&self, add: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.get();
        add(&mut totals);
        self.totals.set(totals);
    }

    fn note(&self, text: impl FnOnce() -> String) {
        if self.tracing {
            let now = self.now.get();
            let line = (now / 1000, now % 1000, text());
            writeln!(
                self.trace.borrow_mut(),
                "{:6}.{:03}  {}",
                line.0,
                line.1,
                line.2
            )
            .expect("a string");
        }
    }

    fn fail(&self, text: impl FnOnce() -> String) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            let text = text();
            self.note(|| format!("FAILED: {text}"));
            *failure = Some(text);
        }
    }

    fn check(&self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fail(text);
        }
    }

    fn spawn(&self, tab: Option<usize>, task: impl Future<Output = ()> + 'static) {
        let mut slots = self.slots.borrow_mut();
        let id = slots.len();
        let waker = Waker::from(Arc::new(Ready {
            id,
            queue: Arc::clone(&self.ready),
        }));
        slots.push(Slot {
            tab,
            task: Some(Box::pin(task)),
            waker,
        });
        self.ready.lock().expect("one thread").push(id);
    }

    /// Polls a random ready task; when there is none, time goes on to the next timer.
    fn run_tasks(&self) {
        while self.failure.borrow().is_none() {
            if let Some(id) = self.pick() {
                self.poll(id);
            } else if !self.next_timer() {
                return;
            }
        }
    }

    fn pick(&self) -> Option<usize> {
        let mut ready = self.ready.lock().expect("one thread");
        if ready.is_empty() {
            return None;
        }
        self.count(|totals| totals.choices += 1);
        let index = self.below(ready.len());
        Some(ready.swap_remove(index))
    }

    fn poll(&self, id: usize) {
        let (tab, task, waker) = {
            let mut slots = self.slots.borrow_mut();
            let slot = &mut slots[id];
            (slot.tab, slot.task.take(), slot.waker.clone())
        };
        let Some(mut task) = task else { return };
        if let Some(tab) = tab.map(|tab| self.tab(tab))
            && tab.frozen.get()
        {
            tab.parked.borrow_mut().push(id);
            self.slots.borrow_mut()[id].task = Some(task);
            return;
        }
        let pending = task.as_mut().poll(&mut Context::from_waker(&waker));
        let lives = tab.is_none_or(|tab| self.tab(tab).alive.get());
        if pending.is_pending() && lives {
            self.slots.borrow_mut()[id].task = Some(task);
        }
    }

    fn next_timer(&self) -> bool {
        let next = self.timers.borrow_mut().pop();
        let Some(Reverse((at, id))) = next else {
            return false;
        };
        self.now.set(at.max(self.now.get()));
        let waker = self.sleepers.borrow_mut()[id].take();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn drop_tasks(&self, of: impl Fn(Option<usize>) -> bool) {
        let dropped: Vec<Option<Task>> = self
            .slots
            .borrow_mut()
            .iter_mut()
            .filter(|slot| of(slot.tab))
            .map(|slot| slot.task.take())
            .collect();
        drop(dropped);
    }

    async fn sleep(&self, ms: i64) {
        let at = self.now.get() + ms;
        let mut timer = None;
        poll_fn(|context| {
            if self.now.get() >= at {
                return Poll::Ready(());
            }
            let mut sleepers = self.sleepers.borrow_mut();
            let id = *timer.get_or_insert_with(|| {
                sleepers.push(None);
                self.timers
                    .borrow_mut()
                    .push(Reverse((at, sleepers.len() - 1)));
                sleepers.len() - 1
            });
            sleepers[id] = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The result of `work`, or nothing after `ms`; at the same instant either may win.
    async fn within<T>(&self, ms: i64, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut alarm) = (pin!(work), pin!(self.sleep(ms)));
        poll_fn(|context| {
            if self.odds(50)
                && let Poll::Ready(value) = work.as_mut().poll(context)
            {
                return Poll::Ready(Some(value));
            }
            if alarm.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    fn tab(&self, id: usize) -> Rc<Tab> {
        Rc::clone(&self.tabs.borrow()[id])
    }

    fn living_tabs(&self) -> Vec<Rc<Tab>> {
        let tabs = self.tabs.borrow();
        tabs.iter().filter(|tab| tab.alive.get()).cloned().collect()
    }
}

/// A value that arrives once, for any number of waiters: a promise.
struct Promise<T> {
    value: RefCell<Option<T>>,
    waiting: RefCell<Vec<Waker>>,
}

impl<T: Clone> Promise<T> {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            value: RefCell::new(None),
            waiting: RefCell::default(),
        })
    }

    fn resolve(&self, value: T) {
        self.value.replace(Some(value));
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    async fn get(&self) -> T {
        poll_fn(|context| {
            if let Some(value) = &*self.value.borrow() {
                return Poll::Ready(value.clone());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// A place in the queue for a lock; the first place holds it. Dropping it leaves the queue.
struct Place {
    world: Rc<World>,
    name: String,
    ticket: u64,
}

impl Place {
    fn queue(world: &Rc<World>, name: &str) -> Self {
        let ticket = world.tickets.get();
        world.tickets.set(ticket + 1);
        let mut locks = world.locks.borrow_mut();
        let queue = locks.entry(name.to_owned()).or_default();
        queue.push_back((ticket, None));
        Self {
            world: Rc::clone(world),
            name: name.to_owned(),
            ticket,
        }
    }

    async fn granted(&self) {
        poll_fn(|context| {
            let mut locks = self.world.locks.borrow_mut();
            let queue = locks.get_mut(&self.name).expect("we are in it");
            if queue[0].0 == self.ticket {
                return Poll::Ready(());
            }
            let place = queue.iter_mut().find(|(ticket, _)| *ticket == self.ticket);
            place.expect("we are in it").1 = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut locks = self.world.locks.borrow_mut();
        let queue = locks.get_mut(&self.name).expect("we are in it");
        queue.retain(|(ticket, _)| *ticket != self.ticket);
        let next = queue.front_mut().and_then(|(_, waker)| waker.take());
        drop(locks);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

// --- The network ---------------------------------------------------------------------------------

impl World {
    /// Sends a request that the server works on whether or not anybody waits for the answer.
    fn exchange(
        self: &Rc<Self>,
        fault: Fault,
        work: impl FnOnce(&Rc<Self>) -> Reply + 'static,
    ) -> Rc<Promise<Reply>> {
        let (world, promise) = (Rc::clone(self), Promise::new());
        let answer = Rc::clone(&promise);
        self.spawn(None, async move {
            world.sleep(1 + world.span(300)).await;
            let reply = match fault {
                Fault::None | Fault::Loss | Fault::Slow => work(&world),
                Fault::Status(status, retry_after) => Reply::Status(status, None, retry_after),
                Fault::Drop => Reply::Nothing,
            };
            let slow = if fault == Fault::Slow {
                PATIENCE + world.span(PATIENCE)
            } else {
                0
            };
            world.sleep(1 + slow + world.span(300)).await;
            answer.resolve(if fault == Fault::Loss {
                Reply::Nothing
            } else {
                reply
            });
        });
        promise
    }

    fn refresh_fault(&self) -> Fault {
        if !self.rough.get() {
            return Fault::None;
        }
        if self.scenario.losses && self.odds(10) {
            return if self.odds(50) {
                Fault::Loss
            } else {
                Fault::Slow
            };
        }
        if !self.scenario.faults || !self.odds(25) {
            return Fault::None;
        }
        match self.below(6) {
            0 => Fault::Status(500, None),
            1 => Fault::Status(503, Some(self.span(30 * SECOND))),
            2 => Fault::Status(429, Some(self.span(30 * SECOND))),
            3 => Fault::Status(409, None),
            4 => Fault::Status(502, None),
            _ => Fault::Drop,
        }
    }

    fn resource_fault(&self) -> Fault {
        if !self.rough.get() || !self.scenario.faults || !self.odds(5) {
            return Fault::None;
        }
        if self.odds(50) {
            Fault::Status(503, None)
        } else {
            Fault::Drop
        }
    }

    /// The refresh endpoint. Every promise about refresh calls is checked here.
    fn serve_refresh(&self, grant: usize, fate: &Rc<Cell<Fate>>) -> Reply {
        let (now, scenario) = (self.now.get(), &self.scenario);
        self.count(|totals| totals.refreshes += 1);
        let mut server = self.server.borrow_mut();
        let asked = &server.grants[grant];
        if let Some(earlier) = asked.rotated.as_ref().map(|fate| fate.get()) {
            // Of two senders one may be gone: a killed tab's call can arrive after its successor's.
            let excused = earlier == Fate::Lost || fate.get() == Fate::Lost;
            self.check(excused, || {
                format!("credential {grant} was sent again; its first answer: {earlier:?}")
            });
            self.count(|totals| totals.lost += 1);
            let family = asked.family;
            server.end_family(family);
            return scenario.rejection("TOKEN_REVOKED");
        }
        let left = asked.expires - now;
        let over = server.families[asked.family].over;
        let needless = !asked.refused && left > scenario.lead() + 25 * SECOND && !over;
        self.check(!needless || scenario.jumps, || {
            format!("a needless refresh: token {grant} has {left} ms left and nobody refused it")
        });
        if over {
            return scenario.rejection("TOKEN_REVOKED");
        }
        if scenario.kind == Kind::Sanctum && left <= 0 {
            self.check(!scenario.is_calm(), || {
                format!("token {grant} was not renewed in time")
            });
            let family = asked.family;
            server.end_family(family);
            return scenario.rejection("TOKEN_EXPIRED");
        }
        let family = asked.family;
        server.grants[grant].rotated = Some(Rc::clone(fate));
        server.grants[grant].access_dead |= scenario.rotation_kills;
        let fresh = server.issue(family, now + scenario.lifetime);
        self.note(|| format!("          server: rotated {grant} to {fresh}"));
        Reply::Tokens(fresh)
    }

    fn serve_resource(&self, grant: Option<usize>, always_401: bool) -> Reply {
        let mut server = self.server.borrow_mut();
        let Some(grant) = grant else {
            return Reply::Status(401, None, None);
        };
        let whim = self.rough.get() && self.scenario.refusals && self.odds(3);
        if whim && self.scenario.kind == Kind::Rotating {
            server.grants[grant].access_dead = true;
        }
        let reply = server.resource(grant, self.now.get(), self.scenario.kind);
        if always_401 && matches!(reply, Reply::Status(200, ..)) {
            server.grants[grant].refused = true;
            return Reply::Status(401, None, None);
        }
        reply
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// An error before anything was done.
    Status(u16, Option<i64>),
    /// The connection drops before anything was done.
    Drop,
    /// The connection drops after it was done.
    Loss,
    /// The answer comes after the client has given up.
    Slow,
}

impl Scenario {
    fn rejection(&self, code: &'static str) -> Reply {
        match self.kind {
            Kind::Rotating => Reply::Status(400, Some("invalid_grant"), None),
            Kind::Sanctum => Reply::Status(401, Some(code), None),
        }
    }
}

fn access(grant: usize) -> String {
    format!("access-{grant}")
}

/// The grant that a token belongs to.
fn grant_of(token: &Secret) -> usize {
    let (_, number) = token.reveal().split_once('-').expect("one of our tokens");
    number.parse().expect("one of our tokens")
}

// --- The shell: what src/browser does ------------------------------------------------------------

struct Tab {
    id: usize,
    world: Rc<World>,
    policy: RefCell<Policy>,
    running: RefCell<Option<(Generation, Rc<Promise<()>>)>>,
    armed: Cell<u64>,
    alive: Cell<bool>,
    frozen: Cell<bool>,
    /// How often it was frozen so far.
    naps: Cell<u32>,
    /// Tasks that became ready while it was frozen.
    parked: RefCell<Vec<usize>>,
}

impl Tab {
    fn open(world: &Rc<World>) -> Rc<Self> {
        let sanctum = world.scenario.kind == Kind::Sanctum;
        let config = Config {
            access_token_refreshes: sanctum,
            codes_in_body: sanctum,
            ..Config::default()
        };
        let tab = Rc::new(Self {
            id: world.tabs.borrow().len(),
            world: Rc::clone(world),
            policy: RefCell::new(Policy::new(config)),
            running: RefCell::default(),
            armed: Cell::new(0),
            alive: Cell::new(true),
            frozen: Cell::new(false),
            naps: Cell::new(0),
            parked: RefCell::default(),
        });
        world.tabs.borrow_mut().push(Rc::clone(&tab));
        let stored = world.stored.borrow().clone();
        tab.with(|policy| policy.load(&stored, world.clocks()));
        tab.on_timer();
        tab
    }

    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.world.spawn(Some(self.id), task);
    }

    fn note(&self, text: impl FnOnce() -> String) {
        self.world.note(|| format!("tab {}: {}", self.id, text()));
    }

    /// Borrows the policy for one change, hears its news and arms the timer.
    fn with<T>(self: &Rc<Self>, act: impl FnOnce(&mut Policy) -> T) -> T {
        let before = self.sid();
        let (value, rearm) = {
            let mut policy = self.policy.borrow_mut();
            (act(&mut policy), policy.take_rearm())
        };
        loop {
            let output = self.policy.borrow_mut().poll_output();
            let Some(output) = output else { break };
            if let Output::Event(event) = output {
                self.hear(&event, before.as_deref());
            }
        }
        if rearm {
            self.arm();
        }
        value
    }

    /// Nobody is told that a session is over unless it is.
    fn hear(&self, event: &Event, sid: Option<&str>) {
        self.note(|| format!("{event:?} (was {sid:?})"));
        let Some(sid) = sid else { return };
        match event {
            Event::Refreshed {
                elsewhere: true, ..
            } => self.world.count(|totals| totals.adopted += 1),
            Event::ReauthRequired(_) => {
                let over = self.world.server.borrow_mut().is_over(sid);
                self.world
                    .check(over, || format!("{event:?}, but {sid} lives"));
            }
            Event::SignedOut { .. } | Event::UserChanged => {
                let gone = self.world.gone.borrow().contains(sid);
                self.world.check(gone, || {
                    format!("{event:?}, but nobody signed out of {sid}")
                });
            }
            _ => {}
        }
    }

    fn session(&self) -> Option<Session> {
        self.policy.borrow().session().cloned()
    }

    fn sid(&self) -> Option<String> {
        self.policy
            .borrow()
            .session()
            .map(|session| session.sid.clone())
    }

    fn grant(&self) -> Option<usize> {
        self.session()
            .and_then(|session| session.access_token.as_ref().map(grant_of))
    }

    // Storage.

    fn read_storage(self: &Rc<Self>) {
        let stored = self.world.stored.borrow().clone();
        self.with(|policy| policy.adopt(&stored, self.world.clocks()));
    }

    fn write_storage(self: &Rc<Self>) {
        let mut record = self.policy.borrow().record();
        if let Some(record) = &mut record {
            record.session.deadline = None;
            self.world.stored.borrow_mut().record = Some(record.clone());
            self.hint();
        }
    }

    fn bury(&self, sid: &str, dead: Option<Dead>) {
        let mut stored = self.world.stored.borrow_mut();
        let stored_sid = stored
            .record
            .as_ref()
            .map(|record| record.session.sid.as_str());
        if stored_sid == Some(sid) {
            stored.record = None;
        }
        let tombstone = Tombstone {
            sid: sid.to_owned(),
            dead,
            ..Tombstone::default()
        };
        stored.tombstones.insert(0, tombstone);
        stored.tombstones.truncate(8);
    }

    /// Tells the other tabs to look; they hear of it late or never.
    fn hint(&self) {
        for other in self.world.living_tabs() {
            if other.id != self.id && !self.world.odds(self.world.scenario.deaf) {
                let world = Rc::clone(&self.world);
                let told = Rc::clone(&other);
                let delay = self.world.span(2 * SECOND);
                other.spawn(async move {
                    world.sleep(delay).await;
                    told.read_storage();
                });
            }
        }
    }

    // The timer.

    fn arm(self: &Rc<Self>) {
        self.armed.set(self.armed.get() + 1);
        let delay = self.policy.borrow_mut().poll_timeout(self.world.clocks());
        let Some(delay) = delay.filter(|_| self.running.borrow().is_none()) else {
            return;
        };
        let (tab, armed) = (Rc::clone(self), self.armed.get());
        self.spawn(async move {
            tab.world.sleep(delay).await;
            if tab.armed.get() == armed {
                tab.on_timer();
            }
        });
    }

    fn on_timer(self: &Rc<Self>) {
        let due = self.with(|policy| policy.handle_timeout(self.world.clocks()));
        if let Some(wanted) = due
            && self.running.borrow().is_none()
        {
            drop(self.refresh(wanted));
        }
    }

    fn wake_up(self: &Rc<Self>) {
        self.read_storage();
        self.with(|policy| policy.woke(self.world.clocks(), true));
        self.on_timer();
    }

    // The shared refresh.

    fn refresh(self: &Rc<Self>, wanted: Generation) -> Rc<Promise<()>> {
        let running = self.running.borrow().clone();
        match running {
            Some((same, promise)) if same == wanted => {
                self.with(Policy::joined);
                promise
            }
            Some((_, earlier)) => self.promise(move |tab| async move {
                earlier.get().await;
                tab.refresh(wanted).get().await;
            }),
            None => {
                let promise = self.promise(move |tab| async move { tab.run_refresh(wanted).await });
                self.running.replace(Some((wanted, Rc::clone(&promise))));
                promise
            }
        }
    }

    fn promise<W: Future<Output = ()>>(
        self: &Rc<Self>,
        work: impl FnOnce(Rc<Self>) -> W + 'static,
    ) -> Rc<Promise<()>> {
        let (promise, tab) = (Promise::new(), Rc::clone(self));
        let done = Rc::clone(&promise);
        self.spawn(async move {
            work(tab).await;
            done.resolve(());
        });
        promise
    }

    async fn run_refresh(self: Rc<Self>, wanted: Generation) {
        self.with(|policy| policy.set_refreshing(true));
        self.refresh_once(wanted).await;
        let wait = self.with(|policy| policy.retry_in(wanted, self.world.clocks()));
        if let Some(wait) = wait {
            self.world.sleep(wait).await;
            self.refresh_once(wanted).await;
        }
        self.running.replace(None);
        self.with(|policy| policy.set_refreshing(false));
    }

    async fn refresh_once(self: &Rc<Self>, wanted: Generation) {
        let Some(sid) = self.sid() else { return };
        let place = Place::queue(&self.world, &sid);
        let granted = self.world.within(PATIENCE, place.granted()).await;
        self.read_storage();
        if granted.is_none() {
            self.world.count(|totals| totals.kept_out += 1);
            self.with(|policy| policy.refresh_not_started(wanted));
            return;
        }
        let plan = self.with(|policy| policy.plan_refresh(wanted, self.world.clocks(), true));
        if let Some(plan) = plan {
            // The write-ahead marker, without a hint.
            let record = self.policy.borrow().record();
            if let Some(mut record) = record.filter(|_| plan.known.is_none()) {
                record.session.deadline = None;
                self.world.stored.borrow_mut().record = Some(record);
            }
            self.call_with_deadline(plan).await;
        }
    }

    /// Calls the server for as long as patience lasts; tokens that come later are still committed.
    async fn call_with_deadline(self: &Rc<Self>, plan: RefreshPlan) {
        let sent = self.world.clocks();
        if let Some(known) = plan.known.clone() {
            return self.commit(&plan, known, sent);
        }
        let flight = self.launch(plan.clone(), sent);
        let landed = self.world.within(PATIENCE, flight.landed()).await;
        if let Some((answer, parcel)) = landed {
            parcel.arrive(&answer);
            return self.commit(&plan, answer, sent);
        }
        flight.give_up();
        self.commit(&plan, RefreshAnswer::Failed(Failure::Timeout, None), sent);
    }

    fn launch(self: &Rc<Self>, plan: RefreshPlan, sent: Now) -> Rc<Flight> {
        let credential = plan
            .credential
            .as_ref()
            .map(grant_of)
            .expect("a credential");
        let (parcel, fault) = (Parcel::new(), self.world.refresh_fault());
        self.note(|| format!("refreshes {credential}, {fault:?}"));
        let (fate, flight) = (Rc::clone(&parcel.0), Flight::new(&parcel));
        let answer = self
            .world
            .exchange(fault, move |world| world.serve_refresh(credential, &fate));
        let (tab, landing) = (Rc::clone(self), Rc::clone(&flight));
        self.spawn(async move {
            let reply = answer.get().await;
            let answer = tab.read_answer(&reply);
            if !landing.given_up.get() {
                landing.land(answer, parcel);
            } else if matches!(answer, RefreshAnswer::Tokens(_)) {
                tab.commit(&plan, answer, sent);
            }
        });
        flight
    }

    fn read_answer(&self, reply: &Reply) -> RefreshAnswer {
        match reply {
            Reply::Tokens(grant) => RefreshAnswer::Tokens(self.world.token_set(*grant)),
            Reply::Status(status, code, retry_after) => RefreshAnswer::Failed(
                Failure::Status(*status, code.map(str::to_owned)),
                *retry_after,
            ),
            Reply::Nothing => RefreshAnswer::Failed(Failure::Network, None),
        }
    }

    fn commit(self: &Rc<Self>, plan: &RefreshPlan, answer: RefreshAnswer, sent: Now) {
        let timing = Timing {
            sent,
            received: self.world.clocks(),
            date: None,
        };
        let stored = self.world.stored.borrow().clone();
        let commit = self.with(|policy| policy.finish_refresh(plan, answer, timing, &stored, 0.25));
        self.note(|| format!("{commit:?}, now {:?}", self.grant()));
        match commit {
            Commit::Store => self.write_storage(),
            Commit::Clear(sid, dead) => {
                self.bury(&sid, Some(dead));
                self.hint();
            }
            Commit::Keep | Commit::Abandon(_) => {}
            Commit::Revoke(tokens) => {
                self.world.count(|totals| totals.revoked_late += 1);
                self.say_goodbye(tokens.access_token.as_ref());
            }
        }
    }

    // Requests.

    async fn request(self: Rc<Self>, always_401: bool) {
        let world = Rc::clone(&self.world);
        let (since, naps, person) = (world.now.get(), self.naps.get(), self.sid());
        world.open_requests.set(world.open_requests.get() + 1);
        let open = OpenRequest(Rc::clone(&world));
        let attempt = self.with(|policy| policy.begin(false));
        let outcome = self.drive(attempt, person.as_deref(), always_401).await;
        drop(open);
        let took = world.now.get() - since;
        world.count(|totals| totals.requests += 1);
        self.note(|| format!("request of {person:?}: {outcome:?} after {took} ms"));
        world.check(took <= SETTLES || self.naps.get() != naps, || {
            format!("tab {}: a request took {took} ms", self.id)
        });
        if let (Some(person), false) = (&person, always_401) {
            self.judge_outcome(person, outcome);
        }
    }

    /// In calm weather nobody sees a failure, except for those who are no longer signed in.
    fn judge_outcome(&self, person: &str, outcome: Result<u16, Code>) {
        let world = &self.world;
        let over = world
            .server
            .borrow()
            .find(person)
            .is_none_or(|family| family.over);
        let gone = world.gone.borrow().contains(person);
        world.check(gone || over || outcome.is_ok(), || {
            format!("a request failed with {outcome:?} although {person} lives")
        });
        world.check(
            gone || over || !world.scenario.is_calm() || outcome == Ok(200),
            || format!("a caller of {person} saw {outcome:?} in calm weather"),
        );
    }

    async fn drive(
        self: &Rc<Self>,
        mut attempt: Attempt,
        person: Option<&str>,
        always_401: bool,
    ) -> Result<u16, Code> {
        let (mut sends, mut waits) = (0, 0);
        loop {
            let clocks = self.world.clocks();
            let step = self.with(|policy| policy.next(&mut attempt, clocks, || false));
            match step {
                Step::Send { bearer } => {
                    sends += 1;
                    self.check_sender(person, bearer, sends);
                    match self.send(bearer, always_401).await {
                        Reply::Status(status, code, _) => {
                            if self.judge(&mut attempt, status, code).await != Verdict::Again {
                                return Ok(status);
                            }
                        }
                        _ => return Ok(0),
                    }
                }
                Step::Refresh(wanted) => {
                    waits += 1;
                    self.world
                        .check(waits <= 2, || "a request waits in a loop".to_owned());
                    self.refresh(wanted).get().await;
                }
                Step::Return => return Ok(401),
                Step::Fail(error) => return Err(error.code),
                Step::Load => unreachable!("no outside source here"),
            }
        }
    }

    /// No request is sent as somebody else, nor more than twice.
    fn check_sender(&self, person: Option<&str>, bearer: bool, sends: u32) {
        let now = self.sid();
        self.world.check(!bearer || now.as_deref() == person, || {
            format!("a request of {person:?} is sent as {now:?}")
        });
        self.world
            .check(sends <= 2, || format!("a request was sent {sends} times"));
        if sends == 2 {
            self.world.count(|totals| totals.replays += 1);
        }
    }

    async fn send(self: &Rc<Self>, bearer: bool, always_401: bool) -> Reply {
        let grant = self.grant().filter(|_| bearer);
        let fault = self.world.resource_fault();
        let answer = self
            .world
            .exchange(fault, move |world| world.serve_resource(grant, always_401));
        answer.get().await
    }

    async fn judge(
        self: &Rc<Self>,
        attempt: &mut Attempt,
        status: u16,
        code: Option<&'static str>,
    ) -> Verdict {
        if status == 401 {
            self.world.count(|totals| totals.unauthorized += 1);
            self.read_storage();
        }
        let answer = Answer {
            status,
            replayable: true,
            ..Answer::default()
        };
        let clocks = self.world.clocks();
        let verdict = self.with(|policy| policy.on_response(attempt, answer, clocks));
        if verdict != Verdict::Peek {
            return verdict;
        }
        // Reading the body takes a while, too.
        self.world.sleep(self.world.span(300)).await;
        self.read_storage();
        let clocks = self.world.clocks();
        let sid = self.sid();
        let verdict = self.with(|policy| policy.on_code(attempt, code, answer, clocks));
        if let (Verdict::Over(dead), Some(sid)) = (verdict, sid) {
            self.bury(&sid, Some(dead));
            self.hint();
        }
        verdict
    }

    // People.

    fn sign_in(self: &Rc<Self>, person: &str) {
        let world = Rc::clone(&self.world);
        let sid = format!("{person}-{}", world.server.borrow().families.len());
        let expires = world.now.get() + world.scenario.lifetime;
        let grant = world.server.borrow_mut().log_in(&sid, expires);
        let clocks = world.clocks();
        let timing = Timing {
            sent: clocks,
            received: clocks,
            date: None,
        };
        let tokens = world.token_set(grant);
        let former = world.expected.replace(Some(sid.clone()));
        world.gone.borrow_mut().extend(former);
        world.gone.borrow_mut().extend(self.sid());
        self.note(|| format!("{sid} signs in with {grant}"));
        self.with(|policy| policy.sign_in(sid, tokens, timing, true));
        self.write_storage();
        // Once the policy has seen its record there, it also notices when the record goes.
        self.read_storage();
    }

    /// Signs out with the newest token that this browser has.
    fn sign_out(self: &Rc<Self>) {
        self.read_storage();
        let Some(sid) = self.sid() else { return };
        self.note(|| format!("{sid} signs out"));
        self.world.count(|totals| totals.sign_outs += 1);
        self.world.gone.borrow_mut().insert(sid.clone());
        for family in &mut self.world.server.borrow_mut().families {
            family.signed_out |= family.sid == sid;
        }
        let mut expected = self.world.expected.borrow_mut();
        if expected.as_ref() == Some(&sid) {
            *expected = None;
        }
        drop(expected);
        let session = self.with(|policy| policy.sign_out(self.world.clocks()));
        self.bury(&sid, None);
        self.hint();
        if let Some(session) = session {
            self.say_goodbye(session.access_token.as_ref());
        }
    }

    /// Best effort, and with keepalive: it goes on when the tab is gone.
    fn say_goodbye(&self, token: Option<&Secret>) {
        let grant = token.map(grant_of).expect("a token");
        drop(self.world.exchange(Fault::None, move |world| {
            let now = world.now.get();
            world
                .server
                .borrow_mut()
                .log_out(grant, now, &world.scenario);
            Reply::Status(204, None, None)
        }));
    }
}

/// A refresh call that may outlive the patience of those who wait for it.
struct Flight {
    landed: RefCell<Option<(RefreshAnswer, Parcel)>>,
    waiting: RefCell<Option<Waker>>,
    given_up: Cell<bool>,
    fate: Rc<Cell<Fate>>,
}

impl Flight {
    fn new(parcel: &Parcel) -> Rc<Self> {
        Rc::new(Self {
            landed: RefCell::default(),
            waiting: RefCell::default(),
            given_up: Cell::new(false),
            fate: Rc::clone(&parcel.0),
        })
    }

    fn land(&self, answer: RefreshAnswer, parcel: Parcel) {
        self.landed.replace(Some((answer, parcel)));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// From now on the answer counts as lost, and the credential may be sent again.
    fn give_up(&self) {
        self.given_up.set(true);
        self.fate.set(Fate::Lost);
    }

    async fn landed(&self) -> (RefreshAnswer, Parcel) {
        poll_fn(|context| {
            if let Some(landed) = self.landed.take() {
                return Poll::Ready(landed);
            }
            self.waiting.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

impl World {
    fn token_set(&self, grant: usize) -> TokenSet {
        let refresh = (self.scenario.kind == Kind::Rotating).then(|| format!("refresh-{grant}"));
        TokenSet {
            access_token: Some(Secret::new(access(grant)).expect("a token")),
            refresh_token: refresh.and_then(Secret::new),
            lifetimes: Lifetimes {
                relative: Some(self.scenario.lifetime),
                ..Lifetimes::default()
            },
            refresh_lifetime: None,
            subject: None,
        }
    }
}

/// Counts a request as settled, or as gone with its tab.
struct OpenRequest(Rc<World>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open_requests.set(self.0.open_requests.get() - 1);
    }
}

// --- The script of a run -------------------------------------------------------------------------

/// Everything that happens to the browser: a rough time, a rest, and the reckoning.
async fn direct(world: Rc<World>) {
    let first = Tab::open(&world);
    first.sign_in("ada");
    for _ in 1..world.scenario.tabs {
        Tab::open(&world);
    }
    let rough_until = world.now.get() + 3 * world.scenario.lifetime;
    while world.now.get() < rough_until {
        world
            .sleep(1 + world.span(world.scenario.lifetime / 4))
            .await;
        disturb(&world);
        let tabs = world.living_tabs();
        let tab = &tabs[world.below(tabs.len())];
        for _ in 0..=world.below(5) {
            let always_401 = world.scenario.refusals && world.odds(10);
            tab.spawn(Rc::clone(tab).request(always_401));
        }
    }
    recover(&world).await;
    reckon(&world).await;
    for tab in world.living_tabs() {
        kill(&world, &tab);
    }
}

fn disturb(world: &Rc<World>) {
    let scenario = &world.scenario;
    let tabs = world.living_tabs();
    let tab = &tabs[world.below(tabs.len())];
    match world.below(12) {
        0 if scenario.people => tab.sign_out_soon(),
        1 | 2 if scenario.people && tab.sid().is_none() && !tab.frozen.get() => tab.sign_in("ada"),
        3 if scenario.people && !tab.frozen.get() => tab.sign_in("grace"),
        4 if scenario.chaos && tabs.len() > 1 => {
            kill(world, tab);
            Tab::open(world);
        }
        5 | 6 if scenario.chaos => freeze(world, tab),
        7 if scenario.chaos => thaw(world, tab),
        8 if scenario.jumps => {
            let jump = [MINUTE, -MINUTE, 60 * MINUTE, -60 * MINUTE][world.below(4)];
            world.jump.set(world.jump.get() + jump);
        }
        9 if scenario.endings && world.odds(30) => {
            let ended = world.server.borrow().families.len() - 1;
            world.note(|| format!("          server: ends family {ended}"));
            world.server.borrow_mut().end_family(ended);
        }
        10 if !tab.frozen.get() => tab.wake_up(),
        _ => {}
    }
}

impl Tab {
    /// At any await point of whatever is going on.
    fn sign_out_soon(self: &Rc<Self>) {
        let (tab, delay) = (Rc::clone(self), self.world.span(2 * SECOND));
        self.spawn(async move {
            tab.world.sleep(delay).await;
            if tab.world.rough.get() {
                tab.sign_out();
            }
        });
    }
}

fn kill(world: &Rc<World>, tab: &Rc<Tab>) {
    world.note(|| format!("tab {} is killed", tab.id));
    world.count(|totals| totals.kills += u64::from(world.rough.get()));
    tab.alive.set(false);
    tab.frozen.set(false);
    tab.running.replace(None);
    world.drop_tasks(|owner| owner == Some(tab.id));
}

fn freeze(world: &Rc<World>, tab: &Rc<Tab>) {
    world.note(|| format!("tab {} freezes", tab.id));
    world.count(|totals| totals.freezes += 1);
    tab.naps.set(tab.naps.get() + 1);
    tab.frozen.set(true);
    let (world, tab) = (Rc::clone(world), Rc::clone(tab));
    let nap = world.span(world.scenario.lifetime);
    world.clone().spawn(None, async move {
        world.sleep(nap).await;
        thaw(&world, &tab);
    });
}

fn thaw(world: &Rc<World>, tab: &Rc<Tab>) {
    if tab.frozen.replace(false) && tab.alive.get() {
        world.note(|| format!("tab {} thaws", tab.id));
        let parked = tab.parked.take();
        world.ready.lock().expect("one thread").extend(parked);
        tab.wake_up();
    }
}

/// The faults stop, everybody is awake, and every pause has time to pass.
async fn recover(world: &Rc<World>) {
    world.rough.set(false);
    world.note(|| "          the weather clears".to_owned());
    for tab in world.living_tabs() {
        thaw(world, &tab);
    }
    world.sleep(10 * MINUTE).await;
    world.check(world.open_requests.get() == 0, || {
        format!("{} requests never settled", world.open_requests.get())
    });
    for tab in world.living_tabs() {
        tab.read_storage();
    }
}

/// What must hold in the end: everybody who should be signed in is, and nobody else.
async fn reckon(world: &Rc<World>) {
    let expected = world.expected.borrow().clone();
    let over = expected.as_ref().is_some_and(|sid| {
        let server = world.server.borrow();
        server.find(sid).is_some_and(|family| family.over)
    });
    for tab in world.living_tabs() {
        let promise = tab.promise({
            let (tab, expected) = (Rc::clone(&tab), expected.clone());
            move |_| async move { reckon_tab(&tab, expected.as_deref(), over).await }
        });
        promise.get().await;
    }
    let stored = world.stored.borrow().record.clone();
    let stored = stored.map(|record| record.session.sid);
    world.check(over || stored == expected, || {
        format!("storage holds {stored:?}, it should hold {expected:?}")
    });
    reckon_server(world);
}

async fn reckon_tab(tab: &Rc<Tab>, expected: Option<&str>, over: bool) {
    let world = &tab.world;
    let sid = tab.sid();
    let fine = if over {
        sid.is_none() || sid.as_deref() == expected
    } else {
        sid.as_deref() == expected
    };
    world.check(fine, || {
        format!("tab {} is {sid:?}, it should be {expected:?}", tab.id)
    });
    if expected.is_some() && !over {
        let attempt = tab.with(|policy| policy.begin(false));
        let outcome = tab.drive(attempt, sid.as_deref(), false).await;
        world.check(outcome == Ok(200), || {
            format!("tab {}: {outcome:?} although all is well again", tab.id)
        });
    }
}

/// No token of a login that was signed out works, unless nobody ever had it.
fn reckon_server(world: &World) {
    let server = world.server.borrow();
    for (id, grant) in server.grants.iter().enumerate() {
        let family = &server.families[grant.family];
        let lost = server
            .grants
            .iter()
            .any(|other| other.family == grant.family && is_lost(other));
        let expired = world.scenario.kind == Kind::Sanctum && grant.expires <= world.now.get();
        let usable = grant.rotated.is_none() && !expired;
        world.check(!family.signed_out || family.over || lost || !usable, || {
            format!("token {id} of {} outlived the sign-out", family.sid)
        });
    }
}

fn is_lost(grant: &Grant) -> bool {
    grant
        .rotated
        .as_ref()
        .is_some_and(|fate| fate.get() != Fate::Arrived)
}
