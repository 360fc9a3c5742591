//! The rules of the policy, one test each, in virtual time and against a fake server that keeps
//! count. The numbers are those of behaviour.md; "known-failures" are rows of known-failures.md.
#![cfg(not(target_arch = "wasm32"))]

use keepfresh::policy::{
    Answer, Attempt, Code, Commit, Config, Dead, Error, Event, Failure, Field, Generation,
    Lifetimes, Log, Now, Output, Policy, RefreshAnswer, Secret, State, Status, Step, Stored,
    Timing, TokenSet, Unusable, Verdict, instant,
};
use std::collections::VecDeque;

mod policy {
    #![allow(
        clippy::wildcard_imports,
        reason = "the world is the language of these tests"
    )]

    mod endings;
    mod marker;
    mod records;
    mod servers;
    mod storms;
    mod tabs;
    mod waking;
}

const START: i64 = 1_763_640_000_000;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

// --- The world: one tab, one storage, one server, one clock ---------------------------------------

/// What the server saw and what it will say.
#[derive(Default)]
struct Server {
    /// Tokens that resources accept.
    accepted: Vec<String>,
    /// What resources were sent: the token, and the status they answered.
    seen: Vec<(Option<String>, u16)>,
    /// Credentials that the refresh endpoint was sent, in order.
    calls: Vec<String>,
    /// What the refresh endpoint answers; when empty it rotates.
    script: VecDeque<RefreshAnswer>,
    /// Lifetime of the tokens it issues.
    lifetime: i64,
    issued: u32,
    /// It has no refresh tokens (Sanctum).
    single: bool,
    /// Its tokens are cookies; this is the browser's.
    cookie: Option<String>,
}

impl Server {
    fn issue(&mut self) -> TokenSet {
        self.issued += 1;
        let access = format!("access-{}", self.issued);
        self.accepted = vec![access.clone()];
        if self.cookie.is_some() {
            self.cookie = Some(access);
            return TokenSet {
                access_token: None,
                ..tokens("in-a-cookie", None, Some(self.lifetime))
            };
        }
        let refresh = (!self.single).then(|| format!("refresh-{}", self.issued));
        tokens(&access, refresh.as_deref(), Some(self.lifetime))
    }

    fn refresh(&mut self, credential: Option<&Secret>) -> RefreshAnswer {
        let hidden = self.cookie.as_deref().unwrap_or("outside");
        let credential = credential.map_or(hidden, Secret::reveal);
        self.calls.push(credential.to_owned());
        match self.script.pop_front() {
            Some(answer) => answer,
            None => RefreshAnswer::Tokens(self.issue()),
        }
    }

    fn resource(&mut self, token: Option<&str>) -> u16 {
        let known = token.is_some_and(|token| self.accepted.iter().any(|known| known == token));
        let status = if known { 200 } else { 401 };
        self.seen.push((token.map(str::to_owned), status));
        status
    }

    fn sends_of(&self, token: &str) -> usize {
        let sent = |(seen, _): &&(Option<String>, u16)| seen.as_deref() == Some(token);
        self.seen.iter().filter(sent).count()
    }

    fn statuses(&self, status: u16) -> usize {
        self.seen.iter().filter(|(_, seen)| *seen == status).count()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Got(u16),
    Failed(Code),
}

struct World {
    config: Config,
    policy: Policy,
    now: Now,
    stored: Stored,
    server: Server,
    online: bool,
    revoked: Vec<String>,
    outside: Option<TokenSet>,
    loads: u32,
    printed: Vec<String>,
}

impl World {
    fn with(config: Config) -> Self {
        Self {
            policy: Policy::new(config.clone()),
            config,
            now: Now {
                wall: START,
                mono: 5 * SECOND,
            },
            stored: Stored::default(),
            server: Server {
                lifetime: HOUR,
                ..Server::default()
            },
            online: true,
            revoked: Vec::new(),
            outside: None,
            loads: 0,
            printed: Vec::new(),
        }
    }

    fn new() -> Self {
        Self::with(Config::default())
    }

    /// A person has just signed in; the token lives for `lifetime` ms.
    fn login(lifetime: i64) -> Self {
        Self::new().signed_in(lifetime)
    }

    fn sanctum(lifetime: i64) -> Self {
        let mut world = Self::with(Config {
            access_token_refreshes: true,
            codes_in_body: true,
            ..Config::default()
        });
        world.server.single = true;
        world.signed_in(lifetime)
    }

    fn strict(lifetime: i64) -> Self {
        Self::with(Config {
            strict: true,
            ..Config::default()
        })
        .signed_in(lifetime)
    }

    fn signed_in(mut self, lifetime: i64) -> Self {
        self.server.lifetime = lifetime;
        self.sign_in("ada");
        self.server.lifetime = HOUR;
        self.events();
        self
    }

    fn sign_in(&mut self, sid: &str) {
        let tokens = self.server.issue();
        let timing = self.timing(0);
        self.policy.sign_in(sid.to_owned(), tokens, timing, true);
        self.store();
    }

    /// Nobody has a token that the server takes.
    fn server_forgets(&mut self) {
        self.server.accepted.clear();
    }

    fn pass(&mut self, ms: i64) {
        self.now.wall += ms;
        self.now.mono += ms;
    }

    fn timing(&self, took: i64) -> Timing {
        Timing {
            sent: Now {
                wall: self.now.wall - took,
                mono: self.now.mono - took,
            },
            received: self.now,
            date: None,
        }
    }

    fn store(&mut self) {
        self.stored.record = self.policy.record();
        if let Some(record) = &mut self.stored.record {
            record.session.deadline = None;
        }
    }

    fn adopt(&mut self) {
        self.policy.adopt(&self.stored.clone(), self.now);
    }

    fn begin(&mut self) -> Attempt {
        self.policy.begin(false)
    }

    fn next(&mut self, attempt: &mut Attempt) -> Step {
        self.policy.next(attempt, self.now, || false)
    }

    /// Sends what `next` allowed to be sent; returns the status.
    fn send(&mut self, bearer: bool) -> u16 {
        let token = self.token().filter(|_| bearer);
        self.server.resource(token.as_deref())
    }

    fn token(&self) -> Option<String> {
        let session = self.policy.session()?;
        let token = session.access_token.as_ref();
        let known = token.map(|token| token.reveal().to_owned());
        known.or_else(|| self.server.cookie.clone())
    }

    /// The answer arrives. On a 401 the shell looks at storage first.
    fn hear(&mut self, attempt: &mut Attempt, status: u16) -> Verdict {
        if status == 401 {
            self.adopt();
        }
        self.policy.on_response(attempt, answer(status), self.now)
    }

    /// One whole request, alone.
    fn request(&mut self) -> Outcome {
        let mut attempt = self.begin();
        self.run(&mut attempt, 0)
    }

    /// Goes on with a request until its caller has an answer; `kept` is the 401 it already has.
    fn run(&mut self, attempt: &mut Attempt, mut kept: u16) -> Outcome {
        for _ in 0..10 {
            match self.next(attempt) {
                Step::Send { bearer } => {
                    let status = self.send(bearer);
                    if self.hear(attempt, status) != Verdict::Again {
                        return Outcome::Got(status);
                    }
                    kept = status;
                }
                Step::Refresh(wanted) => {
                    self.refresh(wanted);
                }
                Step::Load => self.load_outside(),
                Step::Return => return Outcome::Got(kept),
                Step::Fail(error) => return Outcome::Failed(error.code),
            }
        }
        panic!("a request that never ends: {attempt:?}");
    }

    /// What the shell does under the lock; `None` = no call went out.
    fn refresh(&mut self, wanted: Generation) -> Option<Commit> {
        self.adopt();
        let plan = self.policy.plan_refresh(wanted, self.now, self.online)?;
        let answer = if let Some(answer) = plan.known.clone() {
            answer
        } else {
            self.write_ahead();
            self.server.refresh(plan.credential.as_ref())
        };
        let (timing, stored) = (self.timing(100), self.stored.clone());
        let commit = self
            .policy
            .finish_refresh(&plan, answer, timing, &stored, 0.0);
        self.apply(commit.clone());
        Some(commit)
    }

    /// The marker of a call that goes out now.
    fn write_ahead(&mut self) {
        if !self.config.outside {
            self.store();
        }
    }

    /// A refresh that callers wait for, with the one retry that belongs to it.
    fn refresh_awaited(&mut self, wanted: Generation) {
        self.refresh(wanted);
        if let Some(pause) = self.policy.retry_in(wanted, self.now) {
            self.pass(pause);
            self.refresh(wanted);
        }
    }

    /// The page is opened anew, after so long; storage is all that is left.
    fn reload(&mut self, after: i64) {
        self.now.wall += after;
        self.now.mono = SECOND;
        self.policy = Policy::new(self.config.clone());
        self.policy.load(&self.stored.clone(), self.now);
    }

    /// Asks for a refresh of the token that is there now.
    fn refresh_now(&mut self) -> Option<Commit> {
        let wanted = self.policy.generation();
        self.refresh(wanted)
    }

    fn apply(&mut self, commit: Commit) {
        match commit {
            Commit::Store => self.store(),
            Commit::Clear(sid, dead) => self.bury(&sid, Some(dead)),
            Commit::Keep | Commit::Abandon(_) => {}
            Commit::Revoke(tokens) => self
                .revoked
                .push(tokens.access_token.as_ref().unwrap().reveal().to_owned()),
        }
    }

    fn bury(&mut self, sid: &str, dead: Option<Dead>) {
        let sid = sid.to_owned();
        if self
            .stored
            .record
            .as_ref()
            .is_some_and(|record| record.session.sid == sid)
        {
            self.stored.record = None;
        }
        let tombstone = self.policy.tombstone(sid, dead, self.now);
        self.stored.tombstones.insert(0, tombstone);
    }

    fn load_outside(&mut self) {
        self.loads += 1;
        let timing = self.timing(0);
        let answer = Ok(self.outside.clone());
        self.policy
            .outside_answered(answer, "outside".to_owned(), timing);
    }

    /// Another tab of the same browser refreshed and stored its token; returns that token.
    fn other_tab_refreshes(&mut self) -> String {
        let fresh = self.server.issue();
        let access = fresh.access_token.as_ref().unwrap().reveal().to_owned();
        let expires_at = Some(self.now.wall + self.server.lifetime);
        let record = self.stored.record.as_mut().expect("a stored session");
        record.session.rotation += 1;
        record.session.credential_since = record.session.rotation;
        record.session.access_token = fresh.access_token;
        record.session.refresh_token = fresh.refresh_token;
        record.session.issued_at = self.now.wall;
        record.session.expires_at = expires_at;
        access
    }

    fn other_tab_signs_in(&mut self, sid: &str) {
        let mut other = Self::new();
        other.now = self.now;
        other.server.issued = 100;
        other.sign_in(sid);
        self.stored.record = other.stored.record;
        self.server.accepted.push("access-101".to_owned());
    }

