//! The circuit breaker around refresh calls. It never stops a resource request (behaviour.md 2.9).

/// The first wait inside a closed breaker, ms.
const BACKOFF: i64 = 1_000;
/// The shortest pause of an open breaker, ms, whatever the options say.
const SHORTEST_PAUSE: i64 = 250;
/// The longest pause of an open breaker, ms.
const LONGEST_PAUSE: i64 = 300_000;
/// The longest `Retry-After` that is believed, ms (behaviour.md 2.6).
const LONGEST_RETRY_AFTER: i64 = 3_600_000;
/// A breaker that has been open for this long may be probed early when the page wakes, ms.
const SETTLED: i64 = 5_000;

/// A wall clock that goes back by less than this is merely adjusted, ms.
const CLOCK_NOISE: i64 = 5_000;

/// Limits of the breaker (`options.circuitBreaker`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Counted failures in a row that open it.
    pub max_failures: u32,
    /// The first pause, ms; it doubles up to five minutes.
    pub cooldown: i64,
}

/// Where the breaker stands at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Refresh calls may go out (after a short backoff, if one is running).
    Closed,
    /// No refresh call goes out before this moment, ms since the epoch.
    Open(i64),
    /// One call may go out to see whether the server is back.
    HalfOpen,
}

/// Counts failed refreshes of one credential. All times are ms since the epoch, so that tabs can
/// share them through storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    opened_at: Option<i64>,
    not_before: i64,
    /// The pause that a wake-up lifted: no other tab's note of it counts any more. Not stored.
    lifted: i64,
    /// When the pause began, as far as this tab knows. Not stored.
    since: i64,
    /// Answers in a row that asked for patience without saying how much. Not stored.
    waits: u32,
    /// When a storm was over: what was noted before no longer counts. Not stored.
    calm_since: Option<i64>,
}

impl Limits {
    fn pause(self) -> i64 {
        self.cooldown.max(SHORTEST_PAUSE)
    }
}

impl Breaker {
    /// A breaker as another tab stored it.
    pub fn stored(failures: u32, opened_at: Option<i64>, not_before: i64) -> Self {
        Self {
            failures,
            opened_at,
            not_before,
            ..Self::default()
        }
    }

    /// Takes over what another tab learnt about the same credential; whoever saw more is right.
    /// Returns true when that was news.
    pub(super) fn learn(&mut self, other: Self, now: i64) -> bool {
        // Opened in the future: the wall clock was set back since.
        let set_back = |at: i64| at.saturating_sub(now) > CLOCK_NOISE;
        if other.opened_at.is_some_and(set_back) || self.is_over(other) {
            return false;
        }
        let before = self.parts();
        let (seen, theirs) = (
            (self.failures, self.opened_at),
            (other.failures, other.opened_at),
        );
        if theirs > seen {
            *self = Self {
                waits: self.waits,
                ..other
            };
        } else if theirs == seen && other.not_before > self.lifted {
            self.not_before = self.not_before.max(other.not_before);
        }
        let news = self.parts() != before;
        if news {
            self.since = now;
        }
        news
    }

    /// `(failures, opened_at, not_before)`, for storage.
    pub fn parts(&self) -> (u32, Option<i64>, i64) {
        (self.failures, self.opened_at, self.not_before)
    }

    /// Where it stands now.
    pub fn state(&self, now: i64) -> State {
        match self.opened_at {
            None => State::Closed,
            Some(_) if self.blocked(now) => State::Open(self.not_before),
            Some(_) => State::HalfOpen,
        }
    }

    /// Whether a refresh call may go out now.
    pub fn allows(&self, now: i64) -> bool {
        !self.blocked(now)
    }

    /// The moment before which no refresh call goes out, if that is in the future.
    pub fn retry_at(&self, now: i64) -> Option<i64> {
        self.blocked(now).then_some(self.not_before)
    }

    /// A failure that does not count (429): wait, but never open. A server that does not say for how
    /// long is asked less and less often.
    pub fn wait(&mut self, now: i64, retry_after: Option<i64>, roll: f64) {
        let longer = ((BACKOFF * 5) << self.waits.min(6)).min(LONGEST_PAUSE);
        if retry_after.is_none() {
            self.waits = self.waits.saturating_add(1);
        }
        self.pause(now, retry_after.map_or_else(|| jittered(longer, roll), cap));
    }

