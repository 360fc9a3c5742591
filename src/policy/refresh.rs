//! The refresh: whether to call, with what, and what its answer does to the session.

use super::breaker::{self, State};
use super::error::{Code, Error};
use super::event::{Event, Log, Suspicion};
use super::expiry::{Now, Timing};
use super::response::{self, Class, Dead, Failure, TokenSet, Unusable};
use super::session::{Generation, Secret, Session};
use super::stored::Stored;
use super::{Ended, Policy, Retry};

/// A refresh that is worth a call. It belongs to one credential of one login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshPlan {
    /// What goes to the server; `None` = an outside source is asked instead.
    pub credential: Option<Secret>,
    /// The answer, where it is known without a call: finish with it at once.
    pub known: Option<RefreshAnswer>,
    sid: String,
    order: (u32, u32),
    generation: Generation,
}

/// How a refresh call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshAnswer {
    /// A new token.
    Tokens(TokenSet),
    /// The outside source has no session.
    NoSession,
    /// No token, and the `Retry-After` in ms where there was one.
    Failed(Failure, Option<i64>),
}

/// The longest pause that callers wait out, ms.
const LONGEST_RETRY: i64 = 7_000;
/// When to try again after waking up, ms: the network may lag behind (behaviour.md 5.19).
const AFTER_WAKING: [i64; 3] = [1_000, 3_000, 7_000];

/// What the shell does to storage after a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Write [`Policy::record`].
    Store,
    /// Remove the record and bury this login.
    Clear(String, Dead),
    /// Touch nothing.
    Keep,
    /// Remove this tab's record, and bury nothing: a copy of the tab goes on with the login.
    Abandon(String),
    /// Touch nothing, and revoke these tokens: the login they belong to was signed out meanwhile.
    Revoke(TokenSet),
}

impl Policy {
    /// Decides, under the lock and after [`Policy::adopt`], whether a refresh call is still needed.
    /// `wanted` is the generation that asked for it: if the session has moved on, somebody else did
    /// the work (behaviour.md 5.5). `online` = `navigator.onLine`.
    pub fn plan_refresh(
        &mut self,
        wanted: Generation,
        now: Now,
        online: bool,
    ) -> Option<RefreshPlan> {
        if wanted != self.generation {
            return None;
        }
        if !online {
            self.retry = Retry::No;
            self.last_failure = Some(Error::new(Code::Offline));
            return None;
        }
        // Nobody rotated meanwhile, or the generation would have moved on: it was revoked for good.
        let alive = self.session.as_ref().is_some_and(|session| !session.dead);
        let revoked = alive && self.doubted == Some(wanted);
        if !revoked && !self.may_refresh(now) {
            return None;
        }
        let session = self.session.as_ref()?;
        let plan = RefreshPlan {
            credential: self.credential(session).cloned(),
            known: revoked.then(revoked_answer),
            sid: session.sid.clone(),
            order: session.order(),
            generation: self.generation,
        };
        // Whoever sent this credential before is gone, or we would not hold the lock.
        self.indeterminate |= self.sent_at.is_some();
        if !revoked {
            self.metrics.refreshes += 1;
            self.note_frequency(now);
            self.log(Log::Refreshing);
            self.sent_at = Some(now.wall);
            self.in_flight = true;
        }
        Some(plan)
    }

    /// Whether a copy of this tab has used up the refresh credential: `noted` is the rotation that
    /// brought the newest one (behaviour.md 5.9). Then the copy is asked, not the server.
    pub fn is_behind(&self, noted: Option<u32>) -> bool {
        let since = self
            .session
            .as_ref()
            .map(|session| session.credential_since);
        since < noted && since.is_some() && !self.config.cookie_refreshes
    }

    /// No copy of this tab gave its token: the credential here must not be sent. Counts as a failed
    /// refresh whose answer makes no sense.
    pub fn left_behind(&mut self, wanted: Generation, now: Now, roll: f64) -> Commit {
        let Some(session) = self.session.as_ref().filter(|_| wanted == self.generation) else {
            return Commit::Keep;
        };
        if !self.may_refresh(now) {
            return Commit::Keep;
        }
        let plan = RefreshPlan {
            credential: self.credential(session).cloned(),
            known: None,
            sid: session.sid.clone(),
            order: session.order(),
            generation: self.generation,
        };
        match self.refresh_failed(&plan, &Failure::Overtaken, None, now, roll) {
            Commit::Clear(sid, _) => Commit::Abandon(sid),
            commit => commit,
        }
    }

