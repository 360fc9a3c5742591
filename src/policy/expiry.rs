//! Lifetimes, lead time, and every spelling of a moment that servers use.

/// The longest lifetime that is believed: ten years, in ms (behaviour.md 1.5).
const LONGEST: i64 = 10 * 365 * 86_400_000;
/// Numbers above this are epoch milliseconds, below it epoch seconds (behaviour.md 1.8).
const MILLISECONDS_FROM: f64 = 1e11;
/// Sources of expiry that differ by more than this disagree (behaviour.md 1.7), ms.
const DISAGREE: i64 = 60_000;
/// Clock skew below this is not worth correcting (behaviour.md 1.9), ms.
const SKEW_NOISE: i64 = 30_000;
/// A token that lives shorter than this is never renewed ahead of time (behaviour.md 1.11), ms.
const TOO_SHORT: i64 = 10_000;

/// The two clocks at one moment. The wall clock may jump; the monotonic one may stop during sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the epoch.
    pub wall: i64,
    /// Milliseconds since an arbitrary start; never goes back.
    pub mono: i64,
}

/// One member of a JSON object, as far as keepfresh cares.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// Not there, or null.
    Absent,
    /// Of a kind that no rule reads: a list or an object.
    Other,
    /// A JSON boolean.
    Flag(bool),
    /// A JSON number.
    Number(f64),
    /// A JSON string.
    Text(String),
}

/// What one token response says about the end of its token. Unreadable values are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// `expires_in` (or its minutes sibling), ms.
    pub relative: Option<i64>,
    /// `expires_at`, ms since the epoch on the server's clock.
    pub absolute: Option<i64>,
    /// The JWT's `exp`, ms since the epoch on the server's clock.
    pub jwt_exp: Option<i64>,
    /// The JWT's `iat`, ms since the epoch on the server's clock.
    pub jwt_iat: Option<i64>,
    /// A lifetime was given that cannot be read (behaviour.md 1.5).
    pub unreadable: bool,
    /// The token was minted earlier and is handed over now: its `iat` says nothing about the clocks,
    /// and an end in the past is real (behaviour.md 1.9).
    pub held: bool,
}

/// When a token request was sent and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Just before the request left.
    pub sent: Now,
    /// Just after the answer arrived.
    pub received: Now,
    /// The answer's `Date`, ms since the epoch, where the page may read it.
    pub date: Option<i64>,
}

impl Lifetimes {
    /// The token's end in ms since the epoch on the local clock, earliest source first when they
    /// disagree, or `None` when no source is usable (behaviour.md 1.6, 1.7, 1.9).
    pub fn expires_at(&self, timing: &Timing, default: Option<i64>) -> Option<i64> {
        let anchor = timing.sent.wall;
        let Some((first, earliest)) = self.sources(timing) else {
            return default.map(|ms| anchor.saturating_add(ms));
        };
        Some(if first.saturating_sub(earliest) > DISAGREE {
            earliest
        } else {
            first
        })
    }

    /// Whether the sources name different moments (behaviour.md 1.7).
    pub fn disagree(&self, timing: &Timing) -> bool {
        self.sources(timing)
            .is_some_and(|(first, earliest)| first.saturating_sub(earliest) > DISAGREE)
    }

    /// What the first source in order says, and what the earliest says.
    fn sources(&self, timing: &Timing) -> Option<(i64, i64)> {
        let anchor = timing.sent.wall;
        let skew = self.skew(timing);
        let from_jwt = match (self.jwt_exp, self.jwt_iat) {
            (Some(exp), Some(iat)) if exp > iat && !self.held => {
                Some(anchor.saturating_add((exp - iat).min(LONGEST)))
            }
            _ => None,
        };
        // A token that was minted just now is not already dead: then the clocks disagree, not the token.
        let alive = |at: &i64| self.held || *at > timing.received.wall;
        let local = |at: i64| Some(at.saturating_sub(skew)).filter(alive);
        let sources = [
            self.relative.map(|ms| anchor.saturating_add(ms)),
            from_jwt,
            self.absolute.and_then(local),
            self.jwt_exp.filter(|_| from_jwt.is_none()).and_then(local),
        ];
        let latest = anchor.saturating_add(LONGEST);
        let mut known = sources.into_iter().flatten().map(|at| at.min(latest));
        let first = known.next()?;
        Some((first, known.fold(first, i64::min)))
    }

