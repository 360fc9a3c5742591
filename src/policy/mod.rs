//! Decides; knows no browser, no clock and no storage.

mod attempt;
mod breaker;
mod challenge;
mod config;
mod ending;
mod error;
mod event;
mod expiry;
mod metrics;
mod origin;
mod preset;
mod record;
mod refresh;
mod response;
mod session;
mod status;
mod stored;

use std::collections::VecDeque;

pub use attempt::{Answer, Attempt, Step, Verdict};
pub use breaker::{Breaker, Limits, State};
pub use challenge::bearer_error;
pub use config::Config;
pub use ending::Ending;
pub use error::{Code, Error};
pub use event::{Event, Log, Output, Suspicion};
pub use expiry::{Field, Lifetimes, Now, Timing, http_date, instant, iso8601, jwt_payload};
pub use metrics::Metrics;
pub use origin::{Origins, is_secure};
pub use preset::{CSRF, Carrier, Goodbye, Hello, Preset};
pub use record::{Record, Tombstone};
pub use refresh::{Commit, RefreshAnswer, RefreshPlan, retry_after};
pub use response::{
    Body, Class, Dead, DeadCodes, Dialect, Failure, TokenFields, TokenSet, Unusable, classify,
    error_code, read_tokens, refuses_csrf, reports_error,
};
pub use session::{Generation, Secret, Session};
pub use status::Status;
pub use stored::Stored;

/// The longest the one timer sleeps, ms. `setTimeout` overflows at 24.8 days and a suspended
/// computer does not count time, so it wakes twice a day and looks at the clock (behaviour.md 5.20).
const LONGEST_SLEEP: i64 = 12 * 3_600_000;
/// The least time between two refreshes that no 401 asked for, ms (behaviour.md 1.11).
const LEAST_GAP: i64 = 5_000;
/// A timer that fires this much too late was asleep, ms. Browsers let those of hidden tabs fire once a
/// minute (behaviour.md 5.17): that is no sleep.
const OVERSLEPT: i64 = 90_000;
/// The most that a hidden tab adds to the time of its refresh, ms (behaviour.md 5.18).
const HIDDEN_DELAY: f64 = 10_000.0;
/// Fresh tokens refused within this time of each other are a storm, ms (behaviour.md 2.13).
const STORM: i64 = 60_000;

/// How the last session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    SignedOut,
    Dead(Dead),
}

/// Whether callers wait for one more call after a failed one (behaviour.md 2.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    No,
    /// If nothing works without a new token.
    IfNeeded,
    Always,
}

/// Fresh tokens that were refused, one after the other.
#[derive(Clone, Copy, Debug)]
struct Storm {
    tokens: u32,
    since: i64,
    last: Generation,
}