    /// The names of the events since the last call.
    fn events(&mut self) -> Vec<&'static str> {
        self.outputs()
            .iter()
            .filter_map(|output| match output {
                Output::Event(event) => Some(event.name()),
                Output::Log(_) => None,
            })
            .collect()
    }

    fn outputs(&mut self) -> Vec<Output> {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.policy.poll_output()).collect();
        self.printed.push(format!("{outputs:?}"));
        outputs
    }

    fn status(&self) -> Status {
        self.policy.status(self.now)
    }

    /// The one timer, if it is due within the next second.
    fn timer_tick(&mut self) {
        let due = self
            .policy
            .poll_timeout(self.now)
            .is_some_and(|wait| wait <= SECOND);
        if due && let Some(wanted) = self.policy.handle_timeout(self.now) {
            self.refresh(wanted);
        }
    }

    /// A request every second (and the timer, if it runs) for so long; every one must be answered 200.
    fn busy(&mut self, duration: i64, timer: bool) {
        for _ in 0..duration / SECOND {
            self.pass(SECOND);
            if timer {
                self.timer_tick();
            }
            assert_eq!(self.request(), Outcome::Got(200));
        }
    }
}

fn tokens(access: &str, refresh: Option<&str>, lifetime: Option<i64>) -> TokenSet {
    TokenSet {
        access_token: Some(secret(access)),
        refresh_token: refresh.map(secret),
        lifetimes: Lifetimes {
            relative: lifetime,
            ..Lifetimes::default()
        },
        refresh_lifetime: None,
        subject: None,
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).expect("a token")
}

fn answer(status: u16) -> Answer<'static> {
    Answer {
        status,
        replayable: true,
        ..Answer::default()
    }
}

fn refused(status: u16, code: Option<&str>) -> RefreshAnswer {
    RefreshAnswer::Failed(Failure::Status(status, code.map(str::to_owned)), None)
}

fn wait_for(status: u16, ms: i64) -> RefreshAnswer {
    RefreshAnswer::Failed(Failure::Status(status, None), Some(ms))
}

fn failed(failure: Failure) -> RefreshAnswer {
    RefreshAnswer::Failed(failure, None)
}

fn every_passing_fault() -> Vec<RefreshAnswer> {
    vec![
        refused(500, None),
        refused(502, None),
        refused(500, Some("invalid_grant")),
        wait_for(503, 20 * SECOND),
        wait_for(429, 20 * SECOND),
        refused(409, None),
        failed(Failure::Network),
        failed(Failure::Timeout),
        failed(Failure::Malformed(Unusable::Malformed)),
        failed(Failure::Redirected),
    ]
}

// --- One shared refresh --------------------------------------------------------------------------

// behaviour.md 7.1, 3.19; known-failures 1, 61
#[test]
fn fifty_requests_on_an_expired_token_make_one_plan_and_never_send_the_old_token() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let mut attempts: Vec<Attempt> = (0..50).map(|_| world.begin()).collect();
    let wanted = world.policy.generation();
    for attempt in &mut attempts {
        assert_eq!(world.next(attempt), Step::Refresh(wanted));
    }
    // Fifty shells that all take the lock in turn: the first refreshes, the others find it done.
    let calls = (0..50).filter_map(|_| world.refresh(wanted)).count();
    for attempt in &mut attempts {
        assert_eq!(world.run(attempt, 0), Outcome::Got(200));
    }
    assert_eq!((calls, world.server.calls.len()), (1, 1));
    assert_eq!(world.server.sends_of("access-1"), 0);
    assert_eq!(world.server.sends_of("access-2"), 50);
}

// behaviour.md 7.2, 3.12, 3.17; known-failures 1, 7, 10
#[test]
fn fifty_401s_make_one_refresh_and_fifty_replays() {
    let mut world = World::login(HOUR);
    world.server_forgets();
    let mut attempts: Vec<Attempt> = (0..50).map(|_| world.begin()).collect();
    for attempt in &mut attempts {
        assert_eq!(world.next(attempt), Step::Send { bearer: true });
        assert_eq!(world.send(true), 401);
    }
    for attempt in &mut attempts {
        assert_eq!(world.hear(attempt, 401), Verdict::Again);
    }
    for attempt in &mut attempts {
        assert_eq!(world.run(attempt, 401), Outcome::Got(200));
    }
    assert_eq!(world.server.calls, ["refresh-1"]);
    let answers = (world.server.statuses(401), world.server.statuses(200));
    assert_eq!(answers, (50, 50));
    assert_eq!(world.policy.metrics().replays, 50);
}

// behaviour.md 3.12, 3.19, 7.3; known-failures 7
#[test]
fn a_late_401_of_an_older_token_is_replayed_without_a_refresh() {
    let mut world = World::sanctum(HOUR);
    let mut straggler = world.begin();
    assert_eq!(world.next(&mut straggler), Step::Send { bearer: true });
    world.refresh_now();
    let status = world.server.resource(Some("access-1"));
    assert_eq!(world.hear(&mut straggler, status), Verdict::Again);
    assert_eq!(world.run(&mut straggler, 401), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 3.12, 5.8; known-failures 12
#[test]
fn a_401_that_another_tab_has_already_repaired_is_replayed_without_a_refresh() {
    let mut world = World::login(HOUR);
    world.other_tab_refreshes();
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 0);
    assert_eq!(world.server.sends_of("access-2"), 1);
    assert_eq!(world.policy.metrics().adopted, 1);
}

// behaviour.md 3.10, 7.4; known-failures 4
#[test]
fn the_401_of_a_replay_goes_to_the_caller() {
    let mut world = World::login(HOUR);
    world.server_forgets();
    let mut attempt = world.begin();
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Again);
    world.refresh_now();
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Done);
    assert_eq!(world.server.calls.len(), 1);
}

/// A request to an endpoint that answers 401 whatever the token is.
fn always_401(world: &mut World) -> usize {
    let mut attempt = world.begin();
    for sends in 1..5 {
        while let Step::Refresh(wanted) = world.next(&mut attempt) {
            world.refresh(wanted);
        }
        if world.hear(&mut attempt, 401) == Verdict::Done {
            return sends;
        }
        if let Step::Refresh(wanted) = world.next(&mut attempt) {
            world.refresh(wanted);
        }
    }
    panic!("sent five times");
}

// behaviour.md 2.13, 3.10, 3.16, 7.4; known-failures 4
#[test]
fn three_refused_fresh_tokens_within_a_minute_pause_refreshing_and_keep_the_session() {
    let mut world = World::login(HOUR);
    for _ in 0..3 {
        assert!(always_401(&mut world) <= 2);
    }
    assert_eq!(world.server.calls.len(), 3);
    let events = world.events();
    assert!(events.contains(&"circuit_opened"), "{events:?}");
    for _ in 0..20 {
        assert_eq!(always_401(&mut world), 1, "no replay while it is paused");
    }
    assert_eq!(world.server.calls.len(), 3);
    assert_eq!(world.status(), Status::Degraded);
    assert!(world.policy.session().is_some());
}

// behaviour.md 2.13: the guard holds for as long as the storm does, not for one pause
#[test]
fn a_storm_that_goes_on_stays_bounded_for_an_hour() {
    let mut world = World::login(DAY);
    for _ in 0..3600 {
        world.pass(SECOND);
        always_401(&mut world);
    }
    let calls = world.server.calls.len();
    assert!((3..=130).contains(&calls), "{calls} refreshes");
}

// behaviour.md 2.13: many requests that were replayed with one fresh token are one event
#[test]
fn one_refused_fresh_token_is_no_storm_however_many_requests_carried_it() {
    let mut world = World::login(HOUR);
    let mut attempts: Vec<Attempt> = (0..10).map(|_| world.begin()).collect();
    for attempt in &mut attempts {
        assert_eq!(world.next(attempt), Step::Send { bearer: true });
    }
    for attempt in &mut attempts {
        assert_eq!(world.hear(attempt, 401), Verdict::Again);
    }
    world.refresh_now();
    for attempt in &mut attempts {
        assert_eq!(world.next(attempt), Step::Send { bearer: true });
        assert_eq!(world.hear(attempt, 401), Verdict::Done);
    }
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 2.13, 2.12: a look at storage does not end a pause that only this tab knows of
#[test]
fn storage_without_a_pause_does_not_reopen_a_storm() {
    let mut world = World::login(HOUR);
    for _ in 0..3 {
        always_401(&mut world);
    }
    world.adopt();
    assert_eq!(world.status(), Status::Degraded);
}

// behaviour.md 2.13, 3.19: the storm does not depend on other requests failing too
#[test]
fn one_endpoint_that_always_says_401_does_not_poison_the_others_nor_refresh_without_end() {
    let mut world = World::login(DAY);
    for _ in 0..600 {
        world.pass(SECOND);
        always_401(&mut world);
        assert_eq!(world.request(), Outcome::Got(200));
    }
    let calls = world.server.calls.len();
    assert!(calls <= 60, "{calls} refreshes in ten minutes");
    assert!(world.policy.session().is_some());
}

// behaviour.md 2.16, 7.6; known-failures 5, 6
#[test]
fn a_caller_whose_refresh_fails_gets_its_own_401_back() {
    for fault in every_passing_fault() {
        let mut world = World::login(HOUR);
        world.server_forgets();
        world.server.script.push_back(fault.clone());
        assert_eq!(world.request(), Outcome::Got(401), "{fault:?}");
        assert_eq!(world.server.calls.len(), 1);
        assert_eq!(world.server.seen.len(), 1, "nothing is replayed");
    }
}

// behaviour.md 3.9, 2.5; known-failures 3
#[test]
fn the_refresh_endpoint_neither_waits_for_a_refresh_nor_starts_one() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let mut attempt = world.begin();
    let step = world.policy.next(&mut attempt, world.now, || true);
    assert_eq!(step, Step::Send { bearer: true });
    let exempt = Answer {
        exempt: true,
        ..answer(401)
    };
    let verdict = world.policy.on_response(&mut attempt, exempt, world.now);
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(world.server.calls.len(), 0);
}

// behaviour.md 2.7; known-failures 53
#[test]
fn nothing_but_a_401_is_a_reason_to_refresh() {
    let mut world = World::login(HOUR);
    for status in [0, 200, 204, 302, 400, 402, 403, 407, 419, 429, 500, 503] {
        let mut attempt = world.begin();
        world.next(&mut attempt);
        assert_eq!(world.hear(&mut attempt, status), Verdict::Done, "{status}");
        assert_eq!(world.status(), Status::Authenticated);
    }
    assert_eq!(
        world.policy.token_for(None, world.now).unwrap(),
        Some(&secret("access-1"))
    );
}