    /// Server clock minus local clock, ms; 0 when it is unknown or small.
    fn skew(&self, timing: &Timing) -> i64 {
        let middle = timing.sent.wall / 2 + timing.received.wall / 2;
        if self.held {
            return 0;
        }
        let skew = match (timing.date, self.jwt_iat) {
            (Some(date), _) => date.saturating_sub(middle),
            (None, Some(iat)) => iat.saturating_sub(timing.received.wall),
            (None, None) => 0,
        };
        if skew.saturating_abs() > SKEW_NOISE {
            skew
        } else {
            0
        }
    }
}

/// How long before its end a token is renewed, ms: `min(buffer, lifetime / 2)`, and not at all for
/// tokens that live shorter than ten seconds (behaviour.md 1.11).
pub(super) fn lead(lifetime: i64, buffer: i64) -> i64 {
    if lifetime < TOO_SHORT {
        return 0;
    }
    buffer.min(lifetime / 2)
}

/// A lifetime such as `expires_in`, with `unit` ms to one of it. Zero, negative, NaN and words are
/// unknown, never "expired" (behaviour.md 1.5).
pub(super) fn duration(field: &Field, unit: i64) -> Option<i64> {
    let amount = match field {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "saturates, and is clamped below"
        )]
        Field::Number(number) => (number * milliseconds(unit)) as i64,
        Field::Text(text) => decimal(text.trim())?.saturating_mul(unit),
        Field::Absent | Field::Other | Field::Flag(_) => return None,
    };
    (amount > 0).then_some(amount.min(LONGEST))
}

/// A moment such as `expires_at` or a JWT's `exp`: epoch seconds, epoch milliseconds or ISO 8601.
pub fn instant(field: &Field) -> Option<i64> {
    match field {
        Field::Number(number) => epoch(*number),
        Field::Text(text) => {
            let text = text.trim();
            match decimal(text) {
                #[allow(
                    clippy::cast_precision_loss,
                    reason = "only the order of size matters here"
                )]
                Some(number) => epoch(number as f64),
                None => iso8601(text),
            }
        }
        Field::Absent | Field::Other | Field::Flag(_) => None,
    }
}

/// An ISO 8601 moment in ms since the epoch. No zone means UTC, unlike JavaScript's `Date.parse`
/// (behaviour.md 1.8).
pub fn iso8601(text: &str) -> Option<i64> {
    let mut scan = Scan(text.as_bytes());
    let year = scan.digits(4)?;
    scan.expect(b'-')?;
    let month = scan.digits(2)?;
    scan.expect(b'-')?;
    let day = scan.digits(2)?;
    if scan.0.is_empty() {
        return moment(year, month, day, 0, 0, 0);
    }
    scan.one_of(b"Tt ")?;
    let hour = scan.digits(2)?;
    scan.expect(b':')?;
    let minute = scan.digits(2)?;
    let second = if scan.expect(b':').is_some() {
        scan.digits(2)?
    } else {
        0
    };
    let fraction = if scan.one_of(b".,").is_some() {
        scan.fraction()?
    } else {
        0
    };
    let offset = scan.zone()?;
    if !scan.0.is_empty() {
        return None;
    }
    Some(moment(year, month, day, hour, minute, second)? + fraction - offset)
}

/// An HTTP date (RFC 9110 §5.6.7, all three forms) in ms since the epoch.
pub fn http_date(text: &str) -> Option<i64> {
    let mut numbers = [None::<i64>; 2];
    let (mut month, mut time) = (None, None);
    for word in text.split([' ', ',', '-']).filter(|word| !word.is_empty()) {
        if word.contains(':') {
            time = Some(clock(word)?);
        } else if let Some(number) = decimal(word) {
            let slot = numbers.iter_mut().find(|slot| slot.is_none())?;
            *slot = Some(number);
        } else if month.is_none() {
            month = month_number(word);
        }
    }
    let [Some(day), Some(year)] = numbers else {
        return None;
    };
    let year = match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        _ => year,
    };
    let (hour, minute, second) = time?;
    moment(year, month?, day, hour, minute, second)
}

