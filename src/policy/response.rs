//! What an answer of the auth server means: tokens, or a class of failure (behaviour.md §1, §2).

use super::expiry::{self, Field, Lifetimes};
use super::session::Secret;

/// A parsed JSON object. The browser looks at a JavaScript value, a test at `serde_json`'s.
pub trait Body {
    /// The own member at a dotted path, such as `data.access_token`.
    fn get(&self, path: &str) -> Field;
}

/// Where a server puts its tokens, when it is not where everybody does (`options.tokenFields`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFields {
    /// Dotted path of the access token.
    pub access_token: Option<String>,
    /// Dotted path of the refresh token.
    pub refresh_token: Option<String>,
    /// Dotted path of the lifetime.
    pub expires_in: Option<String>,
    /// Dotted path of the moment of expiry.
    pub expires_at: Option<String>,
}

/// How to read a token response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Names that replace the usual ones.
    pub fields: TokenFields,
    /// Milliseconds to one of `expires_in`: 1000, or 1 for servers that count in ms.
    pub unit: i64,
    /// Whether `token_type` may be missing.
    pub untyped: bool,
    /// The tokens are in cookies: none is read, and an empty answer is fine (behaviour.md 6.26).
    pub tokenless: bool,
}

/// The tokens of one successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    /// The new access token; `None` = it went into a cookie.
    pub access_token: Option<Secret>,
    /// The new refresh token; `None` = keep the old one (RFC 6749 §6).
    pub refresh_token: Option<Secret>,
    /// What the answer says about the access token's end.
    pub lifetimes: Lifetimes,
    /// Life of the refresh token in ms (an extension).
    pub refresh_lifetime: Option<i64>,
    /// Whose they are, where that can be read; for telling people apart, never for authorization.
    pub subject: Option<String>,
}

/// An answer that holds no usable token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Not the shape of a token response.
    Malformed,
    /// A `token_type` that the client cannot send (RFC 6749 §7.1).
    TokenType,
}

/// Reads a token response by the dialect. Unknown members are ignored (RFC 6749 §5.1).
///
/// # Errors
/// [`Unusable`] when there is no access token that can stand in a header, or its type is unknown.
pub fn read_tokens(body: &dyn Body, dialect: &Dialect) -> Result<TokenSet, Unusable> {
    let (access_token, refresh_token) = if dialect.tokenless {
        (None, None)
    } else {
        read_secrets(body, dialect)?
    };
    let custom = &dialect.fields;
    let seconds = pick(
        body,
        custom.expires_in.as_deref(),
        &["expires_in", "expiresIn"],
    );
    let relative = expiry::duration(&seconds, dialect.unit)
        .or_else(|| expiry::duration(&body.get("expires_in_minutes"), 60_000));
    let end = pick(
        body,
        custom.expires_at.as_deref(),
        &["expires_at", "expiresAt"],
    );
    let absolute = expiry::instant(&end);
    let given = |field: &Field, read: Option<i64>| *field != Field::Absent && read.is_none();
    let refresh_lifetime = pick(
        body,
        None,
        &["refresh_expires_in", "refresh_token_expires_in"],
    );
    Ok(TokenSet {
        access_token,
        refresh_token,
        lifetimes: Lifetimes {
            relative,
            absolute,
            unreadable: given(&seconds, relative) || given(&end, absolute),
            ..Lifetimes::default()
        },
        refresh_lifetime: expiry::duration(&refresh_lifetime, 1000),
        subject: None,
    })
}

impl TokenSet {
    /// Adds what the access token's own claims say (behaviour.md 1.20).
    pub fn read_claims(&mut self, claims: &dyn Body) {
        self.lifetimes.jwt_exp = expiry::instant(&claims.get("exp"));
        self.lifetimes.jwt_iat = expiry::instant(&claims.get("iat"));
        if let Field::Text(subject) = claims.get("sub") {
            self.subject = Some(subject);
        }
    }
}

/// The machine-readable code of an error body: `error`, `error_code` or `code` (behaviour.md 1.16).
pub fn error_code(body: &dyn Body) -> Option<String> {
    ["error_code", "code", "error"]
        .into_iter()
        .find_map(|name| match body.get(name) {
            Field::Text(text) if !text.is_empty() && text.len() <= 64 => Some(text),
            _ => None,
        })
}

