//! The rules of one client, as its options set them.

use super::breaker::Limits;
use super::response::DeadCodes;

/// The rules a client was created with. Times are in ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How far ahead of its end a token is renewed, at most.
    pub expiry_buffer: i64,
    /// The lifetime of a token whose server gives none; `None` = only a 401 tells.
    pub default_lifetime: Option<i64>,
    /// How long an answer of the outside session source is believed.
    pub cache_ttl: i64,
    /// The circuit breaker.
    pub limits: Limits,
    /// Reject instead of sending a request whose token is known to be dead.
    pub strict: bool,
    /// The session comes from outside (`options.getSession`).
    pub outside: bool,
    /// There is a refresh endpoint or an outside source.
    pub refreshable: bool,
    /// The access token is what the refresh call sends (Sanctum).
    pub access_token_refreshes: bool,
    /// The refresh credential is a cookie that no script can read.
    pub cookie_refreshes: bool,
    /// A 419 on a resource asks for a new CSRF token (behaviour.md 6.22).
    pub csrf: bool,
    /// What this kind of server alone says of a dead credential.
    pub dead_codes: DeadCodes,
    /// The longest a refresh call is waited for.
    pub refresh_timeout: i64,
    /// The server puts a code that matters into the body of a 401.
    pub codes_in_body: bool,
    /// Somebody reads debug log entries.
    pub debug: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            expiry_buffer: 120_000,
            default_lifetime: Some(900_000),
            cache_ttl: 5_000,
            limits: Limits {
                max_failures: 2,
                cooldown: 30_000,
            },
            strict: false,
            outside: false,
            refreshable: true,
            access_token_refreshes: false,
            cookie_refreshes: false,
            csrf: false,
            dead_codes: &[],
            refresh_timeout: 10_000,
            codes_in_body: false,
            debug: false,
        }
    }
}
