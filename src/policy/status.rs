//! Where a session stands, for people to see.

/// Where the session stands (behaviour.md 2.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Storage or the outside source has not been read yet.
    Loading,
    /// Nobody has signed in.
    Anonymous,
    /// There is a session.
    Authenticated,
    /// A refresh is running.
    Refreshing,
    /// Refreshing is paused; the session is kept.
    Degraded,
    /// The credential is dead: a person has to sign in again.
    ReauthRequired,
    /// Somebody signed out.
    SignedOut,
}

impl Status {
    /// The text of `snapshot.status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Anonymous => "anonymous",
            Self::Authenticated => "authenticated",
            Self::Refreshing => "refreshing",
            Self::Degraded => "degraded",
            Self::ReauthRequired => "reauth_required",
            Self::SignedOut => "signed_out",
        }
    }
}
