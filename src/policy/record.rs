//! What one login leaves in storage: its record while it lives, its tombstone afterwards. What is
//! read there is untrusted input (behaviour.md 5.16, 6.15).

use super::breaker::Breaker;
use super::ending::Ending;
use super::expiry::Field;
use super::response::{Body, Dead};
use super::session::{Secret, Session};

/// The latest moment that is believed: the year 2286, ms since the epoch.
const LATEST: i64 = 10_000_000_000_000;
/// The longest id of a login.
const LONGEST_SID: usize = 64;

/// One stored session with what the tabs know about its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The session; its `deadline` is not stored.
    pub session: Session,
    /// The breaker of this session's credential (behaviour.md 2.12).
    pub breaker: Breaker,
    /// When a refresh call with this credential went out whose answer is not in yet, ms since the
    /// epoch: the write-ahead marker (behaviour.md 5.5).
    pub sent_at: Option<i64>,
    /// A call with this credential went out and its answer got lost (behaviour.md 5.14).
    pub indeterminate: bool,
    /// How the credential died, where it is dead and that was noted.
    pub died: Option<Ending>,
}

/// A login that is over, and why. It holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstone {
    /// The login that ended.
    pub sid: String,
    /// `None` = signed out by a person; otherwise the credential died.
    pub dead: Option<Dead>,
    /// When, ms since the epoch.
    pub at: i64,
    /// The HTTP status that ended it, where there was one.
    pub status: Option<u16>,
}

impl Record {
    /// A record of this session about which nothing else is known.
    pub fn of(session: Session) -> Self {
        Self {
            session,
            breaker: Breaker::default(),
            sent_at: None,
            indeterminate: false,
            died: None,
        }
    }

    /// How the credential died, if it is dead, as far as the record tells.
    pub(super) fn death(&self, now: i64) -> Option<Ending> {
        let dead = if self.indeterminate {
            Dead::LostResponse
        } else {
            Dead::Expired
        };
        let guess = || Ending::of(&self.session, dead, now, None);
        self.session.dead.then(|| self.died.unwrap_or_else(guess))
    }

    /// Reads a stored record. Believes nothing: types, sizes and the characters of tokens are
    /// checked, and where the session is kept is for the reader to say. `tokenless` = the access token
    /// may be missing, for it may be in a cookie.
    pub fn read(body: &dyn Body, tokenless: bool) -> Option<Self> {
        let rotation = small(body, "rotation")?;
        let access_token = secret(body, "access_token")?;
        if access_token.is_none() && !tokenless {
            return None;
        }
        let session = Session {
            sid: sid(body)?,
            rotation,
            access_token,
            refresh_token: secret(body, "refresh_token")?,
            credential_since: small(body, "credential_since")
                .unwrap_or(rotation)
                .min(rotation),
            handover_key: secret(body, "handover_key")?,
            issued_at: moment(body, "issued_at")?,
            expires_at: moment(body, "expires_at"),
            deadline: None,
            refresh_expires_at: moment(body, "refresh_expires_at"),
            remember: false,
            dead: flag(body, "dead"),
        };
        let breaker = Breaker::stored(
            small(body, "failures").unwrap_or(0),
            moment(body, "opened_at"),
            moment(body, "not_before").unwrap_or(0),
        );
        let died = reason(body, "died").filter(|_| session.dead).map(|dead| {
            let at = moment(body, "died_at").unwrap_or(0);
            Ending::of(&session, dead, at, status(body, "died_status"))
        });
        Some(Self {
            session,
            breaker,
            sent_at: moment(body, "sent_at"),
            indeterminate: flag(body, "indeterminate"),
            died,
        })
    }