// behaviour.md 3.7, 4.24, 7.19; known-failures 49
#[test]
fn a_401_from_the_end_of_a_cross_origin_redirect_is_not_about_our_token() {
    let mut world = World::login(HOUR);
    let mut attempt = world.begin();
    world.next(&mut attempt);
    let away = Answer {
        redirected_away: true,
        ..answer(401)
    };
    let verdict = world.policy.on_response(&mut attempt, away, world.now);
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 0);
}

// behaviour.md 3.11, 4.10, 7.21; known-failures 9
#[test]
fn a_spent_stream_returns_its_401_and_the_next_request_refreshes() {
    let mut world = World::login(HOUR);
    world.server_forgets();
    let mut attempt = world.begin();
    world.next(&mut attempt);
    let spent = Answer {
        replayable: false,
        ..answer(401)
    };
    let verdict = world.policy.on_response(&mut attempt, spent, world.now);
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.server.sends_of("access-1"), 0);
}

// behaviour.md 3.6
#[test]
fn a_request_that_carried_no_token_is_nobodys_401() {
    let mut world = World::new();
    let mut attempt = world.begin();
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: false });
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Done);
    assert_eq!(world.policy.metrics().unauthorized, 0);
}

// --- Codes and challenges ------------------------------------------------------------------------

// behaviour.md 3.18, 7.27; document 003
#[test]
fn the_code_token_expired_refreshes_and_replays() {
    let mut world = World::sanctum(HOUR);
    world.server_forgets();
    let mut attempt = world.begin();
    world.next(&mut attempt);
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Peek);
    let code = Some("TOKEN_EXPIRED");
    let verdict = world
        .policy
        .on_code(&mut attempt, code, answer(401), world.now);
    assert_eq!(verdict, Verdict::Again);
    assert_eq!(world.run(&mut attempt, 401), Outcome::Got(200));
    assert_eq!(world.server.calls, ["access-1"]);
}

/// A request whose 401 says `TOKEN_REVOKED`.
fn revoked_request(world: &mut World) -> (Attempt, Verdict) {
    let mut attempt = world.begin();
    world.next(&mut attempt);
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Peek);
    let code = Some("TOKEN_REVOKED");
    let verdict = world
        .policy
        .on_code(&mut attempt, code, answer(401), world.now);
    (attempt, verdict)
}

// behaviour.md 3.15, 7.27; document 003
#[test]
fn the_code_token_revoked_ends_the_session_without_a_refresh_call() {
    let mut world = World::sanctum(HOUR);
    let (mut attempt, verdict) = revoked_request(&mut world);
    assert_eq!(verdict, Verdict::Again, "first a look under the lock");
    assert_eq!(world.run(&mut attempt, 401), Outcome::Got(401));
    assert_eq!(world.server.calls.len(), 0);
    assert_eq!(world.events(), ["reauth_required"]);
    assert_eq!(world.status(), Status::ReauthRequired);
    assert!(world.policy.session().is_none() && world.stored.record.is_none());
    assert_eq!(world.stored.tombstones[0].dead, Some(Dead::Revoked));
    assert_eq!(world.policy.metrics().refreshes, 0);
}

// behaviour.md 2.2, 3.15, 7.3: our own rotation revokes the old token, and its answer may be the
// later one of the two
#[test]
fn a_token_revoked_by_a_rotation_still_on_its_way_ends_nothing() {
    let mut world = World::sanctum(HOUR);
    let (mut attempt, verdict) = revoked_request(&mut world);
    assert_eq!(verdict, Verdict::Again);
    let Step::Refresh(wanted) = world.next(&mut attempt) else {
        panic!("it waits for the lock");
    };
    // The other tab, which held the lock, has stored its token by now.
    world.other_tab_refreshes();
    assert_eq!(world.refresh(wanted), None);
    assert_eq!(world.run(&mut attempt, 401), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 0);
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 2.2, 3.12, 7.3
#[test]
fn the_code_token_revoked_about_an_older_token_ends_nothing() {
    let mut world = World::sanctum(HOUR);
    let mut attempt = world.begin();
    world.next(&mut attempt);
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Peek);
    // The body is read asynchronously; meanwhile the refresh came back.
    world.refresh_now();
    let code = Some("TOKEN_REVOKED");
    let verdict = world
        .policy
        .on_code(&mut attempt, code, answer(401), world.now);
    assert_eq!(verdict, Verdict::Again);
    assert_eq!(world.run(&mut attempt, 401), Outcome::Got(200));
    assert_eq!(world.status(), Status::Authenticated);
    assert_eq!(world.refresh_now(), Some(Commit::Store), "nor later");
}

// behaviour.md 3.15: where nothing can rotate there is nothing to wait for
#[test]
fn without_a_refresh_endpoint_a_revoked_token_ends_the_session_at_once() {
    let mut world = World::with(Config {
        codes_in_body: true,
        refreshable: false,
        ..Config::default()
    })
    .signed_in(HOUR);
    let (_, verdict) = revoked_request(&mut world);
    assert_eq!(verdict, Verdict::Over(Dead::Revoked));
    assert_eq!(world.status(), Status::ReauthRequired);
}

// behaviour.md 3.14, 3.2, 3.5
#[test]
fn insufficient_scope_on_a_401_goes_to_the_caller() {
    let mut world = World::login(HOUR);
    for (challenge, verdict) in [
        (
            r#"Bearer realm="api", error="insufficient_scope""#,
            Verdict::Done,
        ),
        (r#"Bearer error="invalid_token""#, Verdict::Again),
        (
            r#"DPoP error="insufficient_scope", Bearer error="invalid_token""#,
            Verdict::Again,
        ),
    ] {
        let mut attempt = world.begin();
        let step = world.next(&mut attempt);
        if let Step::Refresh(wanted) = step {
            world.refresh(wanted);
            world.next(&mut attempt);
        }
        let told = Answer {
            challenge: Some(challenge),
            ..answer(401)
        };
        let got = world.policy.on_response(&mut attempt, told, world.now);
        assert_eq!(got, verdict, "{challenge}");
    }
}

// behaviour.md 3.4
#[test]
fn an_unreadable_challenge_does_not_stop_a_refresh() {
    let mut world = World::login(HOUR);
    world.server_forgets();
    let mut attempt = world.begin();
    world.next(&mut attempt);
    let garbage = Answer {
        challenge: Some("=,=\"\\"),
        ..answer(401)
    };
    let verdict = world.policy.on_response(&mut attempt, garbage, world.now);
    assert_eq!(verdict, Verdict::Again);
}

// --- The breaker ---------------------------------------------------------------------------------

// behaviour.md 2.10, 2.14; document 002
#[test]
fn a_refused_credential_is_never_sent_again() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.push_back(refused(401, None));
    for _ in 0..100 {
        world.request();
        world.timer_tick();
        world.adopt();
        world.pass(10 * MINUTE);
        world.policy.woke(world.now, true);
    }
    assert_eq!(world.server.calls, ["refresh-1"]);
    assert_eq!(world.events(), ["reauth_required"]);
    assert_eq!(world.status(), Status::ReauthRequired);
}

// behaviour.md 2.10, 2.14; known-failures 26
#[test]
fn two_counted_failures_open_the_breaker_and_the_pause_is_kept() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.extend(vec![refused(500, None); 2]);
    world.refresh_now();
    assert_eq!(
        world.refresh_now(),
        None,
        "backoff inside the closed breaker"
    );
    world.pass(SECOND);
    world.refresh_now();
    assert_eq!(world.server.calls.len(), 2);
    assert_eq!(
        world.events(),
        ["refresh_failed", "circuit_opened", "refresh_failed"]
    );
    assert_eq!(world.status(), Status::Degraded);
    for _ in 0..29 {
        world.pass(SECOND);
        assert_eq!(
            world.request(),
            Outcome::Got(200),
            "the stale token is sent"
        );
    }
    assert_eq!(world.server.calls.len(), 2);
    let error = world
        .policy
        .refresh_outcome(world.policy.generation(), world.now)
        .unwrap_err();
    assert_eq!(error.code, Code::CircuitOpen);
    assert_eq!(error.retry_at, Some(world.now.wall + SECOND));
}

fn opened(world: &mut World) {
    world.pass(2 * HOUR);
    world.server.script.extend(vec![refused(500, None); 2]);
    world.refresh_now();
    world.pass(SECOND);
    world.refresh_now();
    assert!(world.policy.retry_at(world.now).is_some());
}

// behaviour.md 2.12
#[test]
fn after_the_pause_one_probe_goes_out_and_its_success_closes_the_breaker() {
    let mut world = World::login(HOUR);
    opened(&mut world);
    world.pass(30 * SECOND);
    world.events();
    let mut attempts: Vec<Attempt> = (0..10).map(|_| world.begin()).collect();
    for attempt in &mut attempts {
        assert_eq!(world.run(attempt, 0), Outcome::Got(200));
    }
    assert_eq!(world.server.calls.len(), 3);
    assert_eq!(world.events(), ["circuit_closed", "refreshed"]);
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 2.10, 2.12
#[test]
fn failing_probes_double_the_pause_up_to_five_minutes() {
    let mut world = World::login(HOUR);
    opened(&mut world);
    for pause in [30, 60, 120, 240, 300, 300] {
        let left = world.policy.retry_at(world.now).unwrap() - world.now.wall;
        assert_eq!(left, pause * SECOND);
        world.pass(left - 1);
        assert_eq!(world.refresh_now(), None);
        world.pass(1);
        world.server.script.push_back(refused(503, None));
        assert!(world.refresh_now().is_some());
    }
}

// behaviour.md 2.5, 2.6, 2.10; known-failures 26
#[test]
fn retry_after_is_honoured_when_it_is_later() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.push_back(wait_for(503, 90 * SECOND));
    world.refresh_now();
    world.pass(90 * SECOND - 1);
    assert_eq!(world.refresh_now(), None);
    world.pass(1);
    assert_eq!(world.refresh_now(), Some(Commit::Store));
}

// behaviour.md 2.5; known-failures 26, 27
#[test]
fn a_429_waits_but_never_opens_the_breaker() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    for calls in 1..=10 {
        world.server.script.push_back(wait_for(429, 10 * SECOND));
        world.refresh_now();
        assert_eq!(world.server.calls.len(), calls);
        assert_eq!(world.refresh_now(), None);
        world.pass(10 * SECOND);
    }
    assert!(!world.events().contains(&"circuit_opened"));
    assert_eq!(world.request(), Outcome::Got(200));
}

// behaviour.md 2.12, 5.8: tabs share the pause through storage
#[test]
fn another_tab_learns_of_the_pause_from_storage() {
    let mut world = World::login(MINUTE);
    let mut other = Policy::new(Config::default());
    other.load(&world.stored, world.now);
    opened(&mut world);
    other.adopt(&world.stored, world.now);
    assert_eq!(other.status(world.now), Status::Degraded);
    assert_eq!(
        other.plan_refresh(other.generation(), world.now, true),
        None
    );
}