/// Whether a body reports an error, whatever its status says (behaviour.md 1.16).
pub fn reports_error(body: &dyn Body) -> bool {
    matches!(body.get("error"), Field::Text(text) if !text.is_empty())
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// The credential is past its end, or unknown to the server.
    Expired,
    /// The server ended the session.
    Revoked,
    /// A refresh was answered, the answer was lost, and the server grants no second try.
    LostResponse,
    /// Three refreshes in a row were answered with nothing that makes sense.
    Ambiguous,
}

impl Dead {
    /// The stable text, for events and the stored tombstone.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::LostResponse => "lost_response",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// The reason of that text.
    pub fn named(text: &str) -> Option<Self> {
        [
            Self::Expired,
            Self::Revoked,
            Self::LostResponse,
            Self::Ambiguous,
        ]
        .into_iter()
        .find(|dead| dead.as_str() == text)
    }
}

/// Codes that mean a dead credential in one dialect only, each with its HTTP status.
pub type DeadCodes = &'static [(u16, &'static str)];

/// What an unsuccessful refresh says about the session (behaviour.md 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The credential is dead.
    Terminal(Dead),
    /// A passing fault.
    Transient {
        /// Whether it counts towards the breaker (a 429 does not).
        counted: bool,
        /// Whether the server may have acted on the call before the fault (network, timeout).
        indeterminate: bool,
    },
    /// Another refresh of the same session is under way: look again in a moment.
    Conflict,
    /// The server would not risk an early request (RFC 8470 §5.2): once more, at once.
    TooEarly,
    /// Refreshing cannot work as configured.
    Config,
    /// Could be either: kept, but three in a row are the end.
    Ambiguous,
}

const FAULT: Class = Class::Transient {
    counted: true,
    indeterminate: false,
};
const WAIT: Class = Class::Transient {
    counted: false,
    indeterminate: false,
};

/// How a refresh call ended without tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An answer with an HTTP status and, where its body had one, a code.
    Status(u16, Option<String>),
    /// A 2xx whose body holds no usable token.
    Malformed(Unusable),
    /// A redirect, which is never followed.
    Redirected,
    /// No answer, or one that CORS hides.
    Network,
    /// No answer in time.
    Timeout,
    /// Not called: a copy of this tab has used the credential up and could not be reached
    /// (behaviour.md 5.9).
    Overtaken,
}

/// Classes a failed refresh, by the table of behaviour.md 2.5. `dead_codes` are the dialect's own.
pub fn classify(failure: &Failure, dead_codes: DeadCodes) -> Class {
    match failure {
        Failure::Network | Failure::Timeout => Class::Transient {
            counted: true,
            indeterminate: true,
        },
        Failure::Malformed(Unusable::TokenType) => Class::Config,
        Failure::Malformed(Unusable::Malformed) | Failure::Redirected | Failure::Overtaken => {
            Class::Ambiguous
        }
        Failure::Status(status, code) => code
            .as_deref()
            .filter(|_| *status < 500)
            .and_then(|code| by_code(*status, code, dead_codes))
            .unwrap_or_else(|| by_status(*status)),
    }
}

/// Whether an auth endpoint refused a call for want of a valid CSRF token: 419 is Laravel's answer,
/// 403 Django's (behaviour.md 2.5).
pub fn refuses_csrf(status: u16, code: Option<&str>) -> bool {
    status == 419 || (status == 403 && code.and_then(|code| by_code(403, code, &[])).is_none())
}

/// Whether a dead credential was called used before: somebody else may have it (RFC 9700 §4.14.2).
pub(super) fn says_reused(failure: &Failure) -> bool {
    matches!(failure, Failure::Status(_, Some(code)) if code == "refresh_token_already_used")
}

/// Whether a code in the body of a resource's 401 says that the session itself was ended.
pub(super) fn says_revoked(code: &str) -> bool {
    code == "TOKEN_REVOKED"
}

fn by_code(status: u16, code: &str, dead_codes: DeadCodes) -> Option<Class> {
    let class = match code {
        _ if dead_codes.contains(&(status, code)) => Class::Terminal(Dead::Expired),
        "invalid_grant" | "TOKEN_EXPIRED" | "session_expired" | "token_not_valid" => {
            Class::Terminal(Dead::Expired)
        }
        "TOKEN_REVOKED"
        | "no_active_account"
        | "password_changed"
        | "refresh_token_not_found"
        | "refresh_token_already_used"
        | "session_not_found" => Class::Terminal(Dead::Revoked),
        "invalid_client"
        | "unauthorized_client"
        | "unsupported_grant_type"
        | "invalid_scope"
        | "invalid_request"
        | "validation_failed" => Class::Config,
        "server_error" | "temporarily_unavailable" => FAULT,
        _ => return None,
    };
    // A 429 or 409 is about the moment, whatever its body says.
    (!matches!(status, 408 | 409 | 425 | 429)).then_some(class)
}

