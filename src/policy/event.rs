//! What the policy has to tell: events for the app, log entries for the developer.
//! Neither can hold a token: no variant has room for one (behaviour.md 6.11).

use super::error::Error;
use super::response::Dead;

/// Something to hand to the app, in the order it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// For `client.on`.
    Event(Event),
    /// For `options.logger`.
    Log(Log),
}

/// A change that the app may want to act on. None is sent without a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody signed in, here or (`elsewhere`) in another tab.
    SignedIn {
        /// It happened in another tab.
        elsewhere: bool,
    },
    /// The token was renewed, here or in another tab.
    Refreshed {
        /// It happened in another tab.
        elsewhere: bool,
        /// The new end, ms since the epoch.
        expires_at: Option<i64>,
    },
    /// A refresh failed; the session is kept.
    RefreshFailed(Error),
    /// The credential is dead: a person has to sign in again.
    ReauthRequired(Dead),
    /// Somebody signed out, here or in another tab.
    SignedOut {
        /// It happened in another tab.
        elsewhere: bool,
    },
    /// Another person's session took the place of this one.
    UserChanged,
    /// Refreshing is paused.
    CircuitOpened {
        /// Until when, ms since the epoch.
        retry_at: i64,
        /// Refreshes succeed but their tokens are refused (behaviour.md 2.13).
        storm: bool,
    },
    /// Refreshing works again.
    CircuitClosed,
    /// The session could not be stored, or what was stored was unreadable.
    StorageDegraded {
        /// The stored record was corrupt and was removed.
        corrupt: bool,
    },
    /// Something that an honest page and an honest server do not do.
    SuspiciousActivity {
        /// What it was.
        reason: Suspicion,
        /// Refreshes in the last hour.
        refreshes: u32,
    },
}

/// What looks suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// More than ten refreshes within an hour.
    Frequency,
    /// A token was refused right after the refresh that brought it.
    FreshTokenRefused,
    /// The server says that the refresh credential was used before: somebody else may have it.
    Reuse,
}

impl Suspicion {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frequency => "refresh_frequency",
            Self::FreshTokenRefused => "fresh_token_refused",
            Self::Reuse => "token_reused",
        }
    }
}

impl Event {
    /// The name for `client.on`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SignedIn { .. } => "signed_in",
            Self::Refreshed { .. } => "refreshed",
            Self::RefreshFailed(_) => "refresh_failed",
            Self::ReauthRequired(_) => "reauth_required",
            Self::SignedOut { .. } => "signed_out",
            Self::UserChanged => "user_changed",
            Self::CircuitOpened { .. } => "circuit_opened",
            Self::CircuitClosed => "circuit_closed",
            Self::StorageDegraded { .. } => "storage_degraded",
            Self::SuspiciousActivity { .. } => "suspicious_activity",
        }
    }
}

/// One line of the token's life. Durations are ms, moments ms since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// A request goes out with the token.
    UsingToken {
        /// Time since the token was issued.
        age: i64,
        /// Time until it expires, where that is known.
        expires_in: Option<i64>,
    },
    /// A request goes out without a token: nobody is signed in.
    NoToken,
    /// The token is inside its lead time and is being renewed.
    ExpiringSoon {
        /// Time until it expires.
        expires_in: i64,
    },
    /// The token is past its end and is being renewed before anything is sent.
    Expired {
        /// Time since it expired.
        since: i64,
    },
    /// A refresh call goes out.
    Refreshing,
    /// The refresh brought a new token.
    Refreshed {
        /// The new end.
        until: Option<i64>,
        /// How long the call took.
        took: i64,
    },
    /// A newer token was found in storage: another tab had refreshed.
    Adopted,
    /// A request was answered 401.
    Unauthorized,
    /// A request is sent once more with the new token.
    Replaying,
    /// A 401 goes to the caller: there is no new token to replay with.
    CannotReplay,
    /// A refresh failed.
    RefreshFailed(Error),
    /// The lifetime in a token answer cannot be read (behaviour.md 1.5).
    LifetimeUnreadable,
    /// The lifetimes in a token answer contradict each other (behaviour.md 1.7).
    LifetimesDisagree,
    /// The server did not confirm a sign-out: its session may live on until it expires.
    SignOutUnconfirmed {
        /// Its answer, if there was one.
        status: Option<u16>,
    },
}

impl Log {
    /// `(level, event, message)`.
    pub fn parts(&self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::UsingToken { .. } => ("debug", "using_token", "Using token"),
            Self::NoToken => ("debug", "no_token", "No token: nobody is signed in"),
            Self::ExpiringSoon { .. } => (
                "info",
                "expiring_soon",
                "Token expiring soon, refreshing ahead of time",
            ),
            Self::Expired { .. } => (
                "info",
                "expired",
                "Token expired, refreshing before the request is sent",
            ),
            Self::Refreshing => ("debug", "refreshing", "Calling the refresh endpoint"),
            Self::Refreshed { .. } => ("info", "refreshed", "Token refreshed"),
            Self::Adopted => (
                "info",
                "adopted",
                "Another tab refreshed, its token is used here",
            ),
            Self::Unauthorized => ("info", "unauthorized", "401 Unauthorized"),
            Self::Replaying => (
                "info",
                "replaying",
                "Sending the request again with the new token",
            ),
            Self::CannotReplay => (
                "warn",
                "cannot_replay",
                "No new token, the 401 goes to the caller",
            ),
            Self::RefreshFailed(_) => ("warn", "refresh_failed", "Token refresh failed"),
            Self::LifetimeUnreadable => (
                "warn",
                "lifetime_unreadable",
                "The token answer gives a lifetime that cannot be read, defaultTokenLifetime is used",
            ),
            Self::LifetimesDisagree => (
                "warn",
                "lifetimes_disagree",
                "The token answer names different ends of the token, the earliest is used",
            ),
            Self::SignOutUnconfirmed { .. } => (
                "warn",
                "sign_out_unconfirmed",
                "Signed out here, but the server did not confirm it",
            ),
        }
    }
}