// behaviour.md 2.12: a tab that looks into storage does not forget its own failures
#[test]
fn waking_probes_early_although_storage_still_says_to_wait() {
    let mut world = World::login(HOUR);
    opened(&mut world);
    world.pass(6 * SECOND);
    world.policy.woke(world.now, true);
    assert_eq!(world.refresh_now(), Some(Commit::Store));
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 2.12
#[test]
fn waking_does_not_probe_a_breaker_that_has_just_opened() {
    let mut world = World::login(HOUR);
    opened(&mut world);
    world.pass(4 * SECOND);
    world.policy.woke(world.now, true);
    assert_eq!(world.refresh_now(), None);
}

// behaviour.md 2.9: what is known of the old credential does not hold for a new one
#[test]
fn a_new_sign_in_closes_the_breaker() {
    let mut world = World::login(HOUR);
    opened(&mut world);
    world.sign_in("ada-again");
    assert_eq!(world.status(), Status::Authenticated);
    assert!(world.refresh_now().is_some());
}

// behaviour.md 2.9, 2.13: nor does a storm of the last session concern the next one
#[test]
fn a_new_sign_in_ends_a_storm() {
    let mut world = World::login(HOUR);
    for _ in 0..3 {
        always_401(&mut world);
    }
    world.sign_in("grace");
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 2.4, 7.6; known-failures 25, 26
#[test]
fn no_passing_fault_ever_signs_anybody_out_or_clears_storage() {
    for fault in every_passing_fault() {
        let mut world = World::login(MINUTE);
        world.pass(2 * MINUTE);
        world.server.script.extend(vec![fault.clone(); 2]);
        for _ in 0..2 {
            assert_eq!(world.refresh_now(), Some(Commit::Store), "{fault:?}");
            world.pass(10 * MINUTE);
        }
        let kept = world.stored.record.as_ref().unwrap();
        assert_eq!(kept.session.refresh_token, Some(secret("refresh-1")));
        assert!(!kept.session.dead);
        let events = world.events();
        assert!(!events.contains(&"signed_out") && !events.contains(&"reauth_required"));
        assert_eq!(world.request(), Outcome::Got(200), "a good answer recovers");
        assert_eq!(world.status(), Status::Authenticated);
    }
}

// behaviour.md 2.1, 2.5
#[test]
fn three_ambiguous_answers_in_a_row_are_the_end_two_are_not() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.extend(vec![refused(403, None); 2]);
    for _ in 0..2 {
        world.refresh_now();
        world.pass(10 * MINUTE);
    }
    assert!(world.policy.session().is_some_and(|session| !session.dead));
    world.server.script.push_back(refused(403, None));
    let over = Commit::Clear("ada".to_owned(), Dead::Ambiguous);
    assert_eq!(world.refresh_now(), Some(over));
    assert_eq!(world.status(), Status::ReauthRequired);
}

// behaviour.md 2.1
#[test]
fn a_plain_fault_between_ambiguous_answers_starts_the_count_anew() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    for status in [403, 403, 500, 403, 403] {
        world.server.script.push_back(refused(status, None));
        world.refresh_now();
        world.pass(10 * MINUTE);
    }
    assert_eq!(world.server.calls.len(), 5);
    assert!(world.policy.session().is_some_and(|session| !session.dead));
}

// behaviour.md 2.1, 2.5
#[test]
fn a_wrong_configuration_stops_refreshing_and_keeps_the_session() {
    let unknown_type = failed(Failure::Malformed(Unusable::TokenType));
    for fault in [
        refused(400, Some("invalid_client")),
        refused(404, None),
        refused(422, None),
        unknown_type,
    ] {
        let mut world = World::login(MINUTE);
        world.pass(2 * MINUTE);
        world.server.script.push_back(fault.clone());
        assert_eq!(world.refresh_now(), Some(Commit::Store), "{fault:?}");
        for _ in 0..50 {
            world.pass(MINUTE);
            assert_eq!(world.request(), Outcome::Got(200));
        }
        assert_eq!(world.server.calls.len(), 1);
        assert_eq!(world.events(), ["refresh_failed"]);
        assert_eq!(world.policy.last_failure().unwrap().code, Code::Config);
        assert_eq!(world.policy.poll_timeout(world.now), None);
    }
}

// behaviour.md 5.14, 7.15; known-failures 28
#[test]
fn a_refusal_after_an_answer_was_lost_says_lost_response() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.push_back(failed(Failure::Timeout));
    world
        .server
        .script
        .push_back(refused(400, Some("invalid_grant")));
    world.refresh_now();
    world.pass(SECOND);
    let over = Commit::Clear("ada".to_owned(), Dead::LostResponse);
    assert_eq!(world.refresh_now(), Some(over));
    assert_eq!(world.server.calls, ["refresh-1", "refresh-1"]);
    world.sign_in("ada-again");
    assert_eq!(world.request(), Outcome::Got(200), "a login works at once");
}

// behaviour.md 5.5, 5.14: a page was gone before its answer came, and the answer revoked the token
#[test]
fn a_token_revoked_by_a_lost_rotation_says_lost_response() {
    let mut world = World::sanctum(HOUR);
    world.stored.record.as_mut().expect("a record").sent_at = Some(world.now.wall);
    world.server_forgets();
    let mut attempt = world.begin();
    world.next(&mut attempt);
    let status = world.send(true);
    assert_eq!(world.hear(&mut attempt, status), Verdict::Peek);
    let revoked = world
        .policy
        .on_code(&mut attempt, Some("TOKEN_REVOKED"), answer(401), world.now);
    assert_eq!(revoked, Verdict::Again);
    assert_eq!(world.run(&mut attempt, 401), Outcome::Got(401));
    let why = world.policy.ending().and_then(|ending| ending.dead);
    assert_eq!(why, Some(Dead::LostResponse));
    assert_eq!(world.server.calls.len(), 0, "a revoked token is not sent");
}

// behaviour.md 2.10: callers await at most one retry
#[test]
fn a_caller_waits_for_one_short_retry_and_only_when_it_needs_the_token() {
    let mut world = World::login(10 * MINUTE);
    world.pass(9 * MINUTE);
    let wanted = world.policy.generation();
    assert_eq!(world.policy.retry_in(wanted, world.now), None);
    world.server.script.extend(vec![refused(500, None); 2]);
    world.refresh(wanted);
    assert_eq!(
        world.policy.retry_in(wanted, world.now),
        None,
        "the token still lives"
    );
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    world.server.script.extend(vec![refused(500, None); 2]);
    world.refresh(wanted);
    assert_eq!(world.policy.retry_in(wanted, world.now), Some(SECOND));
    world.pass(SECOND);
    world.refresh(wanted);
    assert_eq!(
        world.policy.retry_in(wanted, world.now),
        None,
        "the breaker is open"
    );
}

// behaviour.md 5.19; known-failures 25, 32
#[test]
fn failures_right_after_waking_are_not_counted() {
    let mut world = World::login(MINUTE);
    world.pass(3 * HOUR);
    world.policy.woke(world.now, true);
    world
        .server
        .script
        .extend(vec![failed(Failure::Network); 1]);
    assert!(world.refresh_now().is_some());
    let state = world.policy.record().unwrap().breaker.state(world.now.wall);
    assert_eq!(state, State::Closed);
    assert_eq!(world.policy.record().unwrap().breaker.parts().0, 0);
    world.pass(10 * SECOND);
    assert_eq!(world.request(), Outcome::Got(200));
}

// --- Dead credentials ----------------------------------------------------------------------------

// behaviour.md 7.7, 2.3; known-failures 68
#[test]
fn a_refused_refresh_leaves_the_living_token_in_use_until_it_expires() {
    let mut world = World::login(10 * MINUTE);
    world.pass(500 * SECOND);
    world
        .server
        .script
        .push_back(refused(400, Some("invalid_grant")));
    for _ in 0..99 {
        assert_eq!(world.request(), Outcome::Got(200));
        world.timer_tick();
        world.pass(SECOND);
    }
    assert_eq!(world.events(), ["reauth_required"]);
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.status(), Status::ReauthRequired);
    assert!(world.policy.usable_session(world.now).is_some());
    world.pass(SECOND);
    assert!(world.policy.usable_session(world.now).is_none());
    assert_eq!(world.policy.token_for(None, world.now), Ok(None));
    assert_eq!(world.server.calls.len(), 1);
}

// behaviour.md 7.8, 2.2, 5.5; known-failures 12
#[test]
fn a_refusal_because_another_tab_was_faster_adopts_its_token() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let plan = world
        .policy
        .plan_refresh(world.policy.generation(), world.now, true)
        .unwrap();
    let theirs = world.other_tab_refreshes();
    let (timing, stored) = (world.timing(100), world.stored.clone());
    let commit = world.policy.finish_refresh(
        &plan,
        refused(400, Some("invalid_grant")),
        timing,
        &stored,
        0.0,
    );
    assert_eq!(commit, Commit::Keep);
    assert_eq!(world.token(), Some(theirs));
    assert_eq!(world.events(), ["refreshed"]);
}

// behaviour.md 2.10, 5.8: the other tabs must not try the dead credential either
#[test]
fn another_tab_learns_from_storage_that_the_credential_is_dead() {
    let mut world = World::login(10 * MINUTE);
    let mut other = Policy::new(Config::default());
    other.load(&world.stored, world.now);
    world.pass(500 * SECOND);
    world
        .server
        .script
        .push_back(refused(400, Some("invalid_grant")));
    world.refresh_now();
    other.adopt(&world.stored, world.now);
    assert_eq!(other.status(world.now), Status::ReauthRequired);
    assert_eq!(
        other.plan_refresh(other.generation(), world.now, true),
        None
    );
}

// behaviour.md 2.5, 2.10: the call before the refused one was slow, and its answer brings an access token only
#[test]
fn a_late_answer_does_not_bring_a_refused_credential_back_to_life() {
    let mut world = World::login(10 * MINUTE);
    let slow = world
        .policy
        .plan_refresh(world.policy.generation(), world.now, true)
        .expect("a plan");
    let answer = refused(400, Some("invalid_grant"));
    world.server.script.push_back(answer);
    world.refresh_now();
    let late = RefreshAnswer::Tokens(tokens("late", None, Some(MINUTE)));
    let (timing, stored) = (world.timing(0), world.stored.clone());
    let commit = world
        .policy
        .finish_refresh(&slow, late, timing, &stored, 0.0);
    assert_eq!(commit, Commit::Store);
    assert_eq!(
        world.token().as_deref(),
        Some("late"),
        "it works until it ends"
    );
    assert_eq!(world.policy.status(world.now), Status::ReauthRequired);
    assert_eq!(world.refresh_now(), None);
    assert_eq!(world.server.calls, ["refresh-1"]);
}