    /// No call for `pause` ms, and nothing else.
    pub fn pause(&mut self, now: i64, pause: i64) {
        let earlier = self.retry_at(now).unwrap_or(now);
        self.not_before = earlier.max(now.saturating_add(pause));
        self.since = now;
    }

    /// A counted failure. Returns true when it opened the breaker.
    pub fn fail(&mut self, now: i64, retry_after: Option<i64>, limits: Limits, roll: f64) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = self.failures >= limits.max_failures.max(1);
        let pause = if opens {
            let doublings = (self.failures - limits.max_failures.max(1)).min(16);
            let longest = LONGEST_PAUSE.max(limits.pause());
            jittered(
                limits.pause().saturating_mul(1 << doublings).min(longest),
                roll,
            )
        } else {
            jittered(BACKOFF, roll)
        };
        let pause = pause.max(retry_after.map_or(0, cap));
        self.not_before = now.saturating_add(pause);
        self.since = now;
        let was_open = self.opened_at.is_some();
        if opens {
            self.opened_at = Some(now);
        }
        opens && !was_open
    }

    /// Opens at once, for a storm (behaviour.md 2.13).
    pub fn trip(&mut self, now: i64, limits: Limits, roll: f64) {
        self.failures = self.failures.max(limits.max_failures);
        self.opened_at = Some(now);
        self.not_before = now.saturating_add(jittered(limits.pause(), roll));
        self.since = now;
    }

    /// A success, a new credential or a sign-in. Returns true when it closed an open breaker.
    pub fn reset(&mut self) -> bool {
        let was_open = self.opened_at.is_some();
        *self = Self::default();
        was_open
    }

    /// A storm is over (behaviour.md 2.13). Returns true when that closed an open breaker.
    pub fn calm(&mut self, now: i64) -> bool {
        let was_open = self.reset();
        self.calm_since = Some(now);
        was_open
    }

    /// The page woke up or came online: an open breaker that has settled may be probed now
    /// (behaviour.md 2.12).
    pub fn wake(&mut self, now: i64) {
        let settled = self
            .opened_at
            .is_some_and(|at| now.saturating_sub(at) >= SETTLED);
        if settled {
            self.lifted = self.lifted.max(self.not_before);
            self.not_before = now;
        }
    }

    /// Whether another tab's note is from before the calm.
    fn is_over(&self, other: Self) -> bool {
        let opened_at = other.opened_at.zip(self.calm_since);
        opened_at.is_some_and(|(opened_at, calm)| opened_at <= calm)
    }

    // A wall clock that was set back must not pause refreshing for longer than any rule asks.
    fn blocked(&self, now: i64) -> bool {
        let left = self.not_before.saturating_sub(now);
        let set_back = now < self.since.saturating_sub(CLOCK_NOISE);
        left > 0 && left <= LONGEST_RETRY_AFTER + LONGEST_PAUSE && !set_back
    }
}

/// `Retry-After` in either form, as ms from `now`; nonsense is `None` (RFC 9110 §10.2.3).
pub(super) fn retry_after(header: &str, now: i64) -> Option<i64> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        return super::expiry::decimal(header).map(|seconds| cap(seconds.saturating_mul(1000)));
    }
    let at = super::expiry::http_date(header)?;
    Some(at.saturating_sub(now)).filter(|ms| *ms > 0).map(cap)
}

fn cap(ms: i64) -> i64 {
    ms.clamp(0, LONGEST_RETRY_AFTER)
}