    /// Marks the shared refresh as running or not; shows in the status.
    pub fn set_refreshing(&mut self, running: bool) {
        self.refreshing = running;
        self.rearm = true;
        self.touch();
    }

    /// Applies the answer of a refresh call. `stored` was read after the answer arrived; `roll` in
    /// `[0, 1)` spreads the next attempt.
    pub fn finish_refresh(
        &mut self,
        plan: &RefreshPlan,
        answer: RefreshAnswer,
        timing: Timing,
        stored: &Stored,
        roll: f64,
    ) -> Commit {
        let commit = match answer {
            RefreshAnswer::Tokens(tokens) => self.refreshed(plan, tokens, timing, stored),
            RefreshAnswer::NoSession => self.outside_is_empty(plan, timing.received),
            RefreshAnswer::Failed(failure, retry_after) => {
                if plan.known.is_none() {
                    self.metrics.failures += 1;
                }
                // Somebody refreshed, signed out or signed in meanwhile: then this failure is no news,
                // and storage is no longer ours to write (behaviour.md 2.2, 5.10).
                self.adopt(stored, timing.received);
                if plan.generation == self.generation {
                    self.sent_at = None;
                    self.refresh_failed(plan, &failure, retry_after, timing.received, roll)
                } else {
                    Commit::Keep
                }
            }
        };
        // Not before: what is in storage may still be our own marker.
        self.in_flight = false;
        commit
    }

    /// The lock could not be had in time: nobody was called, nothing is known (behaviour.md 5.4). If
    /// storage had a newer token by then, that is no failure.
    pub fn refresh_not_started(&mut self, wanted: Generation) {
        if wanted == self.generation {
            self.retry = Retry::No;
            self.last_failure = Some(Error::new(Code::Timeout));
        }
    }

    /// How long to wait before the one retry that callers wait for, ms; `None` = no retry
    /// (behaviour.md 2.10).
    pub fn retry_in(&self, wanted: Generation, now: Now) -> Option<i64> {
        let session = self.session.as_ref()?;
        let wished = match self.retry {
            Retry::No => false,
            Retry::IfNeeded => self.rejected || session.expired(now),
            Retry::Always => true,
        };
        let closed = self.breaker.state(now.wall) == State::Closed;
        if wanted != self.generation || !wished || !closed || !self.can_refresh(session) {
            return None;
        }
        let retry_at = self.breaker.retry_at(now.wall).unwrap_or(now.wall);
        Some(retry_at.saturating_sub(now.wall)).filter(|wait| *wait <= LONGEST_RETRY)
    }

    /// What to tell somebody who asked for a refresh of `wanted` and waited for it.
    ///
    /// # Errors
    /// The reason why there is no newer token.
    pub fn refresh_outcome(&self, wanted: Generation, now: Now) -> Result<(), Error> {
        match &self.session {
            None => Err(self.no_session()),
            Some(_) if self.generation != wanted => Ok(()),
            Some(_) => Err(self.unavailable(now)),
        }
    }

    /// Why no fresh token can be had now.
    pub(super) fn unavailable(&self, now: Now) -> Error {
        if let Some(dead) = self.died {
            return dead_error(dead);
        }
        let Some(session) = &self.session else {
            return self.no_session();
        };
        let useless = self.rejected || session.expired(now);
        if useless && self.is_keyless(session) {
            return dead_error(Dead::Expired);
        }
        if let State::Open(at) = self.breaker.state(now.wall) {
            return Error {
                retry_at: Some(at),
                ..Error::new(Code::CircuitOpen)
            };
        }
        self.last_failure
            .clone()
            .unwrap_or_else(|| Error::new(Code::RefreshFailed))
    }

