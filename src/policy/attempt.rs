//! One request: what to do next, and what its answer means (behaviour.md §3).

use super::challenge::bearer_error;
use super::error::{Code, Error};
use super::event::{Log, Output};
use super::expiry::Now;
use super::response::{self, Dead};
use super::session::{Generation, Session};
use super::{Ended, Policy};

/// One request on its way. Made by [`Policy::begin`], moved on by `next` and `on_response`.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    login: Option<u32>,
    generation: Generation,
    bearer: bool,
    replayed: bool,
    refused: bool,
    waited: bool,
    primed: bool,
    asked: bool,
    peeked: bool,
    unloading: bool,
}

/// What a request does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it, with the current token or without one.
    Send {
        /// Whether the current token goes along.
        bearer: bool,
    },
    /// Wait for the shared refresh of this generation, then ask again.
    Refresh(Generation),
    /// Wait for the shared read of the outside session source, then ask again.
    Load,
    /// Hand the caller the 401 that it already got, body unread (behaviour.md 2.16).
    Return,
    /// Reject.
    Fail(Error),
}

/// What an answer means for its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it to the caller.
    Done,
    /// Hand it to the caller, and remove the stored session: the server ended it.
    Over(Dead),
    /// Read the code in the body of a clone, then call [`Policy::on_code`].
    Peek,
    /// Ask `next` again: the request may be replayed.
    Again,
    /// Fetch a new CSRF token, then send it once more as it was.
    Prime,
}

/// What the policy needs to know of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// What the app says of the answer (`options.isAuthError`), if it was asked: whether it is about
    /// the token. Otherwise 401 is.
    pub auth_error: Option<bool>,
    /// The answer came from another origin than the request went to (behaviour.md 3.7).
    pub redirected_away: bool,
    /// The request can be sent once more: its body is not a spent stream (behaviour.md 4.10).
    pub replayable: bool,
    /// The URL is an auth endpoint, or the caller said `auth: false` (behaviour.md 3.9).
    pub exempt: bool,
    /// `WWW-Authenticate`, where the page may read it.
    pub challenge: Option<&'a str>,
}

impl Answer<'_> {
    /// Whether it refuses the token.
    fn is_auth_error(&self) -> bool {
        self.auth_error.unwrap_or(self.status == 401)
    }
}

impl Policy {
    /// A new request. `unloading` = a keepalive request while the page goes away, which must not
    /// wait for anything (behaviour.md 4.5).
    pub fn begin(&mut self, unloading: bool) -> Attempt {
        self.metrics.requests += 1;
        self.use_token();
        Attempt {
            unloading,
            ..Attempt::default()
        }
    }

    /// The next step of a request. `exempt` is asked only when a refresh would be due.
    pub fn next(&mut self, attempt: &mut Attempt, now: Now, exempt: impl Fn() -> bool) -> Step {
        if !attempt.asked && !attempt.unloading && self.cache_is_stale(now) {
            attempt.asked = true;
            return Step::Load;
        }
        let login = *attempt.login.get_or_insert(self.login);
        if login != self.login {
            return self.next_after_change(attempt);
        }
        if attempt.refused {
            return self.next_after_401(attempt, now);
        }
        self.next_send(attempt, now, exempt)
    }

    /// What the answer of a sent request means. Re-read storage and [`Policy::adopt`] first when the
    /// status is 401: another tab may have refreshed (behaviour.md 3.12).
    pub fn on_response(&mut self, attempt: &mut Attempt, answer: Answer<'_>, now: Now) -> Verdict {
        let unprimed = answer.status == 419 && !attempt.primed && !answer.redirected_away;
        if self.config.csrf && unprimed && answer.replayable {
            attempt.primed = true;
            return Verdict::Prime;
        }
        if !answer.is_auth_error() {
            if attempt.bearer && answer.status < 400 && attempt.generation == self.generation {
                self.token_accepted(now);
            }
            return Verdict::Done;
        }
        if attempt.bearer {
            self.metrics.unauthorized += 1;
            self.log(Log::Unauthorized);
        }
        let ours = attempt.bearer && !answer.redirected_away && !answer.exempt;
        if !ours || attempt.login != Some(self.login) {
            return Verdict::Done;
        }
        if attempt.replayed {
            self.fresh_token_refused(attempt.generation, now);
            return Verdict::Done;
        }
        if attempt.generation != self.generation {
            return Self::again(attempt, answer);
        }
        if answer.challenge.is_some_and(wants_something_else) {
            return Verdict::Done;
        }
        if self.config.codes_in_body && !attempt.peeked {
            attempt.peeked = true;
            return Verdict::Peek;
        }
        self.refuse_token(attempt, answer, now)
    }

    /// Goes on after [`Verdict::Peek`] with the code found in the body, if there was one.
    pub fn on_code(
        &mut self,
        attempt: &mut Attempt,
        code: Option<&str>,
        answer: Answer<'_>,
        now: Now,
    ) -> Verdict {
        if attempt.login != Some(self.login) {
            return Verdict::Done;
        }
        if attempt.generation != self.generation {
            return Self::again(attempt, answer);
        }
        if code.is_some_and(response::says_revoked) {
            return self.doubt_token(attempt, answer, now);
        }
        self.refuse_token(attempt, answer, now)
    }

    /// Whether a request that waits shares a refresh that was already in flight.
    pub fn joined(&mut self) {
        self.metrics.joined += 1;
    }

