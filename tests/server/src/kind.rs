//! What a granted token is: whose dialect it belongs to, what it is for, and
//! how its text begins.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

/// An auth server that this one imitates with a pair of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Django,
    OAuth2,
    Passport,
    SimpleJwt,
    GoTrue,
    Cookie,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    Access,
    Refresh,
}

/// How tokens begin; those that are not listed are JWTs.
const PREFIXES: [(&str, Kind, Usage); 9] = [
    ("dja_", Kind::Django, Usage::Access),
    ("djr_", Kind::Django, Usage::Refresh),
    ("oaa_", Kind::OAuth2, Usage::Access),
    ("oar_", Kind::OAuth2, Usage::Refresh),
    ("pra_", Kind::Passport, Usage::Access),
    ("prr_", Kind::Passport, Usage::Refresh),
    ("cka_", Kind::Cookie, Usage::Access),
    ("ckr_", Kind::Cookie, Usage::Refresh),
    ("gtr_", Kind::GoTrue, Usage::Refresh),
];

const KINDS: [(&str, Kind); 6] = [
    ("django", Kind::Django),
    ("oauth2", Kind::OAuth2),
    ("passport", Kind::Passport),
    ("simplejwt", Kind::SimpleJwt),
    ("gotrue", Kind::GoTrue),
    ("cookie", Kind::Cookie),
];

const USAGES: [(&str, Usage); 2] = [("access", Usage::Access), ("refresh", Usage::Refresh)];

impl Kind {
    /// The name in the database and in `/wire`.
    pub(crate) fn name(self) -> &'static str {
        name(&KINDS, &self)
    }

    /// How such a token begins; none, it is a JWT.
    pub(crate) fn prefix(self, usage: Usage) -> Option<&'static str> {
        PREFIXES
            .iter()
            .find(|(_, kind, of)| (*kind, *of) == (self, usage))
            .map(|(prefix, ..)| *prefix)
    }

    /// Whether a rotated refresh token has a full life again, and the login
    /// with it.
    pub(crate) fn prolongs(self) -> bool {
        matches!(self, Self::Passport | Self::SimpleJwt)
    }

    /// Whether the second use of a refresh token ends the login.
    pub(crate) fn punishes_reuse(self) -> bool {
        self == Self::OAuth2
    }

    /// Whether older access tokens die when a refresh token is exchanged.
    pub(crate) fn replaces_access(self) -> bool {
        self == Self::Passport
    }
}

/// The prefix of a token and what follows it.
pub(crate) fn split_prefix(token: &str) -> Option<(&'static str, &str)> {
    PREFIXES
        .iter()
        .find_map(|(prefix, ..)| Some((*prefix, token.strip_prefix(prefix)?)))
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        named(&KINDS, value)
    }
}

impl ToSql for Usage {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(name(&USAGES, self).into())
    }
}

impl FromSql for Usage {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        named(&USAGES, value)
    }
}

fn name<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names
        .iter()
        .find(|(_, named)| named == value)
        .map_or("", |(name, _)| name)
}

fn named<T: Copy>(names: &[(&str, T)], value: ValueRef<'_>) -> FromSqlResult<T> {
    let text = value.as_str()?;
    names
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, named)| *named)
        .ok_or(FromSqlError::InvalidType)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_told_from_what_follows() {
        assert_eq!(split_prefix("ckr_abc"), Some(("ckr_", "abc")));
        assert_eq!(split_prefix("xxx_abc"), None);
        assert_eq!(Kind::Cookie.prefix(Usage::Refresh), Some("ckr_"));
        assert_eq!(Kind::GoTrue.prefix(Usage::Access), None);
    }
}