    /// What to store, by name; [`Record::read`] reads it back.
    pub fn fields(&self) -> Vec<(&'static str, Field)> {
        let session = &self.session;
        let (failures, opened_at, not_before) = self.breaker.parts();
        let token = |token: &Option<Secret>| {
            let text = token.as_ref().map(|token| token.reveal().to_owned());
            text.map_or(Field::Absent, Field::Text)
        };
        let number = |value: Option<i64>| value.map_or(Field::Absent, whole);
        vec![
            ("sid", Field::Text(session.sid.clone())),
            ("rotation", whole(session.rotation.into())),
            ("access_token", token(&session.access_token)),
            ("refresh_token", token(&session.refresh_token)),
            ("credential_since", whole(session.credential_since.into())),
            ("handover_key", token(&session.handover_key)),
            ("issued_at", whole(session.issued_at)),
            ("expires_at", number(session.expires_at)),
            ("refresh_expires_at", number(session.refresh_expires_at)),
            ("dead", Field::Flag(session.dead)),
            ("failures", whole(failures.into())),
            ("opened_at", number(opened_at)),
            ("not_before", whole(not_before)),
            ("sent_at", number(self.sent_at)),
            ("indeterminate", Field::Flag(self.indeterminate)),
            ("died", died(self.died.and_then(|died| died.dead))),
            ("died_at", number(self.died.map(|died| died.at))),
            (
                "died_status",
                number(self.died.and_then(|died| died.status).map(i64::from)),
            ),
        ]
    }
}

impl Tombstone {
    /// Reads a stored tombstone.
    pub fn read(body: &dyn Body) -> Option<Self> {
        Some(Self {
            sid: sid(body)?,
            dead: reason(body, "dead"),
            at: moment(body, "at").unwrap_or(0),
            status: status(body, "status"),
        })
    }

    /// What to store, by name; [`Tombstone::read`] reads it back.
    pub fn fields(&self) -> Vec<(&'static str, Field)> {
        let status = self.status.map(|status| whole(status.into()));
        vec![
            ("sid", Field::Text(self.sid.clone())),
            ("dead", died(self.dead)),
            ("at", whole(self.at)),
            ("status", status.unwrap_or(Field::Absent)),
        ]
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ms since the epoch are exact in f64"
)]
fn whole(value: i64) -> Field {
    Field::Number(value as f64)
}

fn sid(body: &dyn Body) -> Option<String> {
    match body.get("sid") {
        Field::Text(sid) if !sid.is_empty() && sid.len() <= LONGEST_SID => Some(sid),
        _ => None,
    }
}

/// No token is fine, and so is one that could stand in a header; anything else is not ours.
#[allow(clippy::option_option, reason = "outer: readable at all; inner: there")]
fn secret(body: &dyn Body, name: &str) -> Option<Option<Secret>> {
    match body.get(name) {
        Field::Absent => Some(None),
        Field::Text(text) => Secret::new(text).map(Some),
        _ => None,
    }
}

fn integer(body: &dyn Body, name: &str) -> Option<i64> {
    match body.get(name) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "saturates; checked by range"
        )]
        Field::Number(number) if number.is_finite() => Some(number as i64),
        _ => None,
    }
}

fn moment(body: &dyn Body, name: &str) -> Option<i64> {
    integer(body, name).filter(|at| (0..=LATEST).contains(at))
}

fn small(body: &dyn Body, name: &str) -> Option<u32> {
    integer(body, name).and_then(|number| u32::try_from(number).ok())
}

fn status(body: &dyn Body, name: &str) -> Option<u16> {
    small(body, name).and_then(|status| u16::try_from(status).ok())
}

fn reason(body: &dyn Body, name: &str) -> Option<Dead> {
    match body.get(name) {
        Field::Text(text) => Dead::named(&text),
        _ => None,
    }
}

fn died(dead: Option<Dead>) -> Field {
    let text = dead.map(|dead| dead.as_str().to_owned());
    text.map_or(Field::Absent, Field::Text)
}

fn flag(body: &dyn Body, name: &str) -> bool {
    body.get(name) == Field::Flag(true)
}