/// The session policy of one client.
///
/// It is a set of step functions over plain values. Nothing here waits, calls out, or reads a clock:
/// every method that needs the time takes a [`Now`], every one that needs chance takes a roll. The
/// shell around it (a browser, or a simulation) does as it is told:
///
/// 1. **A request**: [`begin`](Self::begin), then [`next`](Self::next) until it says `Send`; send;
///    [`on_response`](Self::on_response); `Again` leads back to `next`.
/// 2. **A refresh**: once per page at a time and under one lock per session. Read storage,
///    [`adopt`](Self::adopt), [`plan_refresh`](Self::plan_refresh); `None` means that there is
///    nothing to do. Call the server, read storage again, [`finish_refresh`](Self::finish_refresh),
///    and do to storage what it returns.
/// 3. **The timer**: arm it for [`poll_timeout`](Self::poll_timeout), and refresh when
///    [`handle_timeout`](Self::handle_timeout) says so. No rule depends on it: every request checks.
/// 4. **News**: after each call, hand out what [`poll_output`](Self::poll_output) yields, with
///    nothing borrowed and no lock held.
///
/// Every change of the session bumps the [`Generation`]. A request remembers the generation of the
/// token it was sent with, and a refresh the one it was planned for; what arrives late for an older
/// generation cannot harm the current token.
#[derive(Debug)]
pub struct Policy {
    config: Config,
    session: Option<Session>,
    subject: Option<String>,
    generation: Generation,
    login: u32,
    loaded: bool,
    ended: Option<Ended>,
    died: Option<Dead>,
    ending: Option<Ending>,
    rejected: bool,
    /// A resource took the current token.
    accepted: bool,
    breaker: Breaker,
    config_failed: bool,
    ambiguous: u32,
    /// A call with the current credential went out and its answer got lost.
    indeterminate: bool,
    /// When a call with the current credential went out, here or in another tab, ms since the epoch.
    sent_at: Option<i64>,
    /// That call is ours.
    in_flight: bool,
    /// What the failure of the last call leaves to be tried.
    retry: Retry,
    tried_early: bool,
    met_conflict: bool,
    refreshing: bool,
    used: bool,
    visible: bool,
    refreshed_at: Option<i64>,
    cached_at: Option<i64>,
    /// Answers to questions from before this moment are not believed beyond their request.
    forgot_at: i64,
    woke_at: Option<i64>,
    /// Failed refreshes since then.
    woke_failures: usize,
    /// When the timer was to fire, ms since the epoch.
    alarm: Option<i64>,
    /// What a hidden tab adds to the time of its refresh, ms.
    hidden_delay: i64,
    storm: Option<Storm>,
    /// The generation that a resource called revoked.
    doubted: Option<Generation>,
    /// The login whose tombstone lay beside our record when it was last seen in storage (empty =
    /// there was none); `None` = our record was never seen there.
    kept_beside: Option<String>,
    recent: Vec<i64>,
    suspected_at: Option<i64>,
    last_failure: Option<Error>,
    metrics: Metrics,
    outputs: VecDeque<Output>,
    revision: u32,
    rearm: bool,
}