    fn no_session(&self) -> Error {
        match self.ended {
            Some(Ended::Dead(dead)) => dead_error(dead),
            Some(Ended::SignedOut) => Error::new(Code::SignedOut),
            None => Error::new(Code::NotSignedIn),
        }
    }

    fn refreshed(
        &mut self,
        plan: &RefreshPlan,
        tokens: TokenSet,
        timing: Timing,
        stored: &Stored,
    ) -> Commit {
        let ours = self
            .session
            .as_ref()
            .is_some_and(|session| session.sid == plan.sid);
        let taken = stored.holds_another(&plan.sid);
        if !ours || taken || self.ended_elsewhere(&plan.sid, stored) {
            self.adopt(stored, timing.received);
            return Commit::Revoke(tokens);
        }
        if self.is_overtaken(plan, &tokens, stored) {
            self.adopt(stored, timing.received);
            return Commit::Keep;
        }
        let renewed = stored.alive(&plan.sid).map(|record| record.session.order());
        if renewed > self.session.as_ref().map(Session::order) {
            self.adopt(stored, timing.received);
        }
        if self.config.outside && self.is_another_person(&tokens) {
            self.change_person([&plan.sid, "+"].concat(), tokens, timing);
            self.cached_at = Some(timing.received.mono);
            return Commit::Keep;
        }
        let Some(old) = self.session.take() else {
            return Commit::Keep;
        };
        let unchanged = old.access_token == tokens.access_token;
        let fresh = self.renew(old, tokens, timing);
        let expires_at = fresh.expires_at;
        self.refreshed_at = Some(timing.received.mono);
        if unchanged && self.config.outside {
            // The outside source gave the token it already had: nothing is new, ask again later.
            self.session = Some(fresh);
            self.sent_at = None;
            self.cached_at = Some(timing.received.mono);
            return Commit::Keep;
        }
        let (died, ending) = (self.died, self.ending);
        self.replace(fresh);
        if self.died.is_some() {
            (self.died, self.ending) = (died, ending);
        }
        self.cached_at = Some(timing.received.mono);
        let took = timing.received.mono.saturating_sub(timing.sent.mono);
        self.metrics.last_refresh = took;
        self.metrics.total_refresh = self.metrics.total_refresh.saturating_add(took);
        self.log(Log::Refreshed {
            until: expires_at,
            took,
        });
        self.tell(Event::Refreshed {
            elsewhere: false,
            expires_at,
        });
        Commit::Store
    }

    /// Whether this answer comes after a newer one. Of two answers to one credential, the one that brings
    /// a new credential counts whenever it comes: nobody else gets that one.
    fn is_overtaken(&self, plan: &RefreshPlan, tokens: &TokenSet, stored: &Stored) -> bool {
        let (since, _) = plan.order;
        let rotates = tokens.refresh_token.is_some() && tokens.refresh_token != plan.credential;
        let newer = |session: &Session| {
            session.credential_since > since || (!rotates && session.order() > plan.order)
        };
        let theirs = stored.alive(&plan.sid).map(|record| &record.session);
        theirs.is_some_and(newer) || self.session.as_ref().is_some_and(newer)
    }

    /// The session after a refresh: what the answer leaves out stays as it was (behaviour.md 1.12).
    fn renew(&mut self, old: Session, tokens: TokenSet, timing: Timing) -> Session {
        let renewed = self.session_from(old.sid.clone(), tokens, timing, old.remember);
        let rotation = old.rotation.saturating_add(1);
        let before = self.credential(&old).cloned();
        let session = Session {
            rotation,
            refresh_token: renewed.refresh_token.or(old.refresh_token),
            refresh_expires_at: renewed.refresh_expires_at.or(old.refresh_expires_at),
            credential_since: old.credential_since,
            handover_key: old.handover_key,
            ..renewed
        };
        let rotated = self.credential(&session) != before.as_ref();
        Session {
            // A late answer brings a token, but does not bring a refused credential back to life.
            dead: old.dead && !rotated && !self.config.cookie_refreshes,
            credential_since: if rotated {
                rotation
            } else {
                session.credential_since
            },
            ..session
        }
    }