fn by_status(status: u16) -> Class {
    match status {
        401 => Class::Terminal(Dead::Expired),
        404 | 405 | 406 | 410 | 415 | 422 | 501 => Class::Config,
        429 => WAIT,
        409 => Class::Conflict,
        425 => Class::TooEarly,
        408 | 421 | 500.. => FAULT,
        _ => Class::Ambiguous,
    }
}

fn read_secrets(
    body: &dyn Body,
    dialect: &Dialect,
) -> Result<(Option<Secret>, Option<Secret>), Unusable> {
    let custom = &dialect.fields;
    let access = secret(
        body,
        custom.access_token.as_deref(),
        &["access_token", "token", "accessToken", "access"],
    );
    if access.is_none() {
        return Err(Unusable::Malformed);
    }
    check_type(body, dialect)?;
    let refresh = secret(
        body,
        custom.refresh_token.as_deref(),
        &["refresh_token", "refreshToken", "refresh"],
    );
    Ok((access, refresh))
}

fn check_type(body: &dyn Body, dialect: &Dialect) -> Result<(), Unusable> {
    match pick(body, None, &["token_type", "tokenType"]) {
        Field::Text(kind) if kind.eq_ignore_ascii_case("bearer") => Ok(()),
        Field::Absent if dialect.untyped => Ok(()),
        _ => Err(Unusable::TokenType),
    }
}

fn secret(body: &dyn Body, custom: Option<&str>, usual: &[&str]) -> Option<Secret> {
    match pick(body, custom, usual) {
        Field::Text(text) => Secret::new(text),
        _ => None,
    }
}