/// The JSON text of a JWT's payload, for scheduling only: nothing is verified (behaviour.md 1.20).
/// Anything that is not a three-part JWS is an opaque token: `None`.
pub fn jwt_payload(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    String::from_utf8(base64url(payload)?).ok()
}

/// Digits, with an ignored fraction, as a number. Words, signs and exponents are none.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    Some(whole.bytes().fold(0_i64, |sum, byte| {
        sum.saturating_mul(10)
            .saturating_add(i64::from(byte - b'0'))
    }))
}

fn milliseconds(unit: i64) -> f64 {
    if unit == 1 {
        1.0
    } else if unit == 60_000 {
        60_000.0
    } else {
        1000.0
    }
}

fn epoch(number: f64) -> Option<i64> {
    if !number.is_finite() || number <= 0.0 || number > 1e15 {
        return None;
    }
    let ms = if number > MILLISECONDS_FROM {
        number
    } else {
        number * 1000.0
    };
    #[allow(clippy::cast_possible_truncation, reason = "bounded to 1e15 above")]
    Some(ms as i64)
}

fn clock(word: &str) -> Option<(i64, i64, i64)> {
    let mut parts = word.split(':').map(decimal);
    let time = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(time)
}

fn month_number(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let index = MONTHS
        .iter()
        .position(|month| month.eq_ignore_ascii_case(word))?;
    i64::try_from(index + 1).ok()
}

/// Days-from-civil (proleptic Gregorian), then seconds, then ms.
fn moment(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<i64> {
    let real = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..=24).contains(&hour)
        && (0..=59).contains(&minute)
        && (0..=60).contains(&second);
    if !real {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000)
}

