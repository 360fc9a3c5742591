//! Where the imitated servers differ among themselves: by version, or by how
//! they are set up.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The variants in force. The names of the fields are those that
/// `--switch NAME=VALUE` and `POST /__test/switches` take.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// Major version of league/oauth2-server behind Passport: 8 or 9.
    pub league: u8,
    /// simplejwt's `ROTATE_REFRESH_TOKENS`, with a blacklist.
    pub simplejwt_rotate: bool,
    /// Where GoTrue's error code travels.
    pub gotrue_code: GotrueCode,
    /// What a resource answers to a dead GoTrue token: 401, as `PostgREST` does,
    /// or 403 `bad_jwt`, as GoTrue's own endpoints do.
    pub gotrue_dead: u16,
    /// Whether a refresh in cookie mode says `expires_in`, or 204 and nothing.
    pub cookie_expires_in: bool,
    /// How a missing or wrong CSRF token is refused.
    pub csrf: Csrf,
    /// Whether cookies are taken from pages of the static listener alone; if
    /// not, with `--faults`, from any page on loopback.
    pub strict_origins: bool,
}

/// Where GoTrue's error code travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GotrueCode {
    /// `{"code":400,"error_code":"…","msg":"…"}`
    ErrorCode,
    /// `{"code":400,"msg":"…"}` and the header `x-sb-error-code`.
    Header,
    /// `{"code":"…","message":"…"}`, the API of 2024-01-01.
    Code,
    /// `{"code":400,"msg":"…"}` and nothing else.
    Number,
}

/// How a missing or wrong CSRF token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Csrf {
    /// 419
    Laravel,
    /// 403
    Django,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            league: 9,
            simplejwt_rotate: false,
            gotrue_code: GotrueCode::ErrorCode,
            gotrue_dead: 401,
            cookie_expires_in: true,
            csrf: Csrf::Laravel,
            strict_origins: false,
        }
    }
}

impl Switches {
    /// These, with the members of `change` in the place of their own.
    ///
    /// # Errors
    /// A message that names what is unknown or has a bad value.
    pub fn with(self, change: &Value) -> Result<Self, String> {
        let change = change.as_object().ok_or("an object is needed")?;
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for (name, value) in change {
            all[name] = value.clone();
        }
        let new: Self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        if ![8, 9].contains(&new.league) {
            return Err("league: 8 or 9".to_owned());
        }
        if ![401, 403].contains(&new.gotrue_dead) {
            return Err("gotrue_dead: 401 or 403".to_owned());
        }
        Ok(new)
    }

    /// These, with one of them set as on the command line: `league=8`.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub(crate) fn with_line(self, line: &str) -> Result<Self, String> {
        let (name, value) = line.split_once('=').ok_or("NAME=VALUE is needed")?;
        let value: Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        self.with(&serde_json::json!({ name: value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_set_and_the_others_stay() {
        let switches = Switches::default().with_line("league=8").unwrap();
        let switches = switches.with_line("gotrue_code=header").unwrap();
        assert_eq!(
            (switches.league, switches.gotrue_code),
            (8, GotrueCode::Header)
        );
        assert!(switches.cookie_expires_in);
    }

    #[test]
    fn mistakes_are_named() {
        let mistake = |line| Switches::default().with_line(line).unwrap_err();
        assert!(mistake("leauge=8").contains("leauge"));
        assert!(mistake("league=7").contains("league"));
        assert!(mistake("csrf=none").contains("none"));
        assert!(mistake("csrf").contains("NAME=VALUE"));
    }
}
