//! Many tabs, one storage or a copy for each, a rotating server, a bad network: thousands of
//! interleavings in virtual time, each made by a seed. The shell around the policy is written as
//! async code that does what `src/browser` does; the executor picks at random which of the ready
//! tasks goes on.
//!
//! `KEEPFRESH_SIM_RUNS=100000` runs more of them, `KEEPFRESH_SIM_SEED=17` runs that one and prints
//! what happened in it.
#![cfg(not(target_arch = "wasm32"))]

use keepfresh::policy::{
    Answer, Attempt, Code, Commit, Config, Dead, Event, Failure, Generation, Lifetimes, Now,
    Output, Policy, Record, RefreshAnswer, RefreshPlan, Secret, Session, Step, Stored, Timing,
    TokenSet, Tombstone, Verdict,
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
/// How long a lease is good for where there are no Web Locks: a refresh, and five seconds more, ms.
const LEASE: i64 = PATIENCE + 5 * SECOND;
/// How long a copy of a tab has for handing over its token, ms.
const HANDOVER: i64 = 250;
/// No request of a tab that is awake takes longer than this, ms: two refreshes with a retry each,
/// and one of an older generation before them.
const SETTLES: i64 = 3 * (4 * PATIENCE + 2 * SECOND) + 10 * SECOND;

// 2.2, 2.4, 2.10, 2.12, 3.8, 3.10, 3.12, 5.3, 5.5, 5.8, 5.9, 5.10, 5.11, 5.12, 5.14
// 7.10, 7.11, 7.13, 7.14, 7.15, 7.16
// known-failures 12, 21, 34, 37, 38, 42, 69
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
    copied: u64,
    handed_over: u64,
    left_behind: u64,
    lost_responses: u64,
    late: u64,
    second_chances: u64,
    leases_outlived: u64,
    cookies: u64,
    probes: u64,
    sign_ins: u64,
    ended: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        for (sum, more) in self.counts().into_iter().zip(other.clone().counts()) {
            *sum += *more;
        }
    }

    fn covers_everything(&self) -> bool {
        self.clone().counts().into_iter().all(|count| *count > 0)
    }

    fn counts(&mut self) -> [&mut u64; 23] {
        [
            &mut self.choices,
            &mut self.requests,
            &mut self.unauthorized,
            &mut self.replays,
            &mut self.refreshes,
            &mut self.lost,
            &mut self.adopted,
            &mut self.sign_outs,
            &mut self.revoked_late,
            &mut self.kept_out,
            &mut self.kills,
            &mut self.freezes,
            &mut self.copied,
            &mut self.handed_over,
            &mut self.left_behind,
            &mut self.lost_responses,
            &mut self.late,
            &mut self.second_chances,
            &mut self.leases_outlived,
            &mut self.cookies,
            &mut self.probes,
            &mut self.sign_ins,
            &mut self.ended,
        ]
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
    /// Tokens are cookies that all tabs share and no script can read; they rotate as well.
    Cookie,
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
    /// The session is in sessionStorage: each tab has a record of its own, to begin with its opener's.
    copies: bool,
    /// The server takes a rotated credential again until its successor was used.
    grace: bool,
    /// The server gives a new refresh token only now and then.
    lazy: bool,
    /// There are no Web Locks: a lease in storage stands in, which ends by its time.
    leases: bool,
    /// The refresh endpoint is down for a while, and nothing else goes wrong.
    outage: bool,
}

impl Scenario {
    fn roll(rng: &mut Rng) -> Self {
        let kind = match rng.below(100) {
            0..45 => Kind::Rotating,
            45..75 => Kind::Sanctum,
            _ => Kind::Cookie,
        };
        let mut odds = |percent: usize| rng.below(100) < percent;
        let copies = odds(40) && kind != Kind::Cookie;
        let outage = odds(15) && !copies;
        let mut wild = |percent: usize| odds(percent) && !outage;
        let (faults, losses, chaos) = (wild(40), wild(20), wild(30));
        let (refusals, endings, jumps) = (wild(30), wild(15), wild(10));
        Self {
            kind,
            copies,
            outage,
            faults,
            losses,
            chaos,
            refusals,
            endings,
            jumps,
            people: odds(50),
            rotation_kills: odds(50) || kind == Kind::Sanctum,
            logout_ends_family: odds(50),
            grace: odds(30) && kind != Kind::Sanctum,
            lazy: odds(30) && kind == Kind::Rotating,
            leases: odds(25),
            lifetime: [60, 119, 300, 900][rng.below(4)] * SECOND,
            tabs: 1 + rng.below(5),
            deaf: [0, 30, 100][rng.below(3)],
        }
    }