    fn outside_is_empty(&mut self, plan: &RefreshPlan, now: Now) -> Commit {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.sid == plan.sid)
        {
            self.end(Ended::SignedOut, now);
            self.metrics.sign_outs += 1;
            self.tell(Event::SignedOut { elsewhere: false });
        }
        Commit::Keep
    }

    fn refresh_failed(
        &mut self,
        plan: &RefreshPlan,
        failure: &Failure,
        retry_after: Option<i64>,
        now: Now,
        roll: f64,
    ) -> Commit {
        self.retry = Retry::No;
        match response::classify(failure, self.config.dead_codes) {
            Class::Terminal(dead) => {
                // Our own second try of a call whose answer got lost is no theft.
                if response::says_reused(failure) && !self.indeterminate {
                    self.suspect(Suspicion::Reuse);
                }
                let dead = if self.indeterminate {
                    Dead::LostResponse
                } else {
                    dead
                };
                self.credential_died(plan, dead, status_of(failure), now)
            }
            Class::Config => {
                self.config_failed = true;
                self.keep(config_error(failure), failure)
            }
            Class::Ambiguous if self.just_woke(now) => {
                self.passing(failure, true, retry_after, now, roll)
            }
            Class::Ambiguous => {
                self.ambiguous += 1;
                if self.ambiguous >= 3 {
                    return self.credential_died(plan, Dead::Ambiguous, status_of(failure), now);
                }
                self.count_failure(retry_after, now, roll);
                self.keep(self.passing_error(Code::RefreshFailed, now), failure)
            }
            Class::TooEarly if !self.tried_early => {
                self.tried_early = true;
                self.retry = Retry::Always;
                self.keep(self.passing_error(Code::RefreshFailed, now), failure)
            }
            Class::TooEarly => self.passing(failure, true, retry_after, now, roll),
            Class::Conflict if !self.met_conflict => {
                self.met_conflict = true;
                // Long enough for the other refresh to end, and to be found in storage.
                #[allow(clippy::cast_possible_truncation, reason = "at most two seconds")]
                let pause = 500 + (1_500.0 * roll) as i64;
                self.breaker
                    .pause(now.wall, pause.max(retry_after.unwrap_or(0)));
                self.retry = Retry::Always;
                self.keep(self.passing_error(Code::RefreshFailed, now), failure)
            }
            Class::Conflict => self.passing(failure, false, retry_after, now, roll),
            Class::Transient {
                counted,
                indeterminate,
            } => {
                self.indeterminate |= indeterminate;
                self.passing(failure, counted, retry_after, now, roll)
            }
        }
    }

    /// A passing fault, which counts towards the breaker unless the computer has just woken up.
    fn passing(
        &mut self,
        failure: &Failure,
        counted: bool,
        retry_after: Option<i64>,
        now: Now,
        roll: f64,
    ) -> Commit {
        self.ambiguous = 0;
        let rung = AFTER_WAKING.get(self.woke_failures).copied();
        match rung.filter(|_| retry_after.is_none() && self.just_woke(now)) {
            Some(pause) => {
                self.woke_failures += 1;
                self.retry = Retry::IfNeeded;
                self.breaker.pause(now.wall, pause);
            }
            None if counted => self.count_failure(retry_after, now, roll),
            None => self.breaker.wait(now.wall, retry_after, roll),
        }
        let code = if *failure == Failure::Timeout {
            Code::Timeout
        } else {
            Code::RefreshFailed
        };
        self.keep(self.passing_error(code, now), failure)
    }

    /// A passing failure: the session stays, everybody learns of it. The breaker goes into storage.
    fn keep(&mut self, error: Error, failure: &Failure) -> Commit {
        let error = Error {
            status: status_of(failure),
            ..error
        };
        self.last_failure = Some(error.clone());
        self.rearm = true;
        self.touch();
        self.log(Log::RefreshFailed(error.clone()));
        self.tell(Event::RefreshFailed(error));
        Commit::Store
    }

    fn passing_error(&self, code: Code, now: Now) -> Error {
        Error {
            retry_at: self.breaker.retry_at(now.wall),
            ..Error::new(code)
        }
    }

    fn count_failure(&mut self, retry_after: Option<i64>, now: Now, roll: f64) {
        let limits = self.config.limits;
        self.retry = Retry::IfNeeded;
        if self.breaker.fail(now.wall, retry_after, limits, roll) {
            self.tell_circuit_opened(now, false);
        }
    }

    pub(super) fn tell_circuit_opened(&mut self, now: Now, storm: bool) {
        let retry_at = self.breaker.retry_at(now.wall).unwrap_or(now.wall);
        self.tell(Event::CircuitOpened { retry_at, storm });
    }

    /// The credential is dead. A token that still works is used up (behaviour.md 2.3); a revoked one
    /// is dropped at once where it is the credential itself.
    fn credential_died(
        &mut self,
        plan: &RefreshPlan,
        dead: Dead,
        status: Option<u16>,
        now: Now,
    ) -> Commit {
        let error = dead_error(dead);
        self.log(Log::RefreshFailed(error));
        let usable = !self.rejected
            && self
                .session
                .as_ref()
                .is_some_and(|session| !session.expired(now));
        let itself = plan.credential.is_some() && plan.credential == self.access_token();
        let revoked_itself = dead == Dead::Revoked && itself;
        self.note_end(Some(dead), status, now);
        if revoked_itself {
            self.died = Some(dead);
            self.end(Ended::Dead(dead), now);
            self.tell(Event::ReauthRequired(dead));
            return Commit::Clear(plan.sid.clone(), dead);
        }
        self.mark_dead(dead, status, now);
        if usable {
            Commit::Store
        } else {
            Commit::Clear(plan.sid.clone(), dead)
        }
    }

    fn access_token(&self) -> Option<Secret> {
        self.session
            .as_ref()
            .and_then(|session| session.access_token.clone())
    }

    fn just_woke(&self, now: Now) -> bool {
        self.woke_at
            .is_some_and(|at| now.mono.saturating_sub(at) < 10_000)
    }

    /// Counts refreshes within the hour; an honest page makes fewer than ten (document 003).
    fn note_frequency(&mut self, now: Now) {
        const HOUR: i64 = 3_600_000;
        const HONEST: usize = 10;
        self.recent.retain(|at| now.mono.saturating_sub(*at) < HOUR);
        self.recent.push(now.mono);
        let quiet = self
            .suspected_at
            .is_none_or(|at| now.mono.saturating_sub(at) >= HOUR);
        if self.recent.len() > HONEST && quiet {
            self.suspected_at = Some(now.mono);
            self.suspect(Suspicion::Frequency);
        }
        // A page that refreshes every second must not grow without bound.
        if self.recent.len() > HONEST * 10 {
            self.recent.remove(0);
        }
    }
}