impl Policy {
    /// A policy that knows of no session yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            session: None,
            subject: None,
            generation: Generation::default(),
            login: 0,
            loaded: false,
            ended: None,
            died: None,
            ending: None,
            rejected: false,
            accepted: false,
            breaker: Breaker::default(),
            config_failed: false,
            ambiguous: 0,
            indeterminate: false,
            sent_at: None,
            in_flight: false,
            retry: Retry::No,
            tried_early: false,
            met_conflict: false,
            refreshing: false,
            used: false,
            visible: true,
            refreshed_at: None,
            cached_at: None,
            forgot_at: i64::MIN,
            woke_at: None,
            woke_failures: 0,
            alarm: None,
            hidden_delay: 0,
            storm: None,
            doubted: None,
            kept_beside: None,
            recent: Vec::new(),
            suspected_at: None,
            last_failure: None,
            metrics: Metrics::default(),
            outputs: VecDeque::new(),
            revision: 0,
            rearm: false,
        }
    }

    /// Starts a session with the tokens of a login or of the caller. `sid` is random.
    pub fn sign_in(&mut self, sid: String, tokens: TokenSet, timing: Timing, remember: bool) {
        let session = self.session_from(sid, tokens, timing, remember);
        self.next_login();
        self.loaded = true;
        self.replace(session);
        self.cached_at = Some(timing.received.mono);
        self.metrics.sign_ins += 1;
        self.tell(Event::SignedIn { elsewhere: false });
    }

    /// Gives the session its key for copies of this tab (behaviour.md 5.9): random, at sign-in.
    pub fn set_handover_key(&mut self, key: Secret) {
        if let Some(session) = &mut self.session {
            session.handover_key = Some(key);
        }
    }

    /// Ends the session here and returns it, so that the shell can clear storage and tell the server.
    pub fn sign_out(&mut self, now: Now) -> Option<Session> {
        let session = self.session.clone();
        self.end(Ended::SignedOut, now);
        if session.is_some() {
            self.metrics.sign_outs += 1;
            self.tell(Event::SignedOut { elsewhere: false });
        }
        session
    }

    /// Takes what the outside source says (`options.getSession`): a session, none, or a failure.
    pub fn outside_answered(
        &mut self,
        answer: Result<Option<TokenSet>, ()>,
        sid: String,
        timing: Timing,
    ) {
        let Ok(answer) = answer else {
            self.cached_at = None;
            return;
        };
        let first = !self.loaded;
        self.loaded = true;
        self.touch();
        self.cached_at = Some(timing.received.mono).filter(|_| timing.sent.mono >= self.forgot_at);
        match (answer, &self.session) {
            (None, None) => {}
            (None, Some(_)) => {
                self.end(Ended::SignedOut, timing.received);
                self.metrics.sign_outs += 1;
                self.tell(Event::SignedOut { elsewhere: false });
            }
            (Some(tokens), Some(session)) if session.access_token == tokens.access_token => {}
            (Some(tokens), Some(_)) if self.is_another_person(&tokens) => {
                self.change_person(sid, tokens, timing);
            }
            (Some(tokens), Some(session)) => {
                let (sid, rotation) = (session.sid.clone(), session.rotation);
                let fresh = self.session_from(sid, tokens, timing, false);
                let expires_at = fresh.expires_at;
                self.replace(Session {
                    rotation: rotation.saturating_add(1),
                    ..fresh
                });
                self.tell(Event::Refreshed {
                    elsewhere: false,
                    expires_at,
                });
            }
            (Some(tokens), None) => {
                self.subject.clone_from(&tokens.subject);
                let session = self.session_from(sid, tokens, timing, false);
                self.next_login();
                self.replace(session);
                if !first {
                    self.tell(Event::SignedIn { elsewhere: false });
                }
            }
        }
    }

    /// What the server said to a sign-out; `None` = nothing. A session that it does not know is as good
    /// as ended (RFC 7009 §2.2).
    pub fn sign_out_answered(&mut self, status: Option<u16>) {
        let over = status.is_some_and(|status| (200..300).contains(&status) || status == 401);
        if !over {
            self.log(Log::SignOutUnconfirmed { status });
        }
    }

    /// Forgets the answer of the outside source, so that the next request asks again.
    pub fn clear_cache(&mut self, now: Now) {
        self.cached_at = None;
        self.forgot_at = now.mono;
    }

    /// The answer of the outside source is too old, or there is none yet.
    pub fn cache_is_stale(&mut self, now: Now) -> bool {
        if !self.config.outside {
            return false;
        }
        let age = self.cached_at.map(|at| now.mono.saturating_sub(at));
        let stale = age.is_none_or(|age| age >= self.config.cache_ttl);
        if !stale {
            self.metrics.cache_hits += 1;
        }
        stale
    }

    /// Whether a token with at least `min_validity` ms of life is here; if not, the generation whose
    /// refresh to wait for.
    ///
    /// # Errors
    /// The generation to refresh.
    pub fn token_for(
        &self,
        min_validity: Option<i64>,
        now: Now,
    ) -> Result<Option<&Secret>, Generation> {
        let Some(session) = &self.session else {
            return Ok(None);
        };
        let left = session.remaining(now);
        let short = match (min_validity, left) {
            (Some(wanted), Some(left)) => left < wanted && self.gap_left(session, now) == 0,
            _ => self.stale(now),
        };
        if (short || self.rejected) && self.may_refresh(now) {
            return Err(self.generation);
        }
        let over = self.rejected || session.expired(now);
        Ok(session.access_token.as_ref().filter(|_| !over))
    }

    /// The session, for the shell.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The session as the app may know it: none when its credential is dead and its token unusable.
    pub fn usable_session(&self, now: Now) -> Option<&Session> {
        let session = self.session.as_ref()?;
        let over = session.dead && (self.rejected || session.expired(now));
        (!over).then_some(session)
    }

    /// The generation of the current token.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Where the session stands.
    pub fn status(&self, now: Now) -> Status {
        match (&self.session, self.ended) {
            _ if !self.loaded => Status::Loading,
            (None, None) => Status::Anonymous,
            (None, Some(Ended::SignedOut)) => Status::SignedOut,
            (None, Some(Ended::Dead(_))) => Status::ReauthRequired,
            (Some(session), _) if session.dead || (self.rejected && self.is_keyless(session)) => {
                Status::ReauthRequired
            }
            _ if self.refreshing => Status::Refreshing,
            _ if self.config_failed || self.breaker.state(now.wall) != State::Closed => {
                Status::Degraded
            }
            _ => Status::Authenticated,
        }
    }

    /// The last failure of a refresh, until one succeeds.
    pub fn last_failure(&self) -> Option<&Error> {
        self.last_failure.as_ref()
    }

    /// How the last session ended, or how this one is about to: its credential is dead.
    pub fn ending(&self) -> Option<&Ending> {
        let over = self.session.is_none() || self.died.is_some();
        self.ending.as_ref().filter(|_| over)
    }

    /// The note to leave in storage for a login that is over.
    pub fn tombstone(&self, sid: String, dead: Option<Dead>, now: Now) -> Tombstone {
        let known = self.ending.filter(|ending| ending.dead == dead);
        Tombstone {
            sid,
            dead,
            at: known.map_or(now.wall, |ending| ending.at),
            status: known.and_then(|ending| ending.status),
        }
    }

    /// When refreshing resumes, ms since the epoch, if it is paused.
    pub fn retry_at(&self, now: Now) -> Option<i64> {
        self.breaker.retry_at(now.wall)
    }

    /// When the token will be renewed ahead of its end, ms since the epoch.
    pub fn refresh_at(&self) -> Option<i64> {
        let session = self.session.as_ref().filter(|session| !session.dead)?;
        let lead = session.lead(self.config.expiry_buffer);
        session.expires_at.map(|at| at.saturating_sub(lead))
    }

    /// Counts so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Milliseconds until the one timer should fire; `None` = not at all. A hidden tab in which
    /// nothing was requested refreshes when it is next used (behaviour.md 5.18).
    pub fn poll_timeout(&mut self, now: Now) -> Option<i64> {
        let delay = self.next_timeout(now);
        self.alarm = delay.map(|delay| now.wall.saturating_add(delay));
        delay
    }

    fn next_timeout(&self, now: Now) -> Option<i64> {
        let session = self.session.as_ref()?;
        let wanted = self.visible || self.used;
        if !wanted || !self.can_refresh(session) || !session.renewable(now) || self.is_offline() {
            return None;
        }
        let paused = self
            .breaker
            .retry_at(now.wall)
            .map_or(0, |at| at.saturating_sub(now.wall));
        if self.rejected {
            let gap = self.gap_left(session, now).min(LEAST_GAP);
            return Some(paused.max(gap).clamp(0, LONGEST_SLEEP));
        }
        let lead = session.lead(self.config.expiry_buffer);
        if lead == 0 {
            return None;
        }
        let hidden = if self.visible {
            0
        } else {
            self.hidden_delay.min(lead / 2)
        };
        let due = session.remaining(now)?.saturating_sub(lead);
        Some(
            due.saturating_add(hidden)
                .max(paused)
                .max(self.answer_due_in(now).unwrap_or(0))
                .max(self.gap_left(session, now))
                .clamp(0, LONGEST_SLEEP),
        )
    }

    /// The timer fired: the generation to refresh, if it is time.
    pub fn handle_timeout(&mut self, now: Now) -> Option<Generation> {
        self.rearm = true;
        // Nothing says that the computer was asleep but the clock.
        let late = self
            .alarm
            .take()
            .map_or(0, |at| now.wall.saturating_sub(at));
        if late > OVERSLEPT && self.visible {
            self.slept(now);
        }
        self.notice_lapse(now);
        let due = self.stale(now) && self.may_refresh(now) && (self.visible || self.used);
        due.then_some(self.generation)
    }

    /// The page was shown or hidden. `roll` in `[0, 1)` keeps hidden tabs apart.
    pub fn set_visible(&mut self, visible: bool, roll: f64) {
        self.visible = visible;
        #[allow(clippy::cast_possible_truncation, reason = "at most ten seconds")]
        let delay = (HIDDEN_DELAY * roll) as i64;
        self.hidden_delay = delay;
        self.rearm = true;
    }

    /// The page is looked at again (behaviour.md 5.7). After a real absence (`asleep`: sleep, the
    /// back-forward cache, offline) the network may lag, so failures do not count for a while (5.19).
    pub fn woke(&mut self, now: Now, asleep: bool) {
        if asleep {
            self.slept(now);
        }
        if self.is_offline() {
            self.last_failure = None;
        }
        self.notice_lapse(now);
        self.breaker.wake(now.wall);
        self.rearm = true;
        self.touch();
    }

    /// The next thing to hand out, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether there is something to hand out.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Changes whenever something visible changed.
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// Whether the timer has to be armed anew; asking resets it.
    pub fn take_rearm(&mut self) -> bool {
        std::mem::take(&mut self.rearm)
    }

    /// Reports that storage failed (`corrupt` = what was there was unreadable and was removed).
    pub fn storage_failed(&mut self, corrupt: bool) {
        self.tell(Event::StorageDegraded { corrupt });
    }

    /// Reports that the session could not be written: its record is not where the tabs look for it.
    pub fn not_stored(&mut self) {
        self.kept_beside = None;
    }

    /// Whether the token is to be renewed before it is used again.
    fn stale(&self, now: Now) -> bool {
        let Some(session) = &self.session else {
            return false;
        };
        if self.rejected {
            return true;
        }
        let Some(left) = session.remaining(now) else {
            return false;
        };
        // A page that is gone may have spent the credential a moment ago: as long as the token lives,
        // there is no reason to find out. A token that is the credential itself dies by that.
        let waits = left > 0 && !self.config.access_token_refreshes;
        if waits && self.answer_due_in(now).is_some() {
            return false;
        }
        left <= session.lead(self.config.expiry_buffer) && self.gap_left(session, now) == 0
    }

    /// Time to wait since the last refresh, so that no answer of a server can make a loop.
    fn gap_left(&self, session: &Session, now: Now) -> i64 {
        let Some(at) = self.refreshed_at else {
            return 0;
        };
        let quarter = session.lifetime().unwrap_or(0) / 4;
        let gap = if session.expired(now) {
            quarter.clamp(500, LEAST_GAP)
        } else {
            quarter.max(LEAST_GAP)
        };
        gap.saturating_sub(now.mono.saturating_sub(at)).max(0)
    }

    /// Whether a refresh call may go out now.
    fn may_refresh(&self, now: Now) -> bool {
        let Some(session) = &self.session else {
            return false;
        };
        session.renewable(now) && self.can_refresh(session) && self.breaker.allows(now.wall)
    }

    /// Whether a 401 can wait for a refresh: for one that may go out, or for the second call of the one
    /// that is running, in the pause after its first (behaviour.md 2.10, 3.17).
    fn may_join(&self, now: Now) -> bool {
        let running = |session: &Session| self.refreshing && self.can_refresh(session);
        self.may_refresh(now) || self.session.as_ref().is_some_and(running)
    }

    /// Whether there is anything to refresh with, today or later.
    fn can_refresh(&self, session: &Session) -> bool {
        !self.is_keyless(session) && !session.dead && !self.config_failed
    }

    /// Whether this session was never to be refreshed (behaviour.md 1.12).
    fn is_keyless(&self, session: &Session) -> bool {
        let elsewhere = self.config.outside || self.config.cookie_refreshes;
        !self.config.refreshable || !(elsewhere || self.credential(session).is_some())
    }

    /// How long a call that another page sent with the current credential may still take, ms.
    fn answer_due_in(&self, now: Now) -> Option<i64> {
        let timeout = self.config.refresh_timeout;
        let sent_at = self.sent_at.filter(|_| !self.in_flight)?;
        let left = sent_at.saturating_add(timeout).saturating_sub(now.wall);
        (1..=timeout).contains(&left).then_some(left)
    }

    /// The refresh token came with an end of its own, and that is past (behaviour.md 1.13).
    fn notice_lapse(&mut self, now: Now) {
        let lapsed = |session: &Session| !session.dead && !session.renewable(now);
        if self.session.as_ref().is_some_and(lapsed) && self.stale(now) {
            self.mark_dead(Dead::Expired, None, now);
        }
    }

    fn slept(&mut self, now: Now) {
        self.woke_at = Some(now.mono);
        self.woke_failures = 0;
    }

    fn credential<'a>(&self, session: &'a Session) -> Option<&'a Secret> {
        if self.config.outside {
            return None;
        }
        if self.config.access_token_refreshes {
            return session.access_token.as_ref();
        }
        session.refresh_token.as_ref()
    }

    fn session_from(
        &mut self,
        sid: String,
        tokens: TokenSet,
        timing: Timing,
        remember: bool,
    ) -> Session {
        let expires_at = tokens
            .lifetimes
            .expires_at(&timing, self.config.default_lifetime);
        if tokens.lifetimes.unreadable {
            self.log(Log::LifetimeUnreadable);
        }
        if tokens.lifetimes.disagree(&timing) {
            self.log(Log::LifetimesDisagree);
        }
        let mut session = Session {
            sid,
            rotation: 0,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            credential_since: 0,
            handover_key: None,
            issued_at: timing.sent.wall,
            expires_at,
            deadline: None,
            refresh_expires_at: tokens
                .refresh_lifetime
                .map(|ms| timing.sent.wall.saturating_add(ms)),
            remember,
            dead: false,
        };
        session.anchor(timing.received);
        session
    }

    fn is_offline(&self) -> bool {
        let failure = self.last_failure.as_ref();
        failure.is_some_and(|failure| failure.code == Code::Offline)
    }

    /// The outside source gives tokens of somebody else, as far as tokens tell (behaviour.md 5.12).
    fn is_another_person(&self, tokens: &TokenSet) -> bool {
        match (&self.subject, &tokens.subject) {
            (Some(before), Some(now)) => before != now,
            _ => false,
        }
    }

    fn change_person(&mut self, sid: String, tokens: TokenSet, timing: Timing) {
        self.subject.clone_from(&tokens.subject);
        let session = self.session_from(sid, tokens, timing, false);
        self.next_login();
        self.replace(session);
        self.tell(Event::UserChanged);
    }

    /// Another login begins or ends: what concerned the last one is over.
    fn next_login(&mut self) {
        self.login = self.login.wrapping_add(1);
        self.storm = None;
        self.kept_beside = None;
    }

    /// Puts a session in place. What was known of the old credential does not hold for the new one.
    fn replace(&mut self, session: Session) {
        self.died = session.dead.then_some(Dead::Expired);
        self.session = Some(session);
        self.ended = None;
        self.ending = None;
        self.generation = self.generation.next();
        self.rejected = false;
        self.accepted = false;
        self.used = false;
        self.config_failed = false;
        self.ambiguous = 0;
        self.indeterminate = false;
        self.sent_at = None;
        self.retry = Retry::No;
        self.tried_early = false;
        self.met_conflict = false;
        self.last_failure = None;
        self.rearm = true;
        self.touch();
        // A storm outlives its tokens: only time ends it (behaviour.md 2.13).
        let calm = self.storm.is_none_or(|storm| storm.tokens < 3);
        if calm && self.breaker.reset() {
            self.tell(Event::CircuitClosed);
        }
    }

    fn end(&mut self, how: Ended, now: Now) {
        let dead = match how {
            Ended::Dead(dead) => Some(dead),
            Ended::SignedOut => None,
        };
        if self.session.is_some() {
            self.note_end(dead, None, now);
        }
        self.session = None;
        self.ended = Some(how);
        self.died = dead;
        self.sent_at = None;
        self.next_login();
        self.generation = self.generation.next();
        self.rejected = false;
        self.used = false;
        self.cached_at = None;
        self.last_failure = None;
        self.breaker.reset();
        self.rearm = true;
        self.touch();
    }

    /// The credential is dead, the token may still live.
    fn mark_dead(&mut self, dead: Dead, status: Option<u16>, now: Now) {
        self.died = Some(dead);
        self.note_end(Some(dead), status, now);
        if let Some(session) = &mut self.session {
            session.dead = true;
        }
        self.rearm = true;
        self.tell(Event::ReauthRequired(dead));
    }

    /// The server ended the session that the current token belongs to.
    fn revoked(&mut self, now: Now) {
        let known = self.died.is_some();
        self.end(Ended::Dead(Dead::Revoked), now);
        if let Some(ending) = &mut self.ending {
            ending.status = Some(401);
        }
        if !known {
            self.tell(Event::ReauthRequired(Dead::Revoked));
        }
    }

    /// Why the session is over, or about to be.
    fn note_end(&mut self, dead: Option<Dead>, status: Option<u16>, now: Now) {
        let session = self.session.as_ref();
        // The death of the credential was noted when it happened.
        if dead.is_some() && self.ending().is_some_and(|known| known.dead == dead) {
            return;
        }
        self.ending = Some(Ending {
            dead,
            elsewhere: Some(false),
            at: now.wall,
            status,
            issued_at: session.map(|session| session.issued_at),
            refreshes: session.map(|session| session.rotation),
        });
    }

    /// The current token was answered 401.
    fn token_refused(&mut self, now: Now) {
        self.clear_cache(now);
        if self.rejected {
            return;
        }
        self.rejected = true;
        self.rearm = true;
        // Without a refresh credential, only a sign-in helps (behaviour.md 1.12).
        let keyless = |session: &Session| !session.dead && self.is_keyless(session);
        if self.session.as_ref().is_some_and(keyless) {
            self.tell(Event::ReauthRequired(Dead::Expired));
        }
    }

    /// The server took the current token: whatever refused it before was about something else.
    fn token_accepted(&mut self, now: Now) {
        let old = |storm: Storm| now.mono.saturating_sub(storm.since) >= STORM;
        self.accepted = true;
        if self.storm.is_some_and(old) && self.breaker.allows(now.wall) {
            self.storm = None;
            if self.breaker.calm(now.wall) {
                self.rearm = true;
                self.tell(Event::CircuitClosed);
            }
        }
        if self.rejected {
            self.rejected = false;
            self.rearm = true;
            self.touch();
        }
    }

    /// The current token came from a refresh, and nothing has taken it yet.
    fn is_untried(&self) -> bool {
        let renewed = self
            .session
            .as_ref()
            .is_some_and(|session| session.rotation > 0);
        renewed && !self.accepted
    }

    /// A fresh token was answered 401, as a replay or when it was first used: three such tokens in a minute are a storm. It
    /// lasts for as long as they go on coming.
    fn fresh_token_refused(&mut self, token: Generation, now: Now) {
        let storm = match self.storm {
            Some(storm) if storm.last == token => return,
            Some(storm) if now.mono.saturating_sub(storm.since) < STORM => Storm {
                tokens: storm.tokens + 1,
                last: token,
                since: if storm.tokens >= 2 {
                    now.mono
                } else {
                    storm.since
                },
            },
            _ => Storm {
                tokens: 1,
                since: now.mono,
                last: token,
            },
        };
        self.storm = Some(storm);
        if storm.tokens == 1 {
            self.suspect(Suspicion::FreshTokenRefused);
        }
        if storm.tokens >= 3 && self.breaker.allows(now.wall) {
            self.breaker.trip(now.wall, self.config.limits, 0.0);
            self.tell_circuit_opened(now, true);
        }
    }

    fn suspect(&mut self, reason: Suspicion) {
        let refreshes = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        self.outputs
            .push_back(Output::Event(Event::SuspiciousActivity {
                reason,
                refreshes,
            }));
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
        self.touch();
    }

    fn log(&mut self, log: Log) {
        self.outputs.push_back(Output::Log(log));
    }

    fn touch(&mut self) {
        self.revision = self.revision.wrapping_add(1);
    }
}
