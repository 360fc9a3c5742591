//! What goes wrong, as a type with a stable code.

use std::fmt;

/// Why a call of keepfresh failed. The text of [`Code::as_str`] is public surface: it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// An option, an argument or an endpoint is wrong; `field` names it.
    Config,
    /// The credential expired on the server: a person has to sign in again.
    TokenExpired,
    /// The server ended the session: a person has to sign in again.
    TokenRevoked,
    /// The refresh failed in passing; the session is kept.
    RefreshFailed,
    /// The circuit breaker is open; `retry_at` says until when.
    CircuitOpen,
    /// The browser says it is offline.
    Offline,
    /// A wait of ours ran out.
    Timeout,
    /// The platform refused to store the session.
    Storage,
    /// Nobody is signed in.
    NotSignedIn,
    /// The session ended while the call was waiting.
    SignedOut,
    /// Another person signed in while the call was waiting.
    UserChanged,
    /// The server refused a sign-in, registration or account call; `status` holds its answer.
    Rejected,
    /// An answer did not carry what the preset expects.
    InvalidResponse,
    /// No answer: network failure, or an answer that CORS hides.
    Network,
    /// The client was disposed.
    Disposed,
}

impl Code {
    /// The stable text of `KeepfreshError.code`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::RefreshFailed => "refresh_failed",
            Self::CircuitOpen => "circuit_open",
            Self::Offline => "offline",
            Self::Timeout => "timeout",
            Self::Storage => "storage",
            Self::NotSignedIn => "not_signed_in",
            Self::SignedOut => "signed_out",
            Self::UserChanged => "user_changed",
            Self::Rejected => "rejected",
            Self::InvalidResponse => "invalid_response",
            Self::Network => "network",
            Self::Disposed => "disposed",
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::RefreshFailed | Self::CircuitOpen | Self::Offline | Self::Timeout | Self::Network
        )
    }

    fn text(self) -> &'static str {
        match self {
            Self::Config => "the configuration is wrong",
            Self::TokenExpired => {
                "the session expired on the server; ask the person to sign in again"
            }
            Self::TokenRevoked => "the server ended this session; ask the person to sign in again",
            Self::RefreshFailed => {
                "the token could not be refreshed this time; the session is kept, try again later"
            }
            Self::CircuitOpen => {
                "refreshing failed repeatedly and is paused; the session is kept, try again after retryAt"
            }
            Self::Offline => {
                "the browser is offline; the session is kept and refreshes when it is back"
            }
            Self::Timeout => {
                "no answer within the time limit; the session is kept, raise refreshTimeout if the server is slow"
            }
            Self::Storage => {
                "the browser refused to store the session; it is kept in memory for this page"
            }
            Self::NotSignedIn => "nobody is signed in; call login() or setSession() first",
            Self::SignedOut => "the session ended while this call waited; it was not sent",
            Self::UserChanged => "another person signed in while this call waited; it was not sent",
            Self::Rejected => {
                "the server refused the call; status holds its answer, cause its body"
            }
            Self::InvalidResponse => {
                "the answer holds no usable token; check endpoints and tokenFields against the server"
            }
            Self::Network => {
                "no answer from the server; check the address, the network and the server's CORS headers"
            }
            Self::Disposed => "this client was disposed; create a new one",
        }
    }
}

/// A failure with its code and what it is about. It holds no part of any token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// The option or argument that is wrong, for [`Code::Config`].
    pub field: Option<String>,
    /// What was wrong with it, or what to do.
    pub detail: Option<&'static str>,
    /// The HTTP status behind it, where there was one.
    pub status: Option<u16>,
    /// When to try again, ms since the epoch.
    pub retry_at: Option<i64>,
}

impl Error {
    /// An error of `code` about nothing more special.
    pub fn new(code: Code) -> Self {
        Self {
            code,
            field: None,
            detail: None,
            status: None,
            retry_at: None,
        }
    }

    /// A wrong option: names the field and says what it must be.
    pub fn config(field: &str, must: &'static str) -> Self {
        Self {
            field: Some(field.to_owned()),
            detail: Some(must),
            ..Self::new(Code::Config)
        }
    }

    /// The same error with the HTTP status it came from.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("keepfresh: ")?;
        match (&self.field, self.detail) {
            (Some(field), Some(must)) => {
                out.write_str("option `")?;
                out.write_str(field)?;
                out.write_str("` ")?;
                out.write_str(must)
            }
            (_, Some(detail)) => out.write_str(detail),
            _ => out.write_str(self.code.text()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    // README: States, events, errors
    #[test]
    fn a_config_error_names_the_field_and_the_fix() {
        let error = Error::config(
            "expiryBuffer",
            "must be a number of milliseconds, 0 or more",
        );
        assert_eq!(
            error.to_string(),
            "keepfresh: option `expiryBuffer` must be a number of milliseconds, 0 or more"
        );
        assert_eq!(error.code.as_str(), "config");
    }
}
