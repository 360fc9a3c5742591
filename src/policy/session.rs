//! One login: its tokens, its age, and the generation that tells old tokens from new ones.

use super::expiry::{self, Now};
use std::fmt;

/// A token. It can be sent and compared, but nothing that prints can print it (behaviour.md 6.11).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a token if it can stand in a header: non-empty, visible ASCII only (behaviour.md 1.2).
    /// Sanctum's `id|plaintext` is fine, so RFC 6750's narrower `b64token` is not enforced.
    pub fn new(text: String) -> Option<Self> {
        let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        visible.then_some(Self(text))
    }

    /// The token itself. Every use of this is a place where a token leaves the policy.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    // Best effort (behaviour.md 6.24): copies that JavaScript holds are out of reach.
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

/// Counts the changes of the session in this page. A 401 or a refresh result that belongs to an
/// older generation says nothing about the current token (behaviour.md 3.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u32);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A signed-in session. Times are in ms; `expires_at` and its like are since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Random id of one login; it survives refreshes (behaviour.md, "sid").
    pub sid: String,
    /// How many refreshes this login has seen. A higher number is a newer token.
    pub rotation: u32,
    /// The access token; `None` = it is in a cookie that no script can read (behaviour.md 6.26).
    pub access_token: Option<Secret>,
    /// The refresh token, where the server gives one.
    pub refresh_token: Option<Secret>,
    /// The rotation that brought the refresh credential: servers that do not rotate give an access
    /// token only. A tab whose number is lower than that of a copy of it holds a spent one.
    pub credential_since: u32,
    /// What copies of a tab share, for handing tokens to each other (behaviour.md 5.9). Not a token.
    pub handover_key: Option<Secret>,
    /// When the request that brought the token was sent (behaviour.md 1.6).
    pub issued_at: i64,
    /// When the access token expires; `None` = unknown, then only a 401 tells.
    pub expires_at: Option<i64>,
    /// The same moment on the monotonic clock; not stored (behaviour.md 1.10).
    pub deadline: Option<i64>,
    /// When the refresh token expires, where the server says so (behaviour.md 1.13).
    pub refresh_expires_at: Option<i64>,
    /// Whether the session outlives the browser window (localStorage).
    pub remember: bool,
    /// The credential was refused for good: it is never sent again (behaviour.md 2.10).
    pub dead: bool,
}

impl Session {
    /// Which of two tokens of one login is newer. The credential counts first: copies of a tab count
    /// their refreshes each for itself, but only the newest credential can bring a newer one.
    pub(super) fn order(&self) -> (u32, u32) {
        (self.credential_since, self.rotation)
    }

    /// Milliseconds of life left, by whichever of the two clocks says less; `None` = unknown.
    pub fn remaining(&self, now: Now) -> Option<i64> {
        let wall = self.expires_at.map(|at| at.saturating_sub(now.wall));
        let mono = self.deadline.map(|at| at.saturating_sub(now.mono));
        match (wall, mono) {
            (Some(wall), Some(mono)) => Some(wall.min(mono)),
            (wall, mono) => wall.or(mono),
        }
    }

    /// Whether the access token is past its end.
    pub fn expired(&self, now: Now) -> bool {
        self.remaining(now).is_some_and(|left| left <= 0)
    }

    /// Whether the refresh token, too, is still within its life, by at least one of the two clocks
    /// (behaviour.md 1.13). Where one of them jumped, the server knows.
    pub fn renewable(&self, now: Now) -> bool {
        let Some(at) = self.refresh_expires_at else {
            return true;
        };
        let anchor = self.expires_at.zip(self.deadline);
        let mono = anchor.map(|(wall, mono)| mono.saturating_add(at.saturating_sub(wall)));
        at > now.wall || mono.is_some_and(|at| at > now.mono)
    }

    /// The full lifetime of the access token in ms.
    pub fn lifetime(&self) -> Option<i64> {
        self.expires_at
            .map(|at| at.saturating_sub(self.issued_at).max(0))
    }

    /// How long before its end the token is renewed, in ms (behaviour.md 1.11).
    pub fn lead(&self, buffer: i64) -> i64 {
        self.lifetime()
            .map_or(0, |lifetime| expiry::lead(lifetime, buffer))
    }

    /// Re-anchors the monotonic deadline after the session was read from storage. A wall clock that
    /// was set back since then must not stretch the token's life beyond its lifetime.
    pub fn anchor(&mut self, now: Now) {
        self.deadline = self.expires_at.map(|at| {
            let left = at.saturating_sub(now.wall);
            let left = self.lifetime().map_or(left, |lifetime| left.min(lifetime));
            now.mono.saturating_add(left)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 6.11, known-failures 50
    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("12|canary-token".to_owned()).unwrap();
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret))
                .matches("canary")
                .count(),
            0
        );
    }

    // 1.2, 1.14
    #[test]
    fn a_token_that_could_split_a_header_is_refused() {
        for bad in ["", "a b", "a\r\nX: y", "tökén", "tab\t"] {
            assert!(Secret::new(bad.to_owned()).is_none(), "{bad:?}");
        }
        assert!(Secret::new("1|abc".to_owned()).is_some());
        assert!(Secret::new("x".repeat(32 * 1024)).is_some());
    }
}