    /// The 401 of a current token: note it, and replay if a new token can be had.
    fn refuse_token(&mut self, attempt: &mut Attempt, answer: Answer<'_>, now: Now) -> Verdict {
        self.token_refused(now);
        if self.is_untried() {
            self.fresh_token_refused(attempt.generation, now);
        }
        if !self.may_join(now) {
            self.log(Log::CannotReplay);
            return Verdict::Done;
        }
        Self::again(attempt, answer)
    }

    /// The current token was called revoked. A rotation does that too, and its answer may still be on
    /// its way here or to another tab: whoever gets the lock decides (behaviour.md 2.2, 3.15).
    fn doubt_token(&mut self, attempt: &mut Attempt, answer: Answer<'_>, now: Now) -> Verdict {
        let may_rotate = self
            .session
            .as_ref()
            .is_some_and(|session| self.can_refresh(session));
        // A copy of this tab may have rotated it, and goes on: this one is at its end, and was told.
        let alone = |session: &Session| session.dead && !session.remember;
        if self.session.as_ref().is_some_and(alone) {
            self.token_refused(now);
            return Verdict::Done;
        }
        if !may_rotate {
            self.revoked(now);
            return Verdict::Over(Dead::Revoked);
        }
        self.token_refused(now);
        self.doubted = Some(self.generation);
        Self::again(attempt, answer)
    }

    fn again(attempt: &mut Attempt, answer: Answer<'_>) -> Verdict {
        if !answer.replayable {
            return Verdict::Done;
        }
        attempt.refused = true;
        // One more look at the outside source, whose cache was dropped by the 401.
        attempt.asked = false;
        attempt.waited = false;
        Verdict::Again
    }

    fn next_after_change(&mut self, attempt: &Attempt) -> Step {
        if attempt.refused || attempt.primed {
            return Step::Return;
        }
        Step::Fail(Error::new(match (&self.session, self.ended) {
            (Some(_), _) => Code::UserChanged,
            (None, Some(Ended::Dead(Dead::Revoked))) => Code::TokenRevoked,
            (None, _) => Code::SignedOut,
        }))
    }

    fn next_after_401(&mut self, attempt: &mut Attempt, now: Now) -> Step {
        let expired = |session: &Session| session.expired(now);
        let too_dead = self.config.strict && self.session.as_ref().is_some_and(expired);
        if attempt.generation != self.generation && !too_dead {
            attempt.refused = false;
            attempt.replayed = true;
            self.metrics.replays += 1;
            self.log(Log::Replaying);
            return self.send(attempt, now);
        }
        let doubted = self.doubted == Some(self.generation);
        if attempt.waited || !(doubted || self.may_join(now)) {
            self.log(Log::CannotReplay);
            return Step::Return;
        }
        attempt.waited = true;
        Step::Refresh(self.generation)
    }

    fn next_send(&mut self, attempt: &mut Attempt, now: Now, exempt: impl Fn() -> bool) -> Step {
        let Some(session) = &self.session else {
            return self.send_bare(attempt);
        };
        let expired = session.expired(now);
        let over = session.dead && (expired || self.rejected);
        let stale = self.stale(now);
        let too_dead = over || (self.config.strict && expired);
        if !stale && !too_dead {
            return self.send(attempt, now);
        }
        if stale && !self.may_refresh(now) {
            self.notice_lapse(now);
        }
        if stale && !attempt.waited && !attempt.unloading && self.may_refresh(now) && !exempt() {
            attempt.waited = true;
            self.log_staleness(now);
            return Step::Refresh(self.generation);
        }
        // A session that is over is nobody's, except for the requests that waited while it died:
        // they get the server's own word on it.
        if over && !attempt.waited && !self.config.strict {
            return self.send_bare(attempt);
        }
        if self.config.strict && (expired || self.rejected) {
            return Step::Fail(self.unavailable(now));
        }
        self.send(attempt, now)
    }

    fn send(&mut self, attempt: &mut Attempt, now: Now) -> Step {
        attempt.bearer = true;
        attempt.generation = self.generation;
        self.use_token();
        if self.config.debug {
            let log = self.session.as_ref().map(|session| Log::UsingToken {
                age: now.wall.saturating_sub(session.issued_at),
                expires_in: session.remaining(now),
            });
            self.outputs.extend(log.map(Output::Log));
        }
        Step::Send { bearer: true }
    }

    fn use_token(&mut self) {
        if !self.used {
            self.used = true;
            self.rearm = true;
        }
    }

    fn send_bare(&mut self, attempt: &mut Attempt) -> Step {
        attempt.bearer = false;
        if self.config.debug {
            self.log(Log::NoToken);
        }
        Step::Send { bearer: false }
    }

    fn log_staleness(&mut self, now: Now) {
        if self.refreshing {
            return;
        }
        let left = self
            .session
            .as_ref()
            .and_then(|session| session.remaining(now));
        match left {
            Some(left) if left <= 0 => self.log(Log::Expired { since: -left }),
            Some(left) => self.log(Log::ExpiringSoon { expires_in: left }),
            None => {}
        }
    }
}

/// Whether the challenge says that the token is fine but not enough: it lacks a scope
/// (behaviour.md 3.14), or the person has to prove more first (RFC 9470 §3).
fn wants_something_else(challenge: &str) -> bool {
    let enough = ["insufficient_scope", "insufficient_user_authentication"];
    bearer_error(challenge).is_some_and(|error| enough.contains(&error.as_str()))
}
