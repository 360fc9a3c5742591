//! Requests per minute, in fixed windows as Laravel's `throttle:5,1` counts them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

const WINDOW_MS: i64 = 60_000;

/// What is being limited.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bucket {
    Login,
    Refresh,
    Request,
}

/// A limit that was reached.
pub(crate) struct Exceeded {
    pub(crate) limit: u32,
    /// Seconds until the window ends, at least 1.
    pub(crate) retry_after: i64,
}

/// Counters per bucket and key (a person, or a route for those not signed in).
#[derive(Default)]
pub(crate) struct Limits {
    windows: Mutex<HashMap<(Bucket, String), Window>>,
}

#[derive(Default)]
struct Window {
    ends_at: i64,
    hits: u32,
}

impl Limits {
    /// Counts one hit at `now` (ms). `limit` 0 means no limit.
    pub(crate) fn hit(
        &self,
        bucket: Bucket,
        key: &str,
        limit: u32,
        now: i64,
    ) -> Result<(), Exceeded> {
        if limit == 0 {
            return Ok(());
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry((bucket, key.to_owned())).or_default();
        // The second half: a test may have turned the clock back.
        if window.ends_at <= now || window.ends_at > now + WINDOW_MS {
            *window = Window {
                ends_at: now + WINDOW_MS,
                hits: 0,
            };
        }
        if window.hits >= limit {
            return Err(Exceeded {
                limit,
                retry_after: ((window.ends_at - now + 999) / 1000).max(1),
            });
        }
        window.hits += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_ends() {
        let limits = Limits::default();
        let hit = |now| {
            limits
                .hit(Bucket::Login, "x", 2, now)
                .map_err(|exceeded| exceeded.retry_after)
        };
        assert_eq!([hit(0), hit(1000), hit(2000)], [Ok(()), Ok(()), Err(58)]);
        assert_eq!(hit(60_000), Ok(()));
    }

    #[test]
    fn zero_is_no_limit_and_keys_are_apart() {
        let limits = Limits::default();
        assert!((0..50).all(|_| limits.hit(Bucket::Login, "x", 0, 0).is_ok()));
        assert!(limits.hit(Bucket::Login, "x", 1, 0).is_ok());
        assert!(limits.hit(Bucket::Login, "y", 1, 0).is_ok());
        assert!(limits.hit(Bucket::Refresh, "x", 1, 0).is_ok());
    }
}