// behaviour.md 1.12, 2.5, 5.10: the first of two calls was slow, and only the second rotated
#[test]
fn a_new_refresh_token_is_kept_even_when_a_late_answer_came_before_it() {
    let mut world = World::login(10 * MINUTE);
    let plan = |world: &mut World| {
        let wanted = world.policy.generation();
        let plan = world.policy.plan_refresh(wanted, world.now, true);
        plan.expect("a plan")
    };
    let (slow, second) = (plan(&mut world), plan(&mut world));
    let finish = |world: &mut World, plan, tokens| {
        let (timing, stored) = (world.timing(0), world.stored.clone());
        let answer = RefreshAnswer::Tokens(tokens);
        let commit = world
            .policy
            .finish_refresh(plan, answer, timing, &stored, 0.0);
        world.apply(commit.clone());
        commit
    };
    let late = finish(&mut world, &slow, tokens("late", None, Some(MINUTE)));
    assert_eq!(late, Commit::Store);
    let rotated = tokens("new", Some("refresh-2"), Some(MINUTE));
    assert_eq!(finish(&mut world, &second, rotated), Commit::Store);
    assert_eq!(world.token().as_deref(), Some("new"));
    world.pass(MINUTE);
    world.refresh_now();
    assert_eq!(world.server.calls, ["refresh-2"]);
}

// behaviour.md 2.15, 5.8: a tab that missed the refresh that died learns of both
#[test]
fn a_dead_credential_that_comes_with_a_newer_token_is_told() {
    let mut world = World::login(10 * MINUTE);
    world.other_tab_refreshes();
    let record = world.stored.record.as_mut().expect("a stored session");
    (record.session.dead, record.indeterminate) = (true, true);
    world.adopt();
    assert_eq!(world.events(), ["refreshed", "reauth_required"]);
    let why = world.policy.ending().and_then(|ending| ending.dead);
    assert_eq!(why, Some(Dead::LostResponse));
    world.adopt();
    assert!(world.events().is_empty());
}

// behaviour.md 5.9, 5.10: copies of a tab count their refreshes each for itself
#[test]
fn of_two_copies_the_one_with_the_newer_credential_is_right() {
    let mut world = World::login(MINUTE);
    let mut copy = World::new();
    copy.policy.load(&world.stored, world.now);
    copy.now = world.now;
    for _ in 0..3 {
        copy.pass(MINUTE);
        let bare = tokens("bare", None, Some(MINUTE));
        copy.server.script.push_back(RefreshAnswer::Tokens(bare));
        copy.refresh_now();
    }
    let plan = copy
        .policy
        .plan_refresh(copy.policy.generation(), copy.now, true);
    world.pass(MINUTE);
    world.refresh_now();
    copy.stored = world.stored.clone();
    copy.adopt();
    assert_eq!(copy.token(), world.token());
    assert!(!copy.policy.is_behind(Some(1)));
    let late = RefreshAnswer::Tokens(tokens("late", None, Some(MINUTE)));
    let (timing, stored) = (copy.timing(0), copy.stored.clone());
    let plan = plan.expect("its token was past its end");
    let commit = copy
        .policy
        .finish_refresh(&plan, late, timing, &stored, 0.0);
    assert_eq!(commit, Commit::Keep);
    assert_eq!(copy.token(), world.token());
}

// behaviour.md 1.13
#[test]
fn a_refresh_token_past_its_end_is_not_sent() {
    let mut world = World::new();
    let mut set = world.server.issue();
    set.lifetimes.relative = Some(MINUTE);
    set.refresh_lifetime = Some(5 * MINUTE);
    let timing = world.timing(0);
    world.policy.sign_in("ada".to_owned(), set, timing, false);
    world.pass(6 * MINUTE);
    assert_eq!(world.refresh_now(), None);
    assert_eq!(world.server.calls.len(), 0);
}

// behaviour.md 1.12
#[test]
fn without_a_refresh_token_there_is_no_refresh_and_no_timer() {
    let mut world = World::new();
    let set = tokens("only", None, Some(MINUTE));
    let timing = world.timing(0);
    world.policy.sign_in("ada".to_owned(), set, timing, false);
    assert_eq!(world.policy.poll_timeout(world.now), None);
    world.pass(2 * MINUTE);
    assert_eq!(world.request(), Outcome::Got(401));
    assert_eq!(world.server.seen, [(Some("only".to_owned()), 401)]);
    assert_eq!(world.server.calls.len(), 0);
}

// behaviour.md 1.12, RFC 6749 §6; known-failures 30
#[test]
fn a_refresh_answer_without_a_refresh_token_keeps_the_old_one() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let bare = RefreshAnswer::Tokens(tokens("second", None, Some(MINUTE)));
    world.server.script.push_back(bare);
    world.refresh_now();
    world.pass(2 * MINUTE);
    world.refresh_now();
    assert_eq!(world.server.calls, ["refresh-1", "refresh-1"]);
    assert_eq!(
        world.stored.record.unwrap().session.refresh_token,
        Some(secret("refresh-2"))
    );
}

// --- Lifetimes and clocks ------------------------------------------------------------------------

// behaviour.md 7.17, 1.11; known-failures 31, 67
#[test]
fn no_lifetime_makes_a_loop() {
    for (seconds, span) in [
        (1, HOUR),
        (5, HOUR),
        (60, HOUR),
        (119, HOUR),
        (120, HOUR),
        (121, HOUR),
        (300, HOUR),
        (3_600, DAY),
        (31_536_000, DAY),
    ] {
        let mut world = World::login(seconds * SECOND);
        world.server.lifetime = seconds * SECOND;
        world.busy(span, true);
        let lead = if seconds < 10 {
            0
        } else {
            (seconds / 2).min(120)
        };
        let most = usize::try_from(span / SECOND / (seconds - lead) + 1).unwrap();
        let calls = world.server.calls.len();
        assert!(calls <= most, "{seconds} s: {calls} of at most {most}");
        assert!(seconds > 86_400 || calls + 2 >= most / 2, "{seconds} s");
    }
}

// behaviour.md 1.11: whatever the server says about lifetimes
#[test]
fn a_server_that_issues_dead_tokens_makes_no_loop_of_proactive_refreshes() {
    let mut world = World::login(HOUR);
    let past = Lifetimes {
        absolute: instant(&Field::Number(1.0)),
        ..Lifetimes::default()
    };
    for number in 0..2_000 {
        world
            .server
            .script
            .push_back(RefreshAnswer::Tokens(TokenSet {
                lifetimes: past,
                ..tokens("access-1", Some(&format!("r{number}")), None)
            }));
    }
    world.busy(HOUR, true);
    assert!(
        world.server.calls.len() <= 5,
        "{}",
        world.server.calls.len()
    );
}

// behaviour.md 5.20; known-failures 31
#[test]
fn the_timer_of_a_forty_day_token_never_exceeds_twelve_hours_and_never_fires_at_once() {
    let mut world = World::login(40 * DAY);
    for _ in 0..79 {
        let wait = world.policy.poll_timeout(world.now).unwrap();
        assert!((1..=12 * HOUR).contains(&wait), "{wait}");
        world.pass(wait);
        assert_eq!(world.policy.handle_timeout(world.now), None);
    }
    assert_eq!(world.server.calls.len(), 0);
}

// behaviour.md 5.20, 1.11
#[test]
fn the_timer_fires_two_minutes_before_the_end_and_refreshes_once() {
    let mut world = World::login(HOUR);
    let wait = world.policy.poll_timeout(world.now);
    assert_eq!(wait, Some(58 * MINUTE));
    world.pass(58 * MINUTE);
    let wanted = world.policy.handle_timeout(world.now).unwrap();
    world.refresh(wanted);
    assert_eq!(world.policy.handle_timeout(world.now), None);
    assert_eq!(
        world.policy.poll_timeout(world.now),
        Some(58 * MINUTE - 100)
    );
}

// behaviour.md 7.17, 1.10; known-failures 33
#[test]
fn a_jump_of_the_wall_clock_costs_one_refresh_at_most() {
    for jump in [HOUR, -HOUR, DAY, -DAY] {
        let mut world = World::login(HOUR);
        world.pass(MINUTE);
        world.now.wall += jump;
        world.busy(50 * MINUTE, true);
        let calls = world.server.calls.len();
        assert!(calls <= 1, "{jump}: {calls}");
        world.busy(10 * MINUTE, true);
        let calls = world.server.calls.len();
        assert!((1..=2).contains(&calls), "{jump}: {calls} later");
    }
}

// behaviour.md 1.10: the token really is over, whatever the wall clock says
#[test]
fn a_wall_clock_set_back_does_not_prolong_the_token() {
    let mut world = World::login(HOUR);
    world.now.wall -= DAY;
    world.pass(HOUR);
    world.server_forgets();
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.sends_of("access-1"), 0);
}

// behaviour.md 2.6, 1.10: nor does it prolong a pause, here or in a tab that learnt of it
#[test]
fn a_wall_clock_set_back_does_not_prolong_a_pause() {
    for jump in [HOUR, 3 * DAY] {
        let mut world = World::login(HOUR);
        let mut other = Policy::new(Config::default());
        other.load(&world.stored, world.now);
        opened(&mut world);
        other.adopt(&world.stored, world.now);
        world.now.wall -= jump;
        assert!(
            other
                .plan_refresh(other.generation(), world.now, true)
                .is_some()
        );
        world.pass(30 * SECOND);
        assert!(world.refresh_now().is_some());
    }
}

// behaviour.md 5.21, 7.17; known-failures 32
#[test]
fn three_hours_of_sleep_cost_one_refresh_and_no_request_with_the_old_token() {
    let mut world = World::login(HOUR);
    // A suspended computer: the wall clock went on, the monotonic one stood still, no timer ran.
    world.now.wall += 3 * HOUR;
    world.policy.woke(world.now, true);
    for _ in 0..20 {
        assert_eq!(world.request(), Outcome::Got(200));
    }
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.server.sends_of("access-1"), 0);
}

// behaviour.md 5.21, 7.17; known-failures 32
#[test]
fn nothing_depends_on_timers() {
    let mut world = World::login(10 * MINUTE);
    world.server.lifetime = 10 * MINUTE;
    world.busy(HOUR, false);
    let calls = world.server.calls.len();
    assert!((7..=8).contains(&calls), "{calls}");
    assert_eq!(world.server.statuses(401), 0);
}

/// The timer, armed again and again for as long as `poll_timeout` says, over so much time.
fn timer_alone(world: &mut World, duration: i64) -> usize {
    let (mut fired, end) = (0, world.now.wall + duration);
    while let Some(wait) = world.policy.poll_timeout(world.now) {
        world.pass(wait);
        if world.now.wall > end {
            break;
        }
        fired += 1;
        assert!(fired < 10_000, "the timer spins");
        if let Some(wanted) = world.policy.handle_timeout(world.now) {
            world.refresh(wanted);
        }
    }
    fired
}

