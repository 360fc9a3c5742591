//! Why the last session ended: what to tell a person who asks "why was I signed out?".

use super::record::Tombstone;
use super::response::Dead;
use super::session::Session;

/// The end of a session, as far as it is known. It holds no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `None` = somebody signed out; otherwise the credential died.
    pub dead: Option<Dead>,
    /// It happened in another tab; `None` = before this page was opened.
    pub elsewhere: Option<bool>,
    /// When, ms since the epoch.
    pub at: i64,
    /// The HTTP status that ended it, where there was one.
    pub status: Option<u16>,
    /// When its last token was asked for, ms since the epoch.
    pub issued_at: Option<i64>,
    /// How often it had been refreshed.
    pub refreshes: Option<u32>,
}

impl Ending {
    /// The death of a session's credential in another tab.
    pub(super) fn of(session: &Session, dead: Dead, at: i64, status: Option<u16>) -> Self {
        Self {
            dead: Some(dead),
            elsewhere: Some(true),
            at,
            status,
            issued_at: Some(session.issued_at),
            refreshes: Some(session.rotation),
        }
    }

    /// What a stored tombstone tells of an end before this page was opened.
    pub(super) fn read(tombstone: &Tombstone) -> Self {
        Self {
            dead: tombstone.dead,
            elsewhere: None,
            at: tombstone.at,
            status: tombstone.status,
            issued_at: None,
            refreshes: None,
        }
    }

    /// The stable text.
    pub fn reason(&self) -> &'static str {
        self.dead.map_or("signed_out", Dead::as_str)
    }

    /// One sentence for people.
    pub fn message(&self) -> &'static str {
        match self.dead {
            None => "Somebody signed out.",
            Some(Dead::Expired) => {
                "The session was past its end: the server took its credential no longer."
            }
            Some(Dead::Revoked) => "The server ended the session.",
            Some(Dead::LostResponse) => {
                "The answer to a refresh got lost on its way, and the server grants no second try."
            }
            Some(Dead::Ambiguous) => {
                "Three refreshes in a row brought no answer that makes sense; the last token has ended."
            }
        }
    }
}
