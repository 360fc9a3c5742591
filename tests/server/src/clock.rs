//! The server's one idea of "now". Everything that reads the time reads it
//! here, so that a test can move the whole server, Date header included.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;

/// Bound on the offset: HTTP dates end with the year 9999.
const MAX_OFFSET_MS: i64 = 100 * 366 * 86_400_000;

/// A wall clock with an offset.
#[derive(Default)]
pub(crate) struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// Milliseconds since the epoch, offset included.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this program that reads the time"
    )]
    pub(crate) fn now_ms(&self) -> i64 {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(0));
        real + self.offset_ms.load(Ordering::Relaxed)
    }

    /// Moves the clock to `offset_ms` milliseconds from the real time.
    pub(crate) fn set_offset_ms(&self, offset_ms: i64) {
        let offset_ms = offset_ms.clamp(-MAX_OFFSET_MS, MAX_OFFSET_MS);
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// The value of the Date header.
    pub(crate) fn http_date(&self) -> HeaderValue {
        let since_epoch = Duration::from_millis(u64::try_from(self.now_ms()).unwrap_or(0));
        let text = httpdate::fmt_http_date(UNIX_EPOCH + since_epoch);
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// `2025-11-20T14:00:00Z`, rounded down to the second as the seed document shows
/// it, so that a client never believes in more life than the token has.
pub(crate) fn iso(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970-01-01 to a proleptic Gregorian date (Howard Hinnant's
/// `civil_from_days`: years start in March, eras are 400 years).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(1_763_647_200_999), "2025-11-20T14:00:00Z");
        assert_eq!(iso(951_782_399_000), "2000-02-28T23:59:59Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn offset_moves_the_date_header() {
        let clock = Clock::default();
        let before = clock.http_date();
        clock.set_offset_ms(86_400_000);
        assert_ne!(before, clock.http_date());
        clock.set_offset_ms(i64::MAX);
        clock.http_date();
        clock.set_offset_ms(i64::MIN);
        clock.http_date();
    }
}