/// `Retry-After`, for the shell that holds the header.
pub fn retry_after(header: &str, now: i64) -> Option<i64> {
    breaker::retry_after(header, now)
}

/// What the refresh endpoint would say of a credential that a resource called revoked.
fn revoked_answer() -> RefreshAnswer {
    RefreshAnswer::Failed(Failure::Status(401, Some("TOKEN_REVOKED".to_owned())), None)
}

fn status_of(failure: &Failure) -> Option<u16> {
    match failure {
        Failure::Status(status, _) => Some(*status),
        _ => None,
    }
}

fn dead_error(dead: Dead) -> Error {
    Error::new(match dead {
        Dead::Revoked => Code::TokenRevoked,
        _ => Code::TokenExpired,
    })
}

fn config_error(failure: &Failure) -> Error {
    let detail = match failure {
        Failure::Malformed(Unusable::TokenType) => {
            "the refresh answer has an unknown token_type; keepfresh sends Bearer tokens only"
        }
        Failure::Status(404 | 405 | 410 | 501, _) => {
            "the refresh endpoint does not exist at this address; check endpoints.refresh, its method and its trailing slash"
        }
        Failure::Status(406 | 415 | 422, _) => {
            "the refresh endpoint does not take this request; check refreshCall and its field"
        }
        _ => "the auth server refuses this client; check clientId and scope",
    };
    Error {
        detail: Some(detail),
        ..Error::new(Code::Config)
    }
}