// behaviour.md 5.20, 5.21; known-failures 25, 31, 35
#[test]
fn the_timer_never_spins_whatever_keeps_it_from_refreshing() {
    let mut offline = World::login(HOUR);
    offline.online = false;
    assert!(timer_alone(&mut offline, DAY) <= 2);
    let mut spent = World::login(HOUR);
    let mut record = spent.stored.record.clone().unwrap();
    record.session.rotation += 1;
    record.session.access_token = Some(secret("access-2"));
    record.session.refresh_expires_at = Some(START + MINUTE);
    spent.stored.record = Some(record);
    spent.adopt();
    assert!(timer_alone(&mut spent, DAY) <= 2);
    for fault in every_passing_fault() {
        let mut world = World::login(HOUR);
        world.server.script.extend(vec![fault.clone(); 1_000]);
        let fired = timer_alone(&mut world, DAY);
        assert!(fired <= 24 * 60 * 12, "{fault:?}: {fired}");
        assert_eq!(fired, world.server.calls.len(), "{fault:?}");
    }
    let mut refused = World::login(HOUR);
    refused.policy.adopt(&Stored::default(), refused.now);
    let mut attempt = refused.begin();
    refused.next(&mut attempt);
    refused.hear(&mut attempt, 401);
    assert_eq!(refused.policy.poll_timeout(refused.now), Some(0));
    assert!(timer_alone(&mut refused, HOUR) <= 2);
}

// behaviour.md 5.18
#[test]
fn a_hidden_tab_that_nobody_uses_does_not_keep_the_session_alive() {
    let mut world = World::login(HOUR);
    world.policy.set_visible(false, 0.0);
    assert_eq!(world.policy.poll_timeout(world.now), None);
    world.pass(59 * MINUTE);
    assert_eq!(world.policy.handle_timeout(world.now), None);
    world.policy.set_visible(true, 0.0);
    assert_eq!(world.policy.poll_timeout(world.now), Some(0));
    assert!(world.policy.handle_timeout(world.now).is_some());
}

// behaviour.md 5.18: "in the current token's lifetime"
#[test]
fn a_hidden_tab_stops_refreshing_once_a_whole_lifetime_passed_without_a_request() {
    let mut world = World::login(HOUR);
    assert_eq!(world.request(), Outcome::Got(200));
    world.policy.set_visible(false, 0.0);
    let start = world.now.wall;
    while world.now.wall - start < DAY {
        world.timer_tick();
        world.pass(SECOND);
    }
    let calls = world.server.calls.len();
    assert!((1..=2).contains(&calls), "{calls} refreshes in an idle day");
}

// behaviour.md 1.7, 1.5
#[test]
fn a_token_of_unknown_lifetime_lives_for_the_default_or_until_a_401() {
    let mut world = World::new();
    let timing = world.timing(0);
    let set = tokens("access-0", Some("refresh-0"), None);
    world.policy.sign_in("ada".to_owned(), set, timing, false);
    assert_eq!(
        world.policy.session().unwrap().expires_at,
        Some(START + 900_000)
    );
    let mut world = World::with(Config {
        default_lifetime: None,
        ..Config::default()
    });
    let set = tokens("access-0", Some("refresh-0"), None);
    world.policy.sign_in("ada".to_owned(), set, timing, false);
    world.server.accepted = vec!["access-0".to_owned()];
    world.pass(30 * DAY);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 0);
    assert_eq!(world.policy.poll_timeout(world.now), None);
    world.server_forgets();
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 1);
}

// behaviour.md 1.6
#[test]
fn a_lifetime_counts_from_the_moment_the_request_was_sent() {
    let mut world = World::new();
    let set = world.server.issue();
    let timing = world.timing(8 * SECOND);
    world.policy.sign_in("ada".to_owned(), set, timing, false);
    let session = world.policy.session().unwrap();
    assert_eq!(session.remaining(world.now), Some(HOUR - 8 * SECOND));
}

// --- Sign-out and other people -------------------------------------------------------------------

// behaviour.md 5.11, 7.13; known-failures 38
#[test]
fn a_refresh_that_returns_after_a_logout_is_revoked_and_changes_nothing() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let plan = world
        .policy
        .plan_refresh(world.policy.generation(), world.now, true)
        .unwrap();
    world.policy.sign_out(world.now);
    world.bury("ada", None);
    let late = RefreshAnswer::Tokens(world.server.issue());
    let (timing, stored) = (world.timing(100), world.stored.clone());
    let commit = world
        .policy
        .finish_refresh(&plan, late, timing, &stored, 0.0);
    assert!(
        matches!(&commit, Commit::Revoke(set) if set.access_token.as_ref().unwrap().reveal() == "access-2")
    );
    assert_eq!(world.status(), Status::SignedOut);
    assert_eq!(world.policy.record(), None);
    assert_eq!(world.events(), ["signed_out"]);
}

// behaviour.md 5.11, 5.16: the same where nothing can be stored
#[test]
fn without_storage_a_late_refresh_is_revoked_all_the_same() {
    let sign_out = |world: &mut World| drop(world.policy.sign_out(world.now));
    let sign_in = |world: &mut World| world.sign_in("grace");
    for change in [&sign_out as &dyn Fn(&mut World), &sign_in] {
        let mut world = World::login(MINUTE);
        world.pass(2 * MINUTE);
        let wanted = world.policy.generation();
        let plan = world.policy.plan_refresh(wanted, world.now, true).unwrap();
        change(&mut world);
        let (token, timing) = (world.token(), world.timing(100));
        let empty = Stored::default();
        let commit = world
            .policy
            .finish_refresh(&plan, late_tokens(), timing, &empty, 0.0);
        assert!(matches!(commit, Commit::Revoke(_)), "{commit:?}");
        assert_eq!(world.token(), token);
    }
}

/// A tab whose refresh call is on its way while something happens in storage.
fn overtaken_by(change: impl Fn(&mut World), answer: RefreshAnswer) -> (World, Commit) {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.adopt();
    let plan = world
        .policy
        .plan_refresh(world.policy.generation(), world.now, true)
        .unwrap();
    change(&mut world);
    let (timing, stored) = (world.timing(100), world.stored.clone());
    let commit = world
        .policy
        .finish_refresh(&plan, answer, timing, &stored, 0.0);
    (world, commit)
}

fn late_tokens() -> RefreshAnswer {
    RefreshAnswer::Tokens(tokens("late", Some("late-r"), Some(HOUR)))
}

// behaviour.md 5.10, 5.11; known-failures 38, 43
#[test]
fn a_refresh_that_returns_after_a_logout_in_another_tab_is_revoked() {
    let (world, commit) = overtaken_by(|world| world.bury("ada", None), late_tokens());
    assert!(matches!(commit, Commit::Revoke(_)));
    assert_eq!(world.status(), Status::SignedOut);
    assert_eq!(world.policy.record(), None);
}

// behaviour.md 5.10, 5.11; known-failures 71: logout, login and logout again while a tab slept
#[test]
fn a_refresh_that_returns_after_somebody_else_came_and_went_is_revoked() {
    let came_and_went = |world: &mut World| {
        world.bury("ada", None);
        world.other_tab_signs_in("grace");
        world.bury("grace", None);
    };
    let (world, commit) = overtaken_by(came_and_went, late_tokens());
    assert!(matches!(commit, Commit::Revoke(_)), "{commit:?}");
    assert_eq!(world.status(), Status::SignedOut);
}

// behaviour.md 5.10, 5.12; known-failures 37, 42
#[test]
fn a_refresh_that_returns_after_another_sign_in_does_not_overwrite_it() {
    let (mut world, commit) =
        overtaken_by(|world| world.other_tab_signs_in("grace"), late_tokens());
    assert!(matches!(commit, Commit::Revoke(_)), "{commit:?}");
    assert_eq!(world.policy.session().unwrap().sid, "grace");
    assert_eq!(world.events(), ["user_changed"]);
}

// behaviour.md 5.10, 5.12: a failure is no licence to write either
#[test]
fn a_refresh_that_fails_after_another_sign_in_does_not_overwrite_it() {
    for fault in [refused(500, None), refused(401, None)] {
        let (world, commit) = overtaken_by(|world| world.other_tab_signs_in("grace"), fault);
        assert_eq!(commit, Commit::Keep);
        assert_eq!(world.policy.session().unwrap().sid, "grace");
    }
}

// behaviour.md 5.10, 5.11
#[test]
fn a_refresh_that_fails_after_a_logout_in_another_tab_does_not_store_the_session_again() {
    for fault in [refused(500, None), refused(401, None)] {
        let (world, commit) = overtaken_by(|world| world.bury("ada", None), fault);
        assert_eq!(commit, Commit::Keep);
        assert_eq!(world.status(), Status::SignedOut);
    }
}

// behaviour.md 5.10: the only valid refresh token is in this answer
#[test]
fn a_refresh_result_does_not_replace_a_newer_one() {
    let (world, commit) = overtaken_by(
        |world| {
            world.other_tab_refreshes();
        },
        late_tokens(),
    );
    assert_eq!(commit, Commit::Keep);
    assert_eq!(world.token().as_deref(), Some("access-2"));
}

// behaviour.md 5.12, 3.8, 7.14; known-failures 42
#[test]
fn requests_that_waited_for_one_person_are_never_sent_as_another() {
    let mut world = World::login(HOUR);
    world.server_forgets();
    let (mut waiting, mut refused) = (world.begin(), world.begin());
    assert_eq!(world.next(&mut refused), Step::Send { bearer: true });
    assert_eq!(world.hear(&mut refused, 401), Verdict::Again);
    assert!(matches!(world.next(&mut waiting), Step::Refresh(_)));
    world.other_tab_signs_in("grace");
    world.adopt();
    assert_eq!(world.events(), ["user_changed"]);
    assert_eq!(
        world.next(&mut waiting),
        Step::Fail(Code::UserChanged.into())
    );
    assert_eq!(world.next(&mut refused), Step::Return);
    assert_eq!(world.server.sends_of("access-101"), 0);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.sends_of("access-101"), 1);
}

// behaviour.md 3.8, 7.14
#[test]
fn the_401_of_a_former_person_is_not_held_against_the_new_one() {
    let mut world = World::login(HOUR);
    let mut old = world.begin();
    world.next(&mut old);
    world.other_tab_signs_in("grace");
    assert_eq!(world.hear(&mut old, 401), Verdict::Done);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 0);
}

// behaviour.md 5.11, 2.16
#[test]
fn requests_that_waited_when_somebody_signed_out_are_not_sent() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let mut waiting = world.begin();
    assert!(matches!(world.next(&mut waiting), Step::Refresh(_)));
    world.policy.sign_out(world.now);
    assert_eq!(world.next(&mut waiting), Step::Fail(Code::SignedOut.into()));
    assert_eq!(world.server.seen, []);
}