fn pick(body: &dyn Body, custom: Option<&str>, usual: &[&str]) -> Field {
    if let Some(path) = custom {
        return body.get(path);
    }
    let mut found = usual.iter().map(|name| body.get(name));
    found
        .find(|field| *field != Field::Absent)
        .unwrap_or(Field::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 1.17, 2.1, 2.5
    #[test]
    fn the_table_of_refresh_answers() {
        let status = |status, code: &str| {
            let code = (!code.is_empty()).then(|| code.to_owned());
            classify(&Failure::Status(status, code), &[])
        };
        for (class, answers) in [
            (
                Class::Terminal(Dead::Expired),
                vec![
                    (400, "invalid_grant"),
                    (401, ""),
                    (401, "TOKEN_EXPIRED"),
                    (403, "session_expired"),
                ],
            ),
            (
                Class::Terminal(Dead::Revoked),
                vec![(401, "TOKEN_REVOKED"), (400, "refresh_token_already_used")],
            ),
            (
                Class::Config,
                vec![
                    (400, "invalid_client"),
                    (401, "invalid_client"),
                    (404, ""),
                    (405, ""),
                    (422, ""),
                    (501, ""),
                ],
            ),
            (
                Class::Ambiguous,
                vec![
                    (400, ""),
                    (400, "whatever"),
                    (403, ""),
                    (413, ""),
                    (431, ""),
                    (302, ""),
                ],
            ),
            (WAIT, vec![(429, ""), (429, "invalid_grant")]),
            (Class::Conflict, vec![(409, ""), (409, "conflict")]),
            (Class::TooEarly, vec![(425, "")]),
            (
                FAULT,
                vec![
                    (500, ""),
                    (503, ""),
                    (511, ""),
                    (522, ""),
                    (408, ""),
                    (421, ""),
                    (500, "invalid_grant"),
                    (400, "server_error"),
                ],
            ),
        ] {
            for (number, code) in answers {
                assert_eq!(status(number, code), class, "{number} {code}");
            }
        }
        for unclear in [
            Failure::Redirected,
            Failure::Overtaken,
            Failure::Malformed(Unusable::Malformed),
        ] {
            assert_eq!(classify(&unclear, &[]), Class::Ambiguous);
        }
    }

    struct Json(serde_json::Value);

    impl Body for Json {
        fn get(&self, path: &str) -> Field {
            use serde_json::Value;
            match self.0.get(path) {
                None | Some(Value::Null) => Field::Absent,
                Some(Value::Number(number)) => number.as_f64().map_or(Field::Other, Field::Number),
                Some(Value::String(text)) => Field::Text(text.clone()),
                Some(Value::Bool(flag)) => Field::Flag(*flag),
                Some(_) => Field::Other,
            }
        }
    }

    fn body(text: &str) -> Json {
        Json(serde_json::from_str(text).unwrap())
    }

    fn read(text: &str) -> TokenSet {
        let dialect = Dialect {
            fields: TokenFields::default(),
            unit: 1_000,
            untyped: true,
            tokenless: false,
        };
        read_tokens(&body(text), &dialect).unwrap()
    }

    // 1.7, 1.5
    #[test]
    fn seconds_come_before_minutes_and_what_cannot_be_read_is_noted() {
        for (text, relative, unreadable) in [
            (
                r#"{"token": "a", "expires_in": 60, "expires_in_minutes": 9}"#,
                Some(60_000),
                false,
            ),
            (
                r#"{"token": "a", "expires_in_minutes": 9}"#,
                Some(540_000),
                false,
            ),
            (
                r#"{"token": "a", "expires_in": "1h", "expires_in_minutes": 9}"#,
                Some(540_000),
                false,
            ),
            (r#"{"token": "a", "expires_in": "1h"}"#, None, true),
            (r#"{"token": "a", "expires_in": true}"#, None, true),
            (r#"{"token": "a", "expires_in": 0}"#, None, true),
            (r#"{"token": "a", "expires_in": -1}"#, None, true),
            (r#"{"token": "a", "expires_in": {}}"#, None, true),
            (r#"{"token": "a", "expires_at": "tomorrow"}"#, None, true),
            (r#"{"token": "a", "expires_in": null}"#, None, false),
            (r#"{"token": "a"}"#, None, false),
        ] {
            let lifetimes = read(text).lifetimes;
            assert_eq!(lifetimes.relative, relative, "{text}");
            assert_eq!(lifetimes.unreadable, unreadable, "{text}");
        }
    }

    // 1.16, 1.18: each server has another place for its code, and numbers are none
    #[test]
    fn the_code_is_found_where_each_server_puts_it() {
        let long = format!(r#"{{"error": "{}"}}"#, "x".repeat(65));
        for (text, code) in [
            (
                r#"{"error": "invalid_grant", "error_description": "x"}"#,
                Some("invalid_grant"),
            ),
            (
                r#"{"code": 400, "error_code": "session_not_found"}"#,
                Some("session_not_found"),
            ),
            (
                r#"{"code": "session_expired", "message": "x"}"#,
                Some("session_expired"),
            ),
            (
                r#"{"detail": "x", "code": "token_not_valid"}"#,
                Some("token_not_valid"),
            ),
            (
                r#"{"success": false, "code": "TOKEN_REVOKED"}"#,
                Some("TOKEN_REVOKED"),
            ),
            (r#"{"code": 401, "error": "x"}"#, Some("x")),
            (r#"{"error": {"code": "x"}}"#, None),
            (r#"{"error": ""}"#, None),
            (&long, None),
            ("{}", None),
        ] {
            assert_eq!(error_code(&body(text)).as_deref(), code, "{text}");
        }
        assert!(reports_error(&body(r#"{"error": "invalid_grant"}"#)));
        assert!(!reports_error(&body(r#"{"error": null, "token": "a"}"#)));
    }

    // 2.5, 6.22: a 403 is about CSRF unless it says what it is about
    #[test]
    fn only_a_419_or_a_403_without_a_known_code_asks_for_another_csrf_token() {
        for (status, code, refuses) in [
            (419, None, true),
            (419, Some("invalid_grant"), true),
            (403, None, true),
            (403, Some("whatever"), true),
            (403, Some("session_not_found"), false),
            (401, None, false),
            (400, None, false),
            (500, None, false),
        ] {
            assert_eq!(refuses_csrf(status, code), refuses, "{status} {code:?}");
        }
    }

    // 1.18, 2.1: what only one kind of server means by a code
    #[test]
    fn the_codes_of_a_dialect_count_with_their_own_status_only() {
        let dead: DeadCodes = &[(401, "invalid_request")];
        let class =
            |status, code: &str| classify(&Failure::Status(status, Some(code.into())), dead);
        assert_eq!(
            class(401, "invalid_request"),
            Class::Terminal(Dead::Expired)
        );
        assert_eq!(class(400, "invalid_request"), Class::Config);
        assert_eq!(class(500, "invalid_request"), FAULT);
        for moment in [408, 409, 425, 429] {
            let all: DeadCodes = &[(408, "x"), (409, "x"), (425, "x"), (429, "x")];
            let class = classify(&Failure::Status(moment, Some("x".into())), all);
            assert!(!matches!(class, Class::Terminal(_)), "{moment}");
        }
    }
}