    /// Nothing happens but requests: then nobody may see so much as a 401.
    fn is_calm(&self) -> bool {
        let rough = self.faults || self.losses || self.chaos || self.refusals;
        !rough && !self.jumps && !self.outage
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
    /// Whoever waited for it is gone, frozen, or has given up.
    Lost,
    /// It arrived at this moment, after it was given up.
    Late(i64),
}

/// Marks an answer as lost when whoever waits for it disappears.
struct Parcel(Rc<Cell<Fate>>);

impl Parcel {
    fn new() -> Self {
        Self(Rc::new(Cell::new(Fate::OnItsWay)))
    }
}

impl Parcel {
    fn arrive(&self, answer: &RefreshAnswer, now: i64) {
        if !matches!(answer, RefreshAnswer::Tokens(_)) {
            return;
        }
        self.0.set(match self.0.get() {
            Fate::OnItsWay | Fate::Arrived => Fate::Arrived,
            Fate::Lost | Fate::Late(_) => Fate::Late(now),
        });
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.0.get() == Fate::OnItsWay {
            self.0.set(Fate::Lost);
        }
    }
}

/// One access token.
struct Grant {
    family: usize,
    /// What it was issued with and can be renewed with.
    credential: usize,
    expires: i64,
    access_dead: bool,
    /// A resource answered 401 to it.
    refused: bool,
}

/// One refresh token, or whatever takes its place.
#[derive(Default)]
struct Credential {
    /// It was rotated, and what became of the answer.
    rotated: Option<Rc<Cell<Fate>>>,
    /// The token that took its place.
    successor: Option<usize>,
}

/// Everything that came of one login.
struct Family {
    sid: String,
    /// The server ended it, for whatever reason.
    over: bool,
    signed_out: bool,
    /// The credential whose second use ended it, after the answer to the first got lost.
    lost: Option<usize>,
    /// Calls that met the outage, and when the last of them was answered.
    failures: u32,
    failed_at: i64,
}

#[derive(Default)]
struct Server {
    grants: Vec<Grant>,
    credentials: Vec<Credential>,
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
            lost: None,
            failures: 0,
            failed_at: 0,
        });
        self.rotate(self.families.len() - 1, expires)
    }

    /// A token with a credential of its own.
    fn rotate(&mut self, family: usize, expires: i64) -> usize {
        self.credentials.push(Credential::default());
        self.issue(family, self.credentials.len() - 1, expires)
    }

    fn issue(&mut self, family: usize, credential: usize, expires: i64) -> usize {
        self.grants.push(Grant {
            family,
            credential,
            expires,
            access_dead: false,
            refused: false,
        });
        self.grants.len() - 1
    }

    fn fate(&self, credential: usize) -> Option<Fate> {
        let rotated = self.credentials[credential].rotated.as_ref();
        rotated.map(|fate| fate.get())
    }

    fn family_of(&mut self, grant: usize) -> &mut Family {
        let family = self.grants[grant].family;
        &mut self.families[family]
    }

    fn find(&self, sid: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.sid == sid)
    }

    /// The server ended it, or the answer with its only living token was lost.
    fn is_over(&mut self, sid: &str, grace: bool) -> bool {
        let lost = self.grants.iter().any(|grant| {
            let rotated = self.fate(grant.credential);
            self.families[grant.family].sid == sid && rotated == Some(Fate::Lost)
        });
        let family = self.families.iter_mut().find(|family| family.sid == sid);
        family.is_some_and(|family| {
            family.over |= lost && !grace;
            family.over
        })
    }

    /// A late cookie took the place of another login's, or of its own successor.
    fn excuse(&mut self, grant: usize, before: Option<usize>) {
        // No page knows how long it is good for.
        self.grants[grant].refused = true;
        let family = self.grants[grant].family;
        if let Some(other) = before.filter(|before| self.grants[*before].family != family) {
            self.family_of(other).over = true;
        }
        if let Some(fate) = &self.credentials[self.grants[grant].credential].rotated {
            fate.set(Fate::Lost);
        }
    }

    /// Nobody keeps this token.
    fn throw_away(&mut self, grant: usize) {
        for credential in &mut self.credentials {
            if credential.successor == Some(grant)
                && let Some(fate) = &credential.rotated
            {
                fate.set(Fate::Lost);
            }
        }
    }

    /// The credential that is good for a refresh.
    fn newest(&self, sid: &str) -> Option<usize> {
        let grants = self.grants.iter().rev();
        let mut ours = grants.filter(|grant| self.families[grant.family].sid == sid);
        ours.next().map(|grant| grant.credential)
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

    fn resource(&mut self, grant: usize, now: i64, kind: Kind) -> Reply {
        if self.accepts(grant, now) {
            return Reply::Status(200, None, None);
        }
        self.grants[grant].refused = true;
        if self.fate(self.grants[grant].credential) == Some(Fate::Lost) {
            self.family_of(grant).over |= kind == Kind::Sanctum;
        }
        let revoked = self.grants[grant].access_dead;
        let code = match kind {
            Kind::Rotating | Kind::Cookie => None,
            Kind::Sanctum if revoked => Some("TOKEN_REVOKED"),
            Kind::Sanctum => Some("TOKEN_EXPIRED"),
        };
        Reply::Status(401, code, None)
    }

    fn log_out(&mut self, grant: usize, now: i64, scenario: &Scenario) {
        let current = match scenario.kind {
            Kind::Sanctum => self.accepts(grant, now),
            Kind::Rotating | Kind::Cookie => {
                let rotated = self.fate(self.grants[grant].credential);
                rotated.is_none() || scenario.logout_ends_family
            }
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

/// Where a record is kept.
type Kept = Rc<RefCell<Option<Record>>>;

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
    /// localStorage: the record that all tabs share, and the notes that logins ended.
    record: Kept,
    tombstones: RefCell<Vec<Tombstone>>,
    /// The rotation that brought the newest credential of each login.
    ledger: RefCell<BTreeMap<String, u32>>,
    /// The token in the cookie jar.
    jar: Cell<Option<usize>>,
    /// From when to when the refresh endpoint is down.
    outage: (i64, i64),
    locks: RefCell<BTreeMap<String, Queue>>,
    /// Who holds which lease, and until when.
    leases: RefCell<BTreeMap<String, (u64, i64)>>,
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
        let down_from = SECOND + scenario.lifetime / 2;
        let down_for = [0, 2, 5, 12][rng.below(4)] * MINUTE + scenario.lifetime;
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
            record: Kept::default(),
            tombstones: RefCell::default(),
            ledger: RefCell::default(),
            jar: Cell::new(None),
            outage: (down_from, down_from + down_for),
            locks: RefCell::default(),
            leases: RefCell::default(),
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

/// A place in the queue for a lock; the first place holds it. Dropping it leaves the queue, unless
/// the tab was killed and what it holds is a lease.
struct Place {
    tab: Rc<Tab>,
    name: String,
    ticket: u64,
}

impl Place {
    fn queue(tab: &Rc<Tab>, name: &str) -> Self {
        let world = &tab.world;
        let ticket = world.tickets.get();
        world.tickets.set(ticket + 1);
        if !world.scenario.leases {
            let mut locks = world.locks.borrow_mut();
            let queue = locks.entry(name.to_owned()).or_default();
            queue.push_back((ticket, None));
        }
        tab.places.borrow_mut().push((name.to_owned(), ticket));
        Self {
            tab: Rc::clone(tab),
            name: name.to_owned(),
            ticket,
        }
    }

    /// Waits for the lock; false = the page was frozen, and had to leave the queue.
    async fn granted(&self) -> bool {
        if self.tab.world.scenario.leases {
            return self.leased().await;
        }
        poll_fn(|context| {
            let mut locks = self.tab.world.locks.borrow_mut();
            let queue = locks.get_mut(&self.name).expect("somebody was in it");
            if queue.front().is_some_and(|first| first.0 == self.ticket) {
                return Poll::Ready(true);
            }
            let place = queue.iter_mut().find(|(ticket, _)| *ticket == self.ticket);
            let Some(place) = place else {
                return Poll::Ready(false);
            };
            place.1 = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes the lease as soon as nobody has it, or whoever has it is past its time.
    async fn leased(&self) -> bool {
        let world = &self.tab.world;
        loop {
            let (now, holder) = (
                world.now.get(),
                world.leases.borrow().get(&self.name).copied(),
            );
            if holder.is_none_or(|(_, until)| until <= now) {
                world.count(|totals| totals.leases_outlived += u64::from(holder.is_some()));
                let lease = (self.ticket, now + LEASE);
                world.leases.borrow_mut().insert(self.name.clone(), lease);
                return true;
            }
            world.sleep(50 + world.span(50)).await;
        }
    }

    /// Whether the lock is still ours: a page that was frozen has given it back.
    fn held(&self) -> bool {
        let world = &self.tab.world;
        if world.scenario.leases {
            let leases = world.leases.borrow();
            let lease = leases.get(&self.name);
            return lease
                .is_some_and(|(ticket, until)| *ticket == self.ticket && *until > world.now.get());
        }
        let locks = world.locks.borrow();
        let first = locks.get(&self.name).and_then(VecDeque::front);
        first.is_some_and(|first| first.0 == self.ticket)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let world = &self.tab.world;
        self.tab
            .places
            .borrow_mut()
            .retain(|(_, ticket)| *ticket != self.ticket);
        if world.scenario.leases {
            let ours = |lease: &(u64, i64)| lease.0 == self.ticket;
            if self.tab.alive.get() && world.leases.borrow().get(&self.name).is_some_and(ours) {
                world.leases.borrow_mut().remove(&self.name);
            }
            return;
        }
        world.leave_queue(&self.name, self.ticket);
    }
}

impl World {
    fn leave_queue(&self, name: &str, ticket: u64) {
        let mut locks = self.locks.borrow_mut();
        let Some(queue) = locks.get_mut(name) else {
            return;
        };
        queue.retain(|(other, _)| *other != ticket);
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
        self.exchange_cookies(fault, work, |_| {})
    }

    /// `arrived` is the browser, which looks at an answer before the page does.
    fn exchange_cookies(
        self: &Rc<Self>,
        fault: Fault,
        work: impl FnOnce(&Rc<Self>) -> Reply + 'static,
        arrived: impl FnOnce(&Reply) + 'static,
    ) -> Rc<Promise<Reply>> {
        let (world, promise) = (Rc::clone(self), Promise::new());
        let answer = Rc::clone(&promise);
        self.spawn(None, async move {
            world.sleep(1 + world.span(300)).await;
            let reply = match fault {
                Fault::None | Fault::Loss | Fault::Slow | Fault::Outage => work(&world),
                Fault::Status(status, retry_after) => Reply::Status(status, None, retry_after),
                Fault::Drop => Reply::Nothing,
            };
            let slow = if fault == Fault::Slow {
                PATIENCE + world.span(PATIENCE)
            } else {
                0
            };
            world.sleep(1 + slow + world.span(300)).await;
            let reply = if fault == Fault::Loss {
                Reply::Nothing
            } else {
                reply
            };
            arrived(&reply);
            answer.resolve(reply);
        });
        promise
    }

    fn refresh_fault(&self) -> Fault {
        if !self.rough.get() {
            return Fault::None;
        }
        if self.is_down() {
            return Fault::Outage;
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

    fn is_down(&self) -> bool {
        let (from, to) = self.outage;
        self.scenario.outage && (from..to).contains(&self.now.get())
    }

    /// The refresh endpoint. Every promise about refresh calls is checked here.
    fn serve_refresh(&self, call: &Calling, fate: &Rc<Cell<Fate>>) -> Reply {
        let (now, scenario) = (self.now.get(), &self.scenario);
        self.count(|totals| totals.refreshes += 1);
        let Some(grant) = call.grant else {
            return Reply::Status(401, None, None);
        };
        if scenario.outage
            && let Some(down) = self.serve_down(grant)
        {
            return down;
        }
        let mut server = self.server.borrow_mut();
        let credential = server.grants[grant].credential;
        let family = server.grants[grant].family;
        if let Some(earlier) = server.fate(credential) {
            return self.serve_again(&mut server, credential, earlier, call, fate);
        }
        let asked = &server.grants[grant];
        let left = asked.expires - now;
        let over = server.families[family].over;
        let needless = !asked.refused && left > scenario.lead() + 25 * SECOND && !over;
        self.check(!needless || scenario.jumps, || {
            format!("a needless refresh: token {grant} has {left} ms left and nobody refused it")
        });
        if over {
            return scenario.rejection("TOKEN_REVOKED");
        }
        if scenario.kind == Kind::Sanctum && left <= 0 {
            self.check(!scenario.is_calm() || scenario.outage, || {
                format!("token {grant} was not renewed in time")
            });
            server.end_family(family);
            return scenario.rejection("TOKEN_EXPIRED");
        }
        let expires = now + scenario.lifetime;
        if scenario.lazy && self.odds(50) {
            fate.set(Fate::Arrived);
            return Reply::Tokens(server.issue(family, credential, expires));
        }
        let fresh = server.rotate(family, expires);
        server.credentials[credential].rotated = Some(Rc::clone(fate));
        server.credentials[credential].successor = Some(fresh);
        server.grants[grant].access_dead |= scenario.rotation_kills;
        self.note(|| format!("          server: rotated {grant} to {fresh}"));
        Reply::Tokens(fresh)
    }

    /// A credential that was rotated before. Only a lost answer is an excuse for that.
    fn serve_again(
        &self,
        server: &mut Server,
        credential: usize,
        earlier: Fate,
        call: &Calling,
        fate: &Rc<Cell<Fate>>,
    ) -> Reply {
        // Of two senders one may be gone: a killed tab's call can arrive after its successor's.
        let excused = match earlier {
            Fate::Lost => true,
            Fate::Late(at) => call.sent <= at,
            Fate::OnItsWay | Fate::Arrived => fate.get() == Fate::Lost,
        };
        self.check(excused, || {
            format!("credential {credential} was sent again; its first answer: {earlier:?}")
        });
        self.count(|totals| totals.lost += 1);
        let successor = server.credentials[credential].successor;
        let unused = |grant: &usize| server.fate(server.grants[*grant].credential).is_none();
        let family = call.grant.map_or(0, |grant| server.grants[grant].family);
        let over = server.families[family].over;
        if let Some(grant) = successor.filter(unused)
            && self.scenario.grace
            && !over
        {
            self.count(|totals| totals.second_chances += 1);
            self.note(|| format!("          server: gives {grant} once more"));
            server.credentials[credential].rotated = Some(Rc::clone(fate));
            return Reply::Tokens(grant);
        }
        if earlier == Fate::Lost && !over {
            server.families[family].lost = Some(credential);
        }
        server.end_family(family);
        self.scenario.rejection("TOKEN_REVOKED")
    }

    /// 2.10, 2.12: all tabs together call no more often than one of them may.
    fn serve_down(&self, grant: usize) -> Option<Reply> {
        let (now, down) = (self.now.get(), self.is_down());
        let mut server = self.server.borrow_mut();
        let family = server.family_of(grant);
        let pause = match family.failures {
            0 => 0,
            1 => SECOND,
            more => ((30 * SECOND) << (more - 2).min(8)).min(5 * MINUTE),
        };
        let waited = now - family.failed_at;
        self.check(family.failures == 0 || waited >= pause, || {
            format!("a probe after {waited} ms, and {pause} was the pause")
        });
        self.count(|totals| totals.probes += u64::from(family.failures > 1));
        if !down {
            family.failures = 0;
            return None;
        }
        family.failures += 1;
        family.failed_at = now;
        Some(Reply::Status(503, None, None))
    }

    fn serve_resource(&self, grant: Option<usize>, always_401: bool) -> Reply {
        let mut server = self.server.borrow_mut();
        let Some(grant) = grant else {
            return Reply::Status(401, None, None);
        };
        let whim = self.rough.get() && self.scenario.refusals && self.odds(3);
        if whim && self.scenario.kind != Kind::Sanctum {
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
    /// The server knows that it is down.
    Outage,
}

impl Scenario {
    fn rejection(&self, code: &'static str) -> Reply {
        match self.kind {
            Kind::Rotating => Reply::Status(400, Some("invalid_grant"), None),
            Kind::Sanctum => Reply::Status(401, Some(code), None),
            Kind::Cookie => Reply::Status(401, None, None),
        }
    }
}

/// A refresh call as the server gets it.
#[derive(Clone, Copy, Debug)]
struct Calling {
    /// The token that the caller has, or its cookie.
    grant: Option<usize>,
    sent: i64,
}

/// The number of the grant or credential that a token stands for.
fn number_in(token: &Secret) -> usize {
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
    /// Where its session is kept.
    kept: Kept,
    /// The locks that it holds or waits for.
    places: RefCell<Vec<(String, u64)>>,
    /// The answers that it waits for.
    awaited: RefCell<Vec<Rc<Cell<Fate>>>>,
    /// Who should be signed in here, and who no longer, where each tab has a session of its own.
    expected: RefCell<Option<String>>,
    gone: RefCell<BTreeSet<String>>,
    /// Logins that ended here because the newest token was out of reach.
    stranded: RefCell<BTreeSet<String>>,
}

impl Tab {
    /// A tab; in sessionStorage it begins with a copy of what its opener has.
    fn open(world: &Rc<World>, opener: Option<&Rc<Self>>) -> Rc<Self> {
        let kind = world.scenario.kind;
        let config = Config {
            access_token_refreshes: kind == Kind::Sanctum,
            codes_in_body: kind == Kind::Sanctum,
            cookie_refreshes: kind == Kind::Cookie,
            ..Config::default()
        };
        let copied = |opener: &Rc<Self>| opener.kept.borrow().clone();
        let kept = if world.scenario.copies {
            world.count(|totals| totals.copied += u64::from(opener.is_some()));
            Rc::new(RefCell::new(opener.and_then(copied)))
        } else {
            Rc::clone(&world.record)
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
            kept,
            places: RefCell::default(),
            awaited: RefCell::default(),
            expected: RefCell::new(opener.and_then(|opener| opener.expected.borrow().clone())),
            gone: RefCell::default(),
            stranded: RefCell::new(
                opener.map_or_else(BTreeSet::new, |opener| opener.stranded.borrow().clone()),
            ),
        });
        world.tabs.borrow_mut().push(Rc::clone(&tab));
        let stored = tab.stored();
        tab.with(|policy| policy.load(&stored, world.clocks()));
        tab.forget_the_dead();
        tab.note(|| format!("opens as {:?} with {:?}", tab.sid(), tab.grant()));
        tab.on_timer();
        tab
    }

    /// What storage holds, as this tab sees it.
    fn stored(&self) -> Stored {
        Stored {
            record: self.kept.borrow().clone(),
            tombstones: self.world.tombstones.borrow().clone(),
        }
    }

    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.world.spawn(Some(self.id), task);
    }

    fn note(&self, text: impl FnOnce() -> String) {
        self.world.note(|| format!("tab {}: {}", self.id, text()));
    }

    /// Borrows the policy for one change, hears its news and arms the timer.
    fn with<T>(self: &Rc<Self>, act: impl FnOnce(&mut Policy) -> T) -> T {
        let (mut before, credential) = (self.sid(), self.credential());
        let (value, rearm) = {
            let mut policy = self.policy.borrow_mut();
            (act(&mut policy), policy.take_rearm())
        };
        loop {
            let output = self.policy.borrow_mut().poll_output();
            let Some(output) = output else { break };
            if let Output::Event(event) = output {
                self.hear(&event, before.as_deref(), credential);
                if matches!(event, Event::UserChanged | Event::SignedIn { .. }) {
                    before = self.sid();
                }
            }
        }
        if rearm {
            self.arm();
        }
        value
    }

    /// Nobody is told that a session is over unless it is.
    fn hear(&self, event: &Event, sid: Option<&str>, credential: Option<usize>) {
        self.note(|| format!("{event:?} (was {sid:?})"));
        let Some(sid) = sid else { return };
        match event {
            Event::Refreshed {
                elsewhere: true, ..
            } => self.world.count(|totals| totals.adopted += 1),
            Event::ReauthRequired(dead) => {
                self.check_death(sid, *dead, credential);
            }
            Event::SignedOut { .. } | Event::UserChanged => {
                self.world.check(self.is_gone(sid), || {
                    format!("{event:?}, but nobody signed out of {sid}")
                });
            }
            _ => {}
        }
    }

    /// Nobody has to sign in again unless the server ended the session, or the newest token is where
    /// nobody can get it.
    fn check_death(&self, sid: &str, dead: Dead, credential: Option<usize>) {
        let world = &self.world;
        world.count(|totals| totals.ended += 1);
        let over = world.server.borrow_mut().is_over(sid, world.scenario.grace);
        let ours = credential.is_some() && credential == world.server.borrow().newest(sid);
        let out_of_reach = world.scenario.copies && !ours && !world.is_at_hand(sid);
        if out_of_reach {
            self.stranded.borrow_mut().insert(sid.to_owned());
        }
        // A copy of a tab that was stranded is so from the start.
        let fine = over || self.stranded.borrow().contains(sid);
        world.check(fine, || {
            format!("ReauthRequired({dead:?}), but {sid} lives")
        });
        // The credential in hand was refused because an answer got lost. A copy of a tab cannot know,
        // and where a server does not always rotate, a later answer says that all is well.
        let knows = !world.scenario.copies && !world.scenario.lazy;
        let ours = self.credential();
        let lost = world
            .server
            .borrow()
            .find(sid)
            .and_then(|family| family.lost);
        if ours.is_some() && ours == lost && knows {
            world.count(|totals| totals.lost_responses += 1);
            world.check(dead == Dead::LostResponse, || {
                format!("told {dead:?}, and it was an answer that got lost")
            });
        }
    }

    /// Somebody signed out of this login, or it was replaced here.
    fn is_gone(&self, sid: &str) -> bool {
        self.world.gone.borrow().contains(sid) || self.gone.borrow().contains(sid)
    }

    /// The refresh credential that this tab has; a cookie is nobody's own.
    fn credential(&self) -> Option<usize> {
        let session = self.session()?;
        let token = match self.world.scenario.kind {
            Kind::Rotating => session.refresh_token,
            Kind::Sanctum => session.access_token,
            Kind::Cookie => None,
        };
        token.as_ref().map(number_in)
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

    /// The access token that a request of this tab carries.
    fn grant(&self) -> Option<usize> {
        if self.world.scenario.kind == Kind::Cookie {
            return self.world.jar.get();
        }
        self.session()
            .and_then(|session| session.access_token.as_ref().map(number_in))
    }

    // Storage.

    fn read_storage(self: &Rc<Self>) {
        let stored = self.stored();
        self.take_over(|policy| policy.adopt(&stored, self.world.clocks()));
        self.forget_the_dead();
    }

    /// What is over is over, even when its tombstone will be forgotten one day.
    fn forget_the_dead(&self) {
        for tombstone in self.world.tombstones.borrow().iter() {
            self.forget(&tombstone.sid);
        }
    }

    /// What storage says may end the session: then this tab's own record of it goes as well.
    fn take_over<T>(self: &Rc<Self>, act: impl FnOnce(&mut Policy) -> T) -> T {
        let before = self.sid();
        let value = self.with(act);
        if let Some(over) = before.filter(|before| self.sid().as_ref() != Some(before)) {
            self.forget(&over);
        }
        value
    }

    fn write_storage(self: &Rc<Self>) {
        self.keep_record();
        self.hint();
    }

    fn keep_record(&self) {
        let mut record = self.policy.borrow().record();
        if let Some(record) = &mut record {
            record.session.deadline = None;
            self.kept.replace(Some(record.clone()));
        }
    }

    fn forget(&self, sid: &str) {
        let mut kept = self.kept.borrow_mut();
        if kept
            .as_ref()
            .is_some_and(|record| record.session.sid == sid)
        {
            *kept = None;
        }
    }

    fn bury(&self, sid: &str, dead: Option<Dead>) {
        self.forget(sid);
        let tombstone = Tombstone {
            sid: sid.to_owned(),
            dead,
            ..Tombstone::default()
        };
        let mut tombstones = self.world.tombstones.borrow_mut();
        tombstones.insert(0, tombstone);
        tombstones.truncate(8);
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
        let place = Place::queue(self, self.lock_name(&sid));
        let granted = self.world.within(PATIENCE, place.granted()).await;
        self.read_storage();
        if granted != Some(true) {
            return self.kept_out(wanted);
        }
        if self.world.scenario.copies && !self.catch_up(&sid, wanted).await {
            return;
        }
        if !place.held() {
            return self.kept_out(wanted);
        }
        let plan = self.with(|policy| policy.plan_refresh(wanted, self.world.clocks(), true));
        if let Some(plan) = plan {
            // The write-ahead marker, without a hint.
            if plan.known.is_none() {
                self.keep_record();
            }
            self.call_with_deadline(plan).await;
        }
    }

    /// One lock per login, so that copies of one login wait for each other and nobody else; but there is
    /// only one cookie jar.
    fn lock_name<'a>(&self, sid: &'a str) -> &'a str {
        if self.world.scenario.kind == Kind::Cookie {
            return "the jar";
        }
        sid
    }

    fn kept_out(self: &Rc<Self>, wanted: Generation) {
        self.world.count(|totals| totals.kept_out += 1);
        self.with(|policy| policy.refresh_not_started(wanted));
    }

    /// Asks the copies of this tab for the newest token if that is not here (behaviour.md 5.9). False =
    /// it is not to be had.
    async fn catch_up(self: &Rc<Self>, sid: &str, wanted: Generation) -> bool {
        let noted = self.world.ledger.borrow().get(sid).copied();
        if !self.policy.borrow().is_behind(noted) {
            return true;
        }
        self.world.sleep(self.world.span(HANDOVER)).await;
        self.read_storage();
        for peer in self.world.awake_tabs() {
            // Somebody may have signed in here meanwhile.
            let same = |tab: &Rc<Self>| tab.sid().as_deref() == Some(sid);
            let newer = !peer.policy.borrow().is_behind(noted);
            if peer.id != self.id && newer && same(&peer) && same(self) {
                let record = peer.policy.borrow().record();
                let stored = Stored {
                    record,
                    ..self.stored()
                };
                self.take_over(|policy| policy.adopt(&stored, self.world.clocks()));
                self.keep_record();
            }
        }
        if self.sid().as_deref() != Some(sid) {
            return false;
        }
        let noted = self.world.ledger.borrow().get(sid).copied();
        if !self.policy.borrow().is_behind(noted) {
            self.world.count(|totals| totals.handed_over += 1);
            return true;
        }
        self.world.count(|totals| totals.left_behind += 1);
        let clocks = self.world.clocks();
        let commit = self.with(|policy| policy.left_behind(wanted, clocks, 0.25));
        self.obey(commit);
        false
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
            parcel.arrive(&answer, self.world.now.get());
            return self.commit(&plan, answer, sent);
        }
        flight.give_up();
        self.commit(&plan, RefreshAnswer::Failed(Failure::Timeout, None), sent);
    }

    fn launch(self: &Rc<Self>, plan: RefreshPlan, sent: Now) -> Rc<Flight> {
        let world = &self.world;
        let call = Calling {
            grant: self.grant(),
            sent: world.now.get(),
        };
        let (parcel, fault) = (Parcel::new(), world.refresh_fault());
        self.note(|| format!("refreshes {:?}, {fault:?}", call.grant));
        if world.scenario.chaos && world.rough.get() && world.odds(4) {
            self.disturb_soon();
        }
        let (fate, flight) = (Rc::clone(&parcel.0), Flight::new(&parcel));
        self.awaited.borrow_mut().push(Rc::clone(&fate));
        let (tab, sender, browser) = (Rc::clone(self), Rc::clone(&fate), Rc::clone(self));
        let aborted = Rc::clone(&flight);
        let answer = world.exchange_cookies(
            fault,
            move |world| world.serve_refresh(&call, &sender),
            move |reply| {
                if !aborted.given_up.get() {
                    browser.take_cookie(reply, &fate);
                }
            },
        );
        let landing = Rc::clone(&flight);
        self.spawn(async move {
            let reply = answer.get().await;
            let answer = tab.read_answer(&reply);
            if !landing.given_up.get() {
                landing.land(answer, parcel);
            } else if matches!(answer, RefreshAnswer::Tokens(_))
                && tab.world.scenario.kind != Kind::Cookie
            {
                tab.world.count(|totals| totals.late += 1);
                parcel.arrive(&answer, tab.world.now.get());
                tab.commit(&plan, answer, sent);
            }
        });
        flight
    }

    /// Kills or freezes this tab in the middle of its call.
    fn disturb_soon(self: &Rc<Self>) {
        let tab = Rc::clone(self);
        self.world.spawn(None, async move {
            let world = &tab.world;
            world.sleep(world.span(600)).await;
            if !world.rough.get() || !tab.alive.get() {
                return;
            }
            if world.odds(50) {
                freeze(world, &tab);
            } else if world.living_tabs().len() > 1 {
                replace(world, &tab);
            }
        });
    }

    /// The browser takes a cookie as soon as it is there, whatever the page does; if the page is gone,
    /// perhaps. A call that was given up is aborted: its cookie could be older than the one in the jar.
    fn take_cookie(&self, reply: &Reply, fate: &Cell<Fate>) {
        let world = &self.world;
        if world.scenario.kind != Kind::Cookie || !(self.alive.get() || world.odds(50)) {
            return;
        }
        if let Reply::Tokens(grant) = reply {
            world.note(|| format!("          the jar holds {grant}"));
            world.count(|totals| totals.cookies += 1);
            let before = world.jar.replace(Some(*grant));
            if fate.get() == Fate::Lost {
                fate.set(Fate::Late(world.now.get()));
                // Nobody can keep the answer of a page that is frozen or gone from taking the place of
                // a newer cookie.
                let mut server = world.server.borrow_mut();
                server.excuse(*grant, before);
            }
        }
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
        let stored = self.stored();
        let commit =
            self.take_over(|policy| policy.finish_refresh(plan, answer, timing, &stored, 0.25));
        self.note(|| format!("{commit:?}, now {:?}", self.grant()));
        self.obey(commit);
    }

    fn obey(self: &Rc<Self>, commit: Commit) {
        match commit {
            Commit::Store => {
                self.write_storage();
                self.note_rotation();
            }
            Commit::Clear(sid, dead) => {
                self.bury(&sid, Some(dead));
                self.hint();
            }
            Commit::Abandon(sid) => self.forget(&sid),
            Commit::Keep => {}
            Commit::Revoke(tokens) => {
                self.world.count(|totals| totals.revoked_late += 1);
                let grant = tokens.access_token.as_ref().map(number_in);
                // Copies of this tab may still be signed in: for them the answer is lost.
                if let Some(grant) = grant.filter(|_| self.world.scenario.copies) {
                    self.world.server.borrow_mut().throw_away(grant);
                }
                drop(self.say_goodbye(tokens.access_token.as_ref()));
            }
        }
    }

    /// Where every copy of this tab looks before it sends its credential.
    fn note_rotation(&self) {
        let Some(session) = self.session() else {
            return;
        };
        let mut ledger = self.world.ledger.borrow_mut();
        let newest = ledger.entry(session.sid).or_default();
        *newest = (*newest).max(session.credential_since);
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
        let over = over || world.is_lost(person, self);
        let gone = self.is_gone(person);
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
        let cookie = self.world.scenario.kind == Kind::Cookie;
        let grant = self.grant().filter(|_| bearer || cookie);
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

    /// Where tokens are cookies, the answer of a refresh under way would take the place of the new ones:
    /// it has to be in first.
    fn sign_in_soon(self: &Rc<Self>, person: &'static str) {
        if self.world.scenario.kind != Kind::Cookie {
            return self.sign_in(person);
        }
        let tab = Rc::clone(self);
        self.spawn(async move {
            let place = Place::queue(&tab, "the jar");
            let granted = tab.world.within(PATIENCE, place.granted()).await;
            if granted == Some(true) && place.held() && tab.world.rough.get() {
                tab.sign_in(person);
            }
        });
    }

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
        let former = self.expected().replace(Some(sid.clone()));
        let gone = if world.scenario.copies {
            &self.gone
        } else {
            &world.gone
        };
        gone.borrow_mut().extend(former);
        gone.borrow_mut().extend(self.sid());
        world.jar.set(Some(grant));
        world.count(|totals| totals.sign_ins += 1);
        self.note(|| format!("{sid} signs in with {grant}"));
        let remember = !world.scenario.copies;
        self.with(|policy| policy.sign_in(sid, tokens, timing, remember));
        self.write_storage();
        // Once the policy has seen its record there, it also notices when the record goes.
        self.read_storage();
    }

    /// Who should be signed in where this tab keeps its session.
    fn expected(&self) -> &RefCell<Option<String>> {
        if self.world.scenario.copies {
            &self.expected
        } else {
            &self.world.expected
        }
    }

    /// Signs out with the newest token that this browser has.
    fn sign_out(self: &Rc<Self>) {
        self.read_storage();
        let Some(sid) = self.sid() else { return };
        self.note(|| format!("{sid} signs out"));
        self.world.count(|totals| totals.sign_outs += 1);
        self.world.gone.borrow_mut().insert(sid.clone());
        self.world.nobody_expects(&sid);
        // The server does not know whom a copy's spent token belongs to, unless it keeps families.
        let known = !self.world.scenario.copies
            || self.world.scenario.logout_ends_family
            || self.credential() == self.world.server.borrow().newest(&sid);
        let session = self.with(|policy| policy.sign_out(self.world.clocks()));
        self.bury(&sid, None);
        self.hint();
        let Some(session) = session else { return };
        if self.world.scenario.kind != Kind::Cookie {
            if known {
                self.world.note_sign_out(&sid);
            }
            drop(self.say_goodbye(session.access_token.as_ref()));
            return;
        }
        // The answer of a refresh under way would put new cookies in place after the server has ended
        // the old ones.
        let tab = Rc::clone(self);
        self.spawn(async move {
            let place = Place::queue(&tab, "the jar");
            tab.world.within(PATIENCE, place.granted()).await;
            if tab.sid().is_none() {
                tab.world.note_sign_out(&sid);
                tab.say_goodbye(None).get().await;
            }
        });
    }

    /// Best effort, and with keepalive: it goes on when the tab is gone.
    fn say_goodbye(&self, token: Option<&Secret>) -> Rc<Promise<Reply>> {
        let world = &self.world;
        let cookie = world
            .jar
            .get()
            .filter(|_| world.scenario.kind == Kind::Cookie);
        let grant = token.map(number_in).or(cookie);
        let jar = Rc::clone(world);
        world.exchange_cookies(
            Fault::None,
            move |world| {
                let now = world.now.get();
                if let Some(grant) = grant {
                    let mut server = world.server.borrow_mut();
                    server.log_out(grant, now, &world.scenario);
                }
                Reply::Status(204, None, None)
            },
            // The answer takes the cookie away, whoever's it is by then.
            move |_| jar.jar.set(None),
        )
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
        let kind = self.scenario.kind;
        let server = self.server.borrow();
        let credential = server.grants[grant].credential;
        // A server that does not rotate this time gives no refresh token.
        let mut grants = server.grants.iter();
        let rotated = grants.position(|grant| grant.credential == credential) == Some(grant);
        let secret = |name: &str, number: usize| Secret::new(format!("{name}-{number}"));
        TokenSet {
            access_token: secret("access", grant).filter(|_| kind != Kind::Cookie),
            refresh_token: secret("refresh", credential)
                .filter(|_| kind == Kind::Rotating && rotated),
            lifetimes: Lifetimes {
                relative: Some(self.scenario.lifetime),
                ..Lifetimes::default()
            },
            refresh_lifetime: None,
            subject: None,
        }
    }

    fn note_sign_out(&self, sid: &str) {
        for family in &mut self.server.borrow_mut().families {
            family.signed_out |= family.sid == sid;
        }
    }

    fn nobody_expects(&self, sid: &str) {
        let tabs = self.tabs.borrow();
        let all = tabs.iter().map(|tab| &tab.expected);
        for expected in all.chain([&self.expected]) {
            let mut expected = expected.borrow_mut();
            *expected = expected.take().filter(|other| other != sid);
        }
    }

    fn awake_tabs(&self) -> Vec<Rc<Tab>> {
        let mut tabs = self.living_tabs();
        tabs.retain(|tab| !tab.frozen.get());
        tabs
    }

    /// Whether a tab that is awake has the newest credential of this login.
    fn is_at_hand(&self, sid: &str) -> bool {
        let newest = self.server.borrow().newest(sid);
        let has = |tab: &Rc<Tab>| tab.sid().as_deref() == Some(sid) && tab.credential() == newest;
        self.awake_tabs().iter().any(has)
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
    let first = Tab::open(&world, None);
    first.sign_in("ada");
    for _ in 1..world.scenario.tabs {
        Tab::open(&world, Some(&first));
    }
    let mut rough_until = world.now.get() + 3 * world.scenario.lifetime;
    if world.scenario.outage {
        rough_until = rough_until.max(world.outage.1 + MINUTE);
    }
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
        1 | 2 if scenario.people && tab.sid().is_none() && !tab.frozen.get() => {
            tab.sign_in_soon("ada");
        }
        3 if scenario.people && !tab.frozen.get() => tab.sign_in_soon("grace"),
        4 if scenario.chaos && tabs.len() > 1 => replace(world, tab),
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
        10 if !tab.frozen.get() && !scenario.outage => tab.wake_up(),
        11 if scenario.copies && tabs.len() < 5 => drop(Tab::open(world, Some(tab))),
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

/// Kills a tab and opens another.
fn replace(world: &Rc<World>, tab: &Rc<Tab>) {
    kill(world, tab);
    let tabs = world.living_tabs();
    Tab::open(world, Some(&tabs[world.below(tabs.len())]));
}

fn kill(world: &Rc<World>, tab: &Rc<Tab>) {
    world.note(|| format!("tab {} is killed", tab.id));
    world.count(|totals| totals.kills += u64::from(world.rough.get()));
    tab.alive.set(false);
    tab.frozen.set(false);
    tab.running.replace(None);
    tab.give_up_answers();
    world.drop_tasks(|owner| owner == Some(tab.id));
}

fn freeze(world: &Rc<World>, tab: &Rc<Tab>) {
    world.note(|| format!("tab {} freezes", tab.id));
    world.count(|totals| totals.freezes += 1);
    tab.naps.set(tab.naps.get() + 1);
    tab.frozen.set(true);
    // A page that is frozen gives its locks back; the others may well try what it is trying.
    tab.give_up_answers();
    if !world.scenario.leases {
        for (name, ticket) in tab.places.take() {
            world.leave_queue(&name, ticket);
        }
    }
    let (world, tab) = (Rc::clone(world), Rc::clone(tab));
    let nap = world.span(world.scenario.lifetime);
    world.clone().spawn(None, async move {
        world.sleep(nap).await;
        thaw(&world, &tab);
    });
}

impl Tab {
    /// What it waits for counts as lost from now on.
    fn give_up_answers(&self) {
        for fate in self.awaited.take() {
            if fate.get() == Fate::OnItsWay {
                fate.set(Fate::Lost);
            }
        }
    }
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
    for tab in world.living_tabs() {
        let expected = tab.expected().borrow().clone();
        let over = expected
            .as_deref()
            .is_some_and(|sid| world.is_lost(sid, &tab));
        let promise = tab.promise(move |tab| async move {
            reckon_tab(&tab, expected.as_deref(), over).await;
        });
        promise.get().await;
    }
    for tab in world.living_tabs() {
        let expected = tab.expected().borrow().clone();
        let over = expected
            .as_deref()
            .is_some_and(|sid| world.is_lost(sid, &tab));
        let kept = tab
            .kept
            .borrow()
            .as_ref()
            .map(|record| record.session.sid.clone());
        world.check(over || kept == expected, || {
            format!("storage holds {kept:?}, it should hold {expected:?}")
        });
    }
    reckon_server(world);
}

impl World {
    /// Nobody in this tab can go on with this login: the server ended it, or its newest token went with a tab.
    fn is_lost(&self, sid: &str, tab: &Tab) -> bool {
        let over = self
            .server
            .borrow()
            .find(sid)
            .is_some_and(|family| family.over);
        let out_of_reach = self.scenario.copies && !self.is_at_hand(sid);
        over || out_of_reach || tab.stranded.borrow().contains(sid)
    }
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
        let rotated = |grant: &Grant| server.fate(grant.credential);
        let lost = server.grants.iter().any(|other| {
            let fate = rotated(other);
            other.family == grant.family && fate.is_some_and(|fate| fate != Fate::Arrived)
        });
        let expired = world.scenario.kind == Kind::Sanctum && grant.expires <= world.now.get();
        let usable = rotated(grant).is_none() && !expired;
        world.check(!family.signed_out || family.over || lost || !usable, || {
            format!("token {id} of {} outlived the sign-out", family.sid)
        });
        // The cookie that the browser has is one that nobody can get rid of but the server.
        let kept = world.scenario.kind == Kind::Cookie && world.jar.get() == Some(id);
        world.check(
            !kept || !family.signed_out || family.over || !usable,
            || {
                format!(
                    "the cookie {id} of {} is alive after the sign-out",
                    family.sid
                )
            },
        );
    }
}