fn base64url(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.is_empty() || text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// What is left of a text that is read from the front.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !wanted.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    fn expect(&mut self, wanted: u8) -> Option<u8> {
        self.one_of(&[wanted])
    }

    fn digits(&mut self, count: u32) -> Option<i64> {
        let mut number = 0;
        for _ in 0..count {
            number = number * 10 + i64::from(self.one_of(b"0123456789")? - b'0');
        }
        Some(number)
    }

    /// Fractional seconds of any length, in ms.
    fn fraction(&mut self) -> Option<i64> {
        let (mut ms, mut worth) = (0, 100);
        let mut seen = false;
        while let Some(digit) = self.one_of(b"0123456789") {
            ms += worth * i64::from(digit - b'0');
            worth /= 10;
            seen = true;
        }
        seen.then_some(ms)
    }

    /// `Z`, `+hh:mm`, `+hhmm`, `+hh` or nothing, as ms to take off.
    fn zone(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.one_of(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2)?;
        let colon = self.expect(b':').is_some();
        let minutes = if colon || !self.0.is_empty() {
            self.digits(2)?
        } else {
            0
        };
        Some(sign * (hours * 60 + minutes) * 60_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_763_640_000_000; // 2025-11-20T12:00:00Z

    // 1.8
    #[test]
    fn every_iso_spelling_is_the_same_moment() {
        for text in [
            "2025-11-20T12:00:00Z",
            "2025-11-20T12:00:00.000000Z",
            "2025-11-20T12:00:00+00:00",
            "2025-11-20T14:00:00+0200",
            "2025-11-20T05:30:00-06:30",
            "2025-11-20 12:00:00",
            "2025-11-20T12:00",
        ] {
            assert_eq!(iso8601(text), Some(NOON), "{text}");
        }
        assert_eq!(iso8601("2025-11-20T12:00:00.5Z"), Some(NOON + 500));
        assert_eq!(iso8601("2025-11-20"), Some(NOON - 12 * 3_600_000));
        for text in [
            "",
            "tomorrow",
            "2025-13-01",
            "2025-11-20T12:00:00Zx",
            "2025-11-20T",
            "20251120",
        ] {
            assert_eq!(iso8601(text), None, "{text}");
        }
    }

    // 1.9, 2.6
    #[test]
    fn http_dates_in_all_three_forms() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http_date(text), Some(784_111_777_000), "{text}");
        }
        assert_eq!(http_date("soon"), None);
    }

    // 1.5
    #[test]
    fn strange_lifetimes_are_unknown_and_huge_ones_are_capped() {
        for field in [
            Field::Number(0.0),
            Field::Number(-1.0),
            Field::Number(f64::NAN),
            Field::Text("1h".into()),
            Field::Text(String::new()),
            Field::Other,
        ] {
            assert_eq!(duration(&field, 1000), None, "{field:?}");
        }
        assert_eq!(
            duration(&Field::Text(" 3600 ".into()), 1000),
            Some(3_600_000)
        );
        assert_eq!(duration(&Field::Number(0.5), 1000), Some(500));
        for huge in [1e308, 9_007_199_254_740_992.0, f64::INFINITY] {
            assert_eq!(duration(&Field::Number(huge), 1000), Some(LONGEST));
        }
    }

    // 1.8
    #[test]
    fn instants_as_seconds_milliseconds_and_text() {
        let seconds = Field::Number(1_763_640_000.0);
        let ms = Field::Number(1_763_640_000_000.0);
        for field in [seconds, ms, Field::Text("1763640000".into())] {
            assert_eq!(instant(&field), Some(NOON), "{field:?}");
        }
        assert_eq!(instant(&Field::Number(-5.0)), None);
    }

    fn timing(local: i64, date: Option<i64>) -> Timing {
        let now = Now {
            wall: local,
            mono: 0,
        };
        Timing {
            sent: now,
            received: now,
            date,
        }
    }

    // 1.9
    #[test]
    fn absolute_expiry_is_corrected_by_the_date_header() {
        let absolute = Lifetimes {
            absolute: Some(NOON + 60_000),
            ..Lifetimes::default()
        };
        let ahead = NOON + 600_000;
        assert_eq!(
            absolute.expires_at(&timing(ahead, Some(NOON)), None),
            Some(ahead + 60_000)
        );
        // No Date to read and an end that lies in our past: unknown rather than expired.
        assert_eq!(absolute.expires_at(&timing(ahead, None), None), None);
    }

    // 1.9
    #[test]
    fn a_token_that_is_handed_over_is_as_old_as_it_says() {
        let jwt = |exp| Lifetimes {
            jwt_exp: Some(exp),
            jwt_iat: Some(exp - 3_600_000),
            held: true,
            ..Lifetimes::default()
        };
        let now = timing(NOON, None);
        assert_eq!(
            jwt(NOON + 600_000).expires_at(&now, None),
            Some(NOON + 600_000)
        );
        assert_eq!(
            jwt(NOON - 600_000).expires_at(&now, None),
            Some(NOON - 600_000)
        );
    }

    // 1.7
    #[test]
    fn sources_that_disagree_yield_the_earliest() {
        let both = Lifetimes {
            relative: Some(3_600_000),
            absolute: Some(NOON + 300_000),
            ..Lifetimes::default()
        };
        assert_eq!(
            both.expires_at(&timing(NOON, None), None),
            Some(NOON + 300_000)
        );
    }

    // 1.7, 1.9
    #[test]
    fn the_jwt_counts_from_its_own_iat() {
        let jwt = Lifetimes {
            jwt_exp: Some(NOON + 300_000),
            jwt_iat: Some(NOON),
            ..Lifetimes::default()
        };
        let behind = NOON - 7_200_000;
        assert_eq!(
            jwt.expires_at(&timing(behind, None), None),
            Some(behind + 300_000)
        );
    }

    // 1.20
    #[test]
    fn jwt_payloads_decode_and_garbage_does_not() {
        assert_eq!(
            jwt_payload("e30.eyJleHAiOjF9.c2ln").as_deref(),
            Some(r#"{"exp":1}"#)
        );
        for bad in ["", "a.b", "a.b.c.d.e", "a.!.c", "a.AAAAA.c", "12|abc"] {
            assert_eq!(jwt_payload(bad), None, "{bad}");
        }
    }

    // 1.11, known-failures 67
    #[test]
    fn lead_is_half_of_short_lives_and_none_of_very_short_ones() {
        assert_eq!(lead(3_600_000, 120_000), 120_000);
        assert_eq!(lead(60_000, 120_000), 30_000);
        assert_eq!(lead(5_000, 120_000), 0);
    }

    // 1.7: the first in order is believed, as long as the others do not say much less
    #[test]
    fn of_sources_that_agree_the_first_in_order_counts() {
        let now = timing(NOON, Some(NOON));
        let hour = 3_600_000;
        let mut lifetimes = Lifetimes {
            relative: Some(hour),
            absolute: Some(NOON + hour + 20_000),
            jwt_exp: Some(NOON + hour + 10_000),
            jwt_iat: Some(NOON),
            ..Lifetimes::default()
        };
        let end = |lifetimes: &Lifetimes| lifetimes.expires_at(&now, Some(1)).map(|at| at - NOON);
        assert_eq!(end(&lifetimes), Some(hour));
        assert!(!lifetimes.disagree(&now));
        lifetimes.relative = None;
        assert_eq!(end(&lifetimes), Some(hour + 10_000), "exp - iat");
        lifetimes.jwt_iat = None;
        assert_eq!(end(&lifetimes), Some(hour + 20_000), "expires_at");
        lifetimes.absolute = None;
        assert_eq!(end(&lifetimes), Some(hour + 10_000), "exp alone");
        lifetimes.jwt_exp = None;
        assert_eq!(end(&lifetimes), Some(1), "the default");
        assert_eq!(lifetimes.expires_at(&now, None), None);
    }

    // 1.7
    #[test]
    fn sources_disagree_when_one_says_a_minute_less_and_then_the_earliest_counts() {
        let now = timing(NOON, Some(NOON));
        for (less, disagree, end) in [
            (60_000, false, 3_600_000),
            (60_001, true, 3_539_999),
            (-600_000, false, 3_600_000),
        ] {
            let lifetimes = Lifetimes {
                relative: Some(3_600_000),
                absolute: Some(NOON + 3_600_000 - less),
                ..Lifetimes::default()
            };
            assert_eq!(lifetimes.disagree(&now), disagree, "{less}");
            assert_eq!(lifetimes.expires_at(&now, None), Some(NOON + end), "{less}");
        }
    }

    // 1.9: above thirty seconds, from Date or else from the iat of a token that was minted now
    #[test]
    fn clocks_are_corrected_only_when_they_are_more_than_thirty_seconds_apart() {
        let absolute = |iat| Lifetimes {
            absolute: Some(NOON + 3_600_000),
            jwt_iat: iat,
            ..Lifetimes::default()
        };
        for (skew, corrected) in [
            (0, 0),
            (30_000, 0),
            (-30_000, 0),
            (30_002, 30_002),
            (-30_002, -30_002),
            (600_000, 600_000),
        ] {
            let local = NOON - skew;
            let end = Some(NOON + 3_600_000 - corrected);
            let by_date = absolute(None).expires_at(&timing(local, Some(NOON)), None);
            assert_eq!(by_date, end, "Date, {skew}");
            let by_iat = absolute(Some(NOON)).expires_at(&timing(local, None), None);
            assert_eq!(by_iat, end, "iat, {skew}");
            // Where both are there, the server's clock is Date.
            let both = absolute(Some(NOON - 900_000));
            assert_eq!(both.expires_at(&timing(local, Some(NOON)), None), end);
        }
        // A slow answer: the clocks are compared in the middle of it.
        let slow = Timing {
            sent: Now {
                wall: NOON - 50_000,
                mono: 0,
            },
            received: Now {
                wall: NOON + 50_000,
                mono: 0,
            },
            date: Some(NOON),
        };
        assert_eq!(
            absolute(None).expires_at(&slow, None),
            Some(NOON + 3_600_000)
        );
    }

    // 1.9: the answer of a cache is as old as it says, and tells nothing of the clocks
    #[test]
    fn no_skew_is_taken_from_a_token_that_was_kept() {
        let kept = Lifetimes {
            absolute: Some(NOON + 60_000),
            jwt_iat: Some(NOON - 3_600_000),
            held: true,
            ..Lifetimes::default()
        };
        for date in [None, Some(NOON - 600_000), Some(NOON + 600_000)] {
            let end = kept.expires_at(&timing(NOON, date), None);
            assert_eq!(end, Some(NOON + 60_000), "{date:?}");
        }
    }
}