// behaviour.md 5.8, 5.11, 2.15; known-failures 43, 44
#[test]
fn a_tombstone_of_another_tab_signs_this_one_out_once() {
    let mut world = World::login(HOUR);
    world.bury("ada", None);
    world.adopt();
    world.adopt();
    assert_eq!(world.events(), ["signed_out"]);
    assert_eq!(world.status(), Status::SignedOut);
    let mut attempt = world.begin();
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: false });
}

// behaviour.md 5.16: eviction of storage is not a sign-out
#[test]
fn an_emptied_storage_without_a_note_leaves_the_session_in_memory() {
    let mut world = World::login(HOUR);
    world.stored = Stored::default();
    world.adopt();
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.events(), [""; 0]);
}

// behaviour.md 5.7, 5.8; known-failures 71
#[test]
fn a_logout_and_a_login_while_this_tab_slept_are_noticed_by_session_id() {
    let mut world = World::login(HOUR);
    world.bury("ada", None);
    world.other_tab_signs_in("ada-again");
    let mut old = world.begin();
    world.next(&mut old);
    world.adopt();
    assert_eq!(world.policy.session().unwrap().sid, "ada-again");
    let events = world.events();
    assert_eq!(events.last(), Some(&"signed_in"), "{events:?}");
    assert_eq!(world.next(&mut old), Step::Fail(Code::UserChanged.into()));
}

// behaviour.md 5.8, 2.4: storage gets lost, and other logins come and go
#[test]
fn a_record_that_vanished_is_no_sign_out() {
    let mut world = World::login(HOUR);
    world.bury("somebody-before", None);
    world.adopt();
    world.stored.record = None;
    world.adopt();
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 5.8: another login's end in another tab's own storage is no news for this tab's own
#[test]
fn a_session_of_this_tab_alone_outlives_the_logout_of_another() {
    let mut world = World::login(HOUR);
    let timing = world.timing(0);
    let tokens = world.server.issue();
    world
        .policy
        .sign_in("own".to_owned(), tokens, timing, false);
    world.store();
    world.adopt();
    world.stored.record = None;
    world.bury("another", None);
    world.adopt();
    assert_eq!(world.status(), Status::Authenticated);
}

// behaviour.md 5.8; known-failures 45
#[test]
fn looking_at_an_unchanged_storage_tells_nobody_anything() {
    let mut world = World::login(HOUR);
    let revision = world.policy.revision();
    for _ in 0..10 {
        world.adopt();
    }
    assert_eq!(world.events(), [""; 0]);
    assert_eq!(world.policy.revision(), revision);
}

// behaviour.md 5.5, 5.7
#[test]
fn an_older_record_in_storage_is_ignored() {
    let mut world = World::login(HOUR);
    let old = world.stored.clone();
    world.refresh_now();
    world.policy.adopt(&old, world.now);
    assert_eq!(world.token().as_deref(), Some("access-2"));
}

// behaviour.md 2.15, 5.16; known-failures 59, 70
#[test]
fn a_page_starts_loading_and_then_has_the_stored_session_without_an_event() {
    let stored = World::login(HOUR).stored;
    let mut world = World::new();
    assert_eq!(world.status(), Status::Loading);
    world.policy.load(&stored, world.now);
    assert_eq!(world.status(), Status::Authenticated);
    assert_eq!(world.events(), [""; 0]);
    let mut empty = World::new();
    empty.policy.load(&Stored::default(), empty.now);
    assert_eq!(empty.status(), Status::Anonymous);
}

// document 002: an expired stored token is refreshed on load
#[test]
fn a_stored_token_that_expired_is_refreshed_before_the_first_request() {
    let mut first = World::login(MINUTE);
    first.pass(DAY);
    let mut world = World::new();
    world.now = first.now;
    world.stored = first.stored;
    let stored = world.stored.clone();
    world.policy.load(&stored, world.now);
    assert_eq!(world.policy.poll_timeout(world.now), Some(0));
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls, ["refresh-1"]);
    assert_eq!(world.server.seen.len(), 1);
}

// behaviour.md 2.10, 5.16
#[test]
fn a_stored_dead_session_is_not_taken_up_again() {
    let mut first = World::login(MINUTE);
    first.pass(30 * SECOND);
    first
        .server
        .script
        .push_back(refused(400, Some("invalid_grant")));
    first.refresh_now();
    assert!(first.stored.record.as_ref().unwrap().session.dead);
    let mut world = World::new();
    world.policy.load(&first.stored, first.now);
    assert_eq!(world.policy.status(first.now), Status::ReauthRequired);
    first.pass(HOUR);
    let mut world = World::new();
    world.policy.load(&first.stored, first.now);
    assert!(world.policy.session().is_none());
}

// behaviour.md 5.4; known-failures 15
#[test]
fn a_lock_that_cannot_be_had_is_a_timeout_that_keeps_the_session() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.policy.refresh_not_started(world.policy.generation());
    let outcome = world
        .policy
        .refresh_outcome(world.policy.generation(), world.now);
    assert_eq!(outcome.unwrap_err().code, Code::Timeout);
    assert!(world.refresh_now().is_some(), "and nothing is counted");
}

// --- Outside session source ----------------------------------------------------------------------

fn outside(lifetime: i64) -> World {
    let mut world = World::with(Config {
        outside: true,
        ..Config::default()
    });
    world.server.lifetime = lifetime;
    world.outside = Some(world.server.issue());
    world
}

// document 001
#[test]
fn the_answer_of_an_outside_source_is_believed_for_five_seconds() {
    let mut world = outside(HOUR);
    for _ in 0..50 {
        assert_eq!(world.request(), Outcome::Got(200));
        world.pass(99);
    }
    assert_eq!(world.loads, 1);
    assert_eq!(world.policy.metrics().cache_hits, 49);
    world.pass(50);
    world.request();
    assert_eq!(world.loads, 2);
    assert_eq!(world.events(), [""; 0], "nothing changed");
}

// document 001
#[test]
fn the_cache_is_dropped_on_a_401_on_an_error_on_sign_out_and_on_request() {
    let mut world = outside(HOUR);
    world.request();
    assert!(!world.policy.cache_is_stale(world.now));
    world.policy.clear_cache(world.now);
    assert!(world.policy.cache_is_stale(world.now));
    world.request();
    let timing = world.timing(0);
    world
        .policy
        .outside_answered(Err(()), "x".to_owned(), timing);
    assert!(world.policy.cache_is_stale(world.now));
    assert!(
        world.policy.session().is_some(),
        "an error signs nobody out"
    );
    world.request();
    world.policy.sign_out(world.now);
    assert!(world.policy.cache_is_stale(world.now));
    let mut world = outside(HOUR);
    world.request();
    let mut attempt = world.begin();
    world.next(&mut attempt);
    world.hear(&mut attempt, 401);
    assert!(world.policy.cache_is_stale(world.now));
}

// document 001; behaviour.md 3.12: the app's auth library refreshed behind our back
#[test]
fn a_token_that_changed_in_the_outside_source_repairs_a_401_without_a_refresh() {
    let mut world = outside(HOUR);
    world.request();
    let fresh = world.server.issue();
    world.outside = Some(fresh);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!((world.loads, world.server.calls.len()), (2, 0));
    assert_eq!(world.server.sends_of("access-2"), 1);
    assert_eq!(world.events(), ["refreshed"]);
}

// behaviour.md 3.8, 5.12: the owner of the source signed in as somebody else
#[test]
fn tokens_of_another_person_from_the_outside_source_replay_nothing() {
    let mut world = outside(HOUR);
    world.outside.as_mut().unwrap().subject = Some("ada".to_owned());
    world.request();
    let mut attempt = world.begin();
    world.next(&mut attempt);
    world.hear(&mut attempt, 401);
    let mut theirs = world.server.issue();
    theirs.subject = Some("grace".to_owned());
    world.outside = Some(theirs);
    world.load_outside();
    assert_eq!(world.events(), ["user_changed"]);
    assert_eq!(world.next(&mut attempt), Step::Return, "nothing is sent");
}

// document 001
#[test]
fn an_outside_source_that_gives_the_same_token_again_is_not_asked_in_a_loop() {
    let mut world = outside(MINUTE);
    world.request();
    world.pass(31 * SECOND);
    let same = world.outside.clone().unwrap();
    for _ in 0..3_600 {
        world
            .server
            .script
            .push_back(RefreshAnswer::Tokens(TokenSet {
                lifetimes: Lifetimes {
                    relative: Some(10 * SECOND),
                    ..Lifetimes::default()
                },
                ..same.clone()
            }));
        world.pass(SECOND);
        world.timer_tick();
        assert_eq!(world.request(), Outcome::Got(200));
    }
    let calls = world.server.calls.len();
    assert!(calls <= 3_600 / 5, "{calls} in an hour of 10 s promises");
    assert!(!world.events().contains(&"refreshed"), "nothing changed");
}

// document 001
#[test]
fn an_outside_source_without_a_session_signs_this_client_out() {
    let mut world = outside(HOUR);
    world.request();
    world.outside = None;
    world.pass(5 * SECOND);
    let mut attempt = world.begin();
    assert_eq!(world.next(&mut attempt), Step::Load);
    world.load_outside();
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: false });
    assert_eq!(world.events(), ["signed_out"]);
    let mut world = outside(HOUR);
    world.request();
    world.server.script.push_back(RefreshAnswer::NoSession);
    assert_eq!(world.refresh_now(), Some(Commit::Keep));
    assert_eq!(world.status(), Status::SignedOut);
}

// --- Options and edges of a request --------------------------------------------------------------

// behaviour.md 2.11
#[test]
fn strict_mode_rejects_instead_of_sending_a_dead_token() {
    let mut world = World::strict(HOUR);
    opened(&mut world);
    assert_eq!(world.request(), Outcome::Failed(Code::CircuitOpen));
    assert_eq!(world.server.seen, []);
    let mut lax = World::login(HOUR);
    opened(&mut lax);
    assert_eq!(lax.request(), Outcome::Got(200));
    assert_eq!(lax.server.sends_of("access-1"), 1);
}

// behaviour.md 2.11, 1.11: nor does it in the short time in which it may not refresh again
#[test]
fn strict_mode_sends_no_token_that_died_right_after_its_refresh() {
    let mut world = World::strict(MINUTE);
    world.pass(2 * MINUTE);
    let brief = RefreshAnswer::Tokens(tokens("brief", Some("brief-r"), Some(200)));
    world.server.script.push_back(brief);
    world.refresh_now();
    world.pass(300);
    assert_eq!(world.request(), Outcome::Failed(Code::RefreshFailed));
    assert_eq!(world.server.sends_of("brief"), 0);
    world.pass(SECOND);
    assert_eq!(world.request(), Outcome::Got(200));
}