/// Spreads a pause over `[ms, 1.5 ms)`, so that clients do not come back all at once.
fn jittered(ms: i64, roll: f64) -> i64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "pauses are minutes, far below 2^52 ms"
    )]
    let spread = (ms as f64 * 0.5 * roll) as i64;
    ms.saturating_add(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_failures: 2,
        cooldown: 30_000,
    };

    // 2.10, 2.12
    #[test]
    fn two_failures_open_it_a_probe_goes_through_and_failing_doubles_the_pause() {
        let mut breaker = Breaker::default();
        assert!(!breaker.fail(0, None, LIMITS, 0.0));
        assert_eq!(breaker.state(0), State::Closed);
        assert!(!breaker.allows(999) && breaker.allows(1_000));
        assert!(breaker.fail(1_000, None, LIMITS, 0.0));
        assert_eq!(breaker.state(30_999), State::Open(31_000));
        assert_eq!(breaker.state(31_000), State::HalfOpen);
        assert!(!breaker.fail(31_000, None, LIMITS, 0.0));
        assert_eq!(breaker.state(31_001), State::Open(91_000));
        assert!(breaker.reset());
        assert_eq!(breaker.state(31_002), State::Closed);
    }

    // 2.10
    #[test]
    fn pauses_end_at_five_minutes_and_jitter_only_lengthens() {
        let mut breaker = Breaker::default();
        for _ in 0..40 {
            breaker.fail(0, None, LIMITS, 0.999);
        }
        assert!(breaker.retry_at(0).unwrap() < 450_000);
        assert!(breaker.retry_at(0).unwrap() >= 300_000);
    }

    // 2.10: no option makes a loop
    #[test]
    fn an_open_breaker_pauses_even_without_a_cooldown() {
        let mut breaker = Breaker::default();
        let hasty = Limits {
            max_failures: 1,
            cooldown: 0,
        };
        breaker.fail(0, None, hasty, 0.0);
        assert_eq!(breaker.retry_at(0), Some(SHORTEST_PAUSE));
    }

    // 2.6, 2.10
    #[test]
    fn retry_after_wins_when_it_is_later_and_is_capped() {
        let mut breaker = Breaker::default();
        breaker.fail(0, Some(20_000), LIMITS, 0.0);
        assert_eq!(breaker.retry_at(0), Some(20_000));
        assert_eq!(retry_after("120", 0), Some(120_000));
        assert_eq!(
            retry_after("99999999999999999999", 0),
            Some(LONGEST_RETRY_AFTER)
        );
        assert_eq!(
            retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0),
            Some(60_000)
        );
        for nonsense in ["", "-5", "soon", "1.5h"] {
            assert_eq!(retry_after(nonsense, 0), None, "{nonsense}");
        }
    }

    // 2.12
    #[test]
    fn waking_probes_only_a_settled_breaker() {
        let mut breaker = Breaker::default();
        breaker.trip(0, LIMITS, 0.0);
        breaker.wake(4_999);
        assert!(!breaker.allows(4_999));
        breaker.wake(5_000);
        assert_eq!(breaker.state(5_000), State::HalfOpen);
    }

    // 2.5, 2.10: a server that asks for patience without saying how much gets more and more of it
    #[test]
    fn waits_without_a_number_double_up_to_five_minutes_and_never_open_it() {
        let mut breaker = Breaker::default();
        let mut now = 0;
        for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
            breaker.wait(now, None, 0.0);
            assert_eq!(breaker.retry_at(now), Some(now + pause * 1_000));
            now += pause * 1_000;
        }
        breaker.wait(now, Some(2_000), 0.0);
        assert_eq!(breaker.retry_at(now), Some(now + 2_000), "as asked");
        assert_eq!(breaker.state(now), State::Closed);
        breaker.reset();
        breaker.wait(now, None, 0.0);
        assert_eq!(breaker.retry_at(now), Some(now + 5_000));
    }

    // 2.12, 5.8: whoever saw more is right, and the past is the past
    #[test]
    fn it_learns_of_failures_and_pauses_and_of_nothing_older_than_a_calm() {
        let mut breaker = Breaker::default();
        let mut other = Breaker::default();
        other.fail(0, None, LIMITS, 0.0);
        other.fail(1_000, None, LIMITS, 0.0);
        assert!(breaker.learn(other, 2_000));
        assert_eq!(breaker.state(2_000), State::Open(31_000));
        assert!(!breaker.learn(other, 2_000), "no news");
        assert!(!breaker.learn(Breaker::default(), 2_000));
        assert_eq!(breaker.parts(), other.parts());
        assert!(breaker.calm(40_000));
        assert!(!breaker.learn(other, 40_000));
        assert_eq!(breaker.state(40_000), State::Closed);
        other.fail(41_000, None, LIMITS, 0.0);
        assert!(breaker.learn(other, 41_000), "later than the calm");
    }

    // 2.12, 2.13: storage keeps a note of it until the next refresh
    #[test]
    fn a_breaker_that_was_closed_is_not_opened_again_by_its_own_note() {
        let mut breaker = Breaker::default();
        breaker.trip(60_000, LIMITS, 0.0);
        let note = breaker;
        assert!(breaker.calm(61_000));
        assert!(!breaker.learn(note, 61_000));
        assert_eq!(breaker.state(61_000), State::Closed);
        let mut later = Breaker::default();
        later.trip(62_000, LIMITS, 0.0);
        assert!(
            breaker.learn(later, 62_000),
            "another tab saw another storm"
        );
    }
}