// behaviour.md 2.11, 2.16: nor does it replay with a token that is dead already
#[test]
fn strict_mode_returns_the_401_when_the_new_token_is_dead_too() {
    let mut world = World::strict(HOUR);
    world.server_forgets();
    let mut attempt = world.begin();
    world.next(&mut attempt);
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Again);
    let Step::Refresh(wanted) = world.next(&mut attempt) else {
        panic!("it refreshes");
    };
    let brief = RefreshAnswer::Tokens(tokens("brief", Some("brief-r"), Some(150)));
    world.server.script.push_back(brief);
    world.refresh(wanted);
    world.pass(200);
    assert_eq!(world.run(&mut attempt, 401), Outcome::Got(401));
    assert_eq!(world.server.sends_of("brief"), 0);
}

// behaviour.md 2.11: strict is about dead tokens only
#[test]
fn strict_mode_sends_a_living_token_while_refreshing_is_paused() {
    let mut world = World::strict(10 * MINUTE);
    world.pass(9 * MINUTE);
    world.server.script.extend(vec![refused(500, None); 2]);
    world.refresh_now();
    world.pass(SECOND);
    world.refresh_now();
    assert_eq!(world.request(), Outcome::Got(200));
}

// behaviour.md 4.5
#[test]
fn a_keepalive_request_of_a_leaving_page_waits_for_nothing() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let mut attempt = world.policy.begin(true);
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
    let mut world = outside(HOUR);
    world.request();
    world.pass(MINUTE);
    let mut attempt = world.policy.begin(true);
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
}

// behaviour.md 2.5, 2.4; known-failures 25
#[test]
fn offline_nobody_is_called_nothing_is_counted_and_the_session_stays() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.online = false;
    for _ in 0..10 {
        assert_eq!(world.refresh_now(), None);
    }
    assert_eq!(world.policy.last_failure().unwrap().code, Code::Offline);
    assert_eq!(world.server.calls.len(), 0);
    world.online = true;
    world.policy.woke(world.now, true);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.policy.last_failure(), None);
}

// product.md getAccessToken({ minValidity })
#[test]
fn a_token_for_a_long_job_is_refreshed_when_too_little_life_is_left() {
    let mut world = World::login(HOUR);
    world.pass(30 * MINUTE);
    let (now, wanted) = (world.now, world.policy.generation());
    let token_for = |policy: &Policy, min| {
        policy
            .token_for(min, now)
            .map(|token| token.map(|token| token.reveal().to_owned()))
    };
    let first = Ok(Some("access-1".to_owned()));
    assert_eq!(token_for(&world.policy, None), first);
    assert_eq!(token_for(&world.policy, Some(29 * MINUTE)), first);
    assert_eq!(token_for(&world.policy, Some(31 * MINUTE)), Err(wanted));
    world.refresh(wanted);
    let second = Ok(Some("access-2".to_owned()));
    assert_eq!(token_for(&world.policy, Some(31 * MINUTE)), second);
    assert_eq!(World::new().policy.token_for(None, now), Ok(None));
}

// behaviour.md 1.11: a wish that no token can fulfil is not a loop
#[test]
fn asking_for_more_life_than_tokens_have_refreshes_at_most_once_per_quarter_of_it() {
    let mut world = World::login(HOUR);
    for _ in 0..3_600 {
        world.pass(SECOND);
        if let Err(wanted) = world.policy.token_for(Some(2 * HOUR), world.now) {
            world.refresh(wanted);
        }
    }
    assert!(
        world.server.calls.len() <= 5,
        "{}",
        world.server.calls.len()
    );
}

// behaviour.md 5.5: a refresh that somebody asked for by hand happens once, too
#[test]
fn refreshes_asked_for_by_hand_at_the_same_time_are_one() {
    let mut world = World::login(HOUR);
    let wanted = world.policy.generation();
    assert_eq!(world.refresh(wanted), Some(Commit::Store));
    assert_eq!(world.refresh(wanted), None);
    assert_eq!(world.policy.refresh_outcome(wanted, world.now), Ok(()));
    assert_eq!(world.server.calls.len(), 1);
}

// document 003: more than ten refreshes an hour
#[test]
fn eleven_refreshes_within_an_hour_are_reported_once() {
    let mut world = World::login(HOUR);
    for _ in 0..40 {
        world.pass(MINUTE);
        world.refresh_now();
    }
    let events = world.events();
    let reports = events.iter().filter(|name| **name == "suspicious_activity");
    assert_eq!(reports.count(), 1);
    let mut honest = World::login(HOUR);
    for _ in 0..100 {
        honest.pass(6 * MINUTE + SECOND);
        honest.refresh_now();
    }
    assert!(!honest.events().contains(&"suspicious_activity"));
}

// product.md metrics(); document 002
#[test]
fn the_metrics_count_what_happened() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.push_back(refused(500, None));
    world.request();
    world.pass(SECOND);
    world.request();
    world.server_forgets();
    world.request();
    let metrics = *world.policy.metrics();
    assert_eq!((metrics.requests, metrics.sign_ins), (3, 1));
    assert_eq!((metrics.refreshes, metrics.failures), (3, 1));
    assert_eq!((metrics.unauthorized, metrics.replays), (1, 1));
    assert_eq!(
        (metrics.last_refresh, metrics.average_refresh()),
        (100, 100)
    );
}

// --- Secrets -------------------------------------------------------------------------------------

// behaviour.md 6.11, 7.23; known-failures 50, 51
#[test]
fn no_token_is_in_anything_that_prints() {
    let mut world = World::with(Config {
        debug: true,
        ..Config::default()
    });
    let canary = |number: u32| {
        tokens(
            &format!("canary-a{number}"),
            Some(&format!("canary-r{number}")),
            Some(MINUTE),
        )
    };
    let timing = world.timing(0);
    world
        .policy
        .sign_in("ada".to_owned(), canary(1), timing, false);
    world.store();
    for step in 2..12_u32 {
        world.pass(2 * MINUTE);
        let answer = match step % 3 {
            0 => refused(500, None),
            _ => RefreshAnswer::Tokens(canary(step)),
        };
        world.server.script.push_back(answer);
        let mut attempt = world.begin();
        world.run(&mut attempt, 0);
        let plan = world
            .policy
            .plan_refresh(world.policy.generation(), world.now, true);
        let session = world.policy.session();
        world.printed.push(format!(
            "{attempt:?} {plan:?} {session:?} {:?}",
            world.policy
        ));
        world
            .printed
            .push(format!("{:?} {:?}", world.stored, canary(step)));
    }
    world
        .printed
        .push(format!("{:?}", Commit::Revoke(canary(1))));
    world
        .printed
        .push(format!("{:?}", RefreshAnswer::Tokens(canary(1))));
    if let Some(error) = world.policy.last_failure() {
        world.printed.push(format!("{error} {error:?}"));
    }
    world.outputs();
    assert!(
        world
            .server
            .calls
            .iter()
            .any(|call| call.contains("canary"))
    );
    let printed = world.printed.concat();
    assert!(printed.len() > 5_000, "there was something to print");
    assert!(!printed.contains("canary"), "{printed}");
}

/// A tab that started with a copy of this one's storage.
fn copy_of(world: &World) -> World {
    let mut copy = World::with(world.config.clone());
    copy.server.cookie.clone_from(&world.server.cookie);
    copy.now = world.now;
    copy.stored = world.stored.clone();
    copy.policy.load(&copy.stored, copy.now);
    copy
}

// 5.9, 7.16, known-failures 69: each copy may have had any number of access tokens in between.
#[test]
fn between_copies_of_a_tab_the_credential_tells_which_is_newer() {
    let mut world = World::login(HOUR);
    let mut copy = copy_of(&world);
    for n in 2..5 {
        let access_only = tokens(&format!("access-{n}"), None, Some(HOUR));
        let answer = RefreshAnswer::Tokens(access_only);
        world.server.script.push_back(answer);
        world.refresh_now();
    }
    assert!(!copy.policy.is_behind(None) && !copy.policy.is_behind(Some(0)));
    copy.server.issued = 7;
    copy.refresh_now();
    assert!(world.policy.is_behind(Some(1)));
    // What is older is not taken, whatever its count.
    let older = world.stored.clone();
    copy.policy.adopt(&older, copy.now);
    assert_eq!(copy.token().as_deref(), Some("access-8"));
    world.stored = copy.stored.clone();
    world.adopt();
    assert_eq!(world.token().as_deref(), Some("access-8"));
    assert!(!world.policy.is_behind(Some(1)));
    world.policy.adopt(&older, world.now);
    assert_eq!(world.token().as_deref(), Some("access-8"));
}

// product.md, document 000: what the log says of each request
#[test]
fn the_log_tells_the_age_of_the_token_and_nothing_of_the_token() {
    let mut world = World::with(Config {
        debug: true,
        ..Config::default()
    })
    .signed_in(HOUR);
    world.pass(10 * MINUTE);
    world.request();
    let told = Output::Log(Log::UsingToken {
        age: 10 * MINUTE,
        expires_in: Some(50 * MINUTE),
    });
    assert!(world.outputs().contains(&told));
}

// product.md KeepfreshError
#[test]
fn failures_say_whether_trying_again_can_help() {
    for (code, retryable) in [
        (Code::CircuitOpen, true),
        (Code::Offline, true),
        (Code::Timeout, true),
        (Code::TokenExpired, false),
        (Code::TokenRevoked, false),
        (Code::UserChanged, false),
    ] {
        assert_eq!(Error::new(code).code.retryable(), retryable, "{code:?}");
    }
    let opened = Event::CircuitOpened {
        retry_at: 1,
        storm: true,
    };
    assert_eq!(opened.name(), "circuit_opened");
}

// 2.10, 3.17: the pause before the second call belongs to the refresh that all share
#[test]
fn a_401_in_the_pause_of_a_running_refresh_waits_for_its_second_call() {
    let mut world = World::login(HOUR);
    world.server_forgets();
    let fault = Failure::Status(503, None);
    world
        .server
        .script
        .push_back(RefreshAnswer::Failed(fault, None));
    let (mut first, mut late) = (world.begin(), world.begin());
    world.next(&mut first);
    world.next(&mut late);
    assert_eq!(world.hear(&mut first, 401), Verdict::Again);
    let wanted = world.policy.generation();
    assert_eq!(world.next(&mut first), Step::Refresh(wanted));
    world.policy.set_refreshing(true);
    world.refresh(wanted);
    assert_eq!(world.hear(&mut late, 401), Verdict::Again);
    assert_eq!(world.next(&mut late), Step::Refresh(wanted));
    // Without a refresh that runs, the answer is handed on (2.14).
    world.policy.set_refreshing(false);
    let mut later = world.begin();
    world.next(&mut later);
    assert_eq!(world.hear(&mut later, 401), Verdict::Done);
}
