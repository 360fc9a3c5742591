//! Logins with an access and a refresh token. A grant is one login and at the
//! same time the family that dies when a spent refresh token of OAuth 2 comes
//! back.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Store, User};
use crate::answer::Failure;
use crate::jwt::{self, Subject};
use crate::kind::{Kind, Usage};
use crate::secret::{self, Presented};

/// An authorization code lives this long, in ms.
const CODE_LIFETIME_MS: i64 = 60_000;

/// A row of `grant_tokens` with its grant.
#[derive(Clone)]
pub(crate) struct GrantToken {
    pub(crate) id: i64,
    pub(crate) grant_id: i64,
    pub(crate) user: User,
    pub(crate) kind: Kind,
    pub(crate) usage: Usage,
    pub(crate) expires_at: i64,
    /// Whether the whole login was ended, not just this token.
    pub(crate) ended: bool,
    pub(super) spent: bool,
    pub(super) revoked: bool,
    pub(super) grant_expires_at: i64,
}

/// A fresh pair; where the refresh token stays as it is, an access token alone.
pub(crate) struct Issued {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) user: User,
}

/// When tokens are made and when they end, in ms since the epoch.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) now: i64,
    pub(crate) access_end: i64,
    pub(crate) refresh_end: i64,
}

/// What an authorization code was made for.
pub(crate) struct CodeRequest<'a> {
    pub(crate) user_id: i64,
    pub(crate) redirect_uri: &'a str,
    /// PKCE S256 challenge.
    pub(crate) challenge: &'a str,
}

/// What a client shows to redeem a code; `challenge` is made from its verifier.
pub(crate) struct Redemption<'a> {
    pub(crate) code: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) challenge: &'a str,
}

impl Life {
    /// The same, with another end for the refresh token.
    pub(super) fn until(self, refresh_end: i64) -> Self {
        Self {
            refresh_end,
            ..self
        }
    }
}

impl GrantToken {
    pub(crate) fn label(&self) -> String {
        let usage = match self.usage {
            Usage::Access => "",
            Usage::Refresh => "-refresh",
        };
        format!("{}{usage}:{}", self.kind.name(), self.id)
    }

    pub(crate) fn is_live(&self, now: i64) -> bool {
        !self.revoked && !self.spent && self.expires_at > now
    }

    pub(crate) fn is_access(&self) -> bool {
        self.usage == Usage::Access
    }

    /// Whether it is a refresh token of this kind.
    pub(crate) fn refreshes(&self, kind: Kind) -> bool {
        self.kind == kind && !self.is_access()
    }
}

impl Store {
    /// Signs a person in.
    pub(crate) fn issue(&self, kind: Kind, user: &User, life: Life) -> Result<Issued, Failure> {
        let pair = Pair::generate()?;
        self.transaction(|tx| {
            let grant = Grant::new(tx, kind, user.clone(), life)?;
            grant.issue_pair(tx, &pair, life)
        })
    }

    /// A further access token for a refresh token, which stays as it is.
    pub(crate) fn renew(
        &self,
        kind: Kind,
        token: &str,
        life: Life,
    ) -> Result<Option<Issued>, Failure> {
        let secret = secret::generate()?;
        self.transaction(|tx| {
            let found = find(tx, token)?.filter(|found| found.refreshes(kind));
            let Some(found) = found.filter(|found| found.is_live(life.now)) else {
                return Ok(None);
            };
            let grant = Grant::of(found);
            Ok(Some(Issued {
                access: grant.issue(tx, Usage::Access, &secret, life)?,
                refresh: None,
                user: grant.user,
            }))
        })
    }

    /// A single-use authorization code.
    pub(crate) fn issue_code(&self, request: &CodeRequest, now: i64) -> Result<String, Failure> {
        let code = secret::generate()?;
        self.transaction(|tx| {
            tx.execute(
                "INSERT INTO oauth_codes (code, user_id, redirect_uri, challenge, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    secret::sha256(&code),
                    request.user_id,
                    request.redirect_uri,
                    request.challenge,
                    now + CODE_LIFETIME_MS
                ],
            )
        })?;
        Ok(code)
    }

    /// Tokens for a code; none if it is unknown, expired, used before, or was
    /// made for another redirect URI or verifier.
    pub(crate) fn redeem_code(
        &self,
        kind: Kind,
        redemption: &Redemption,
        life: Life,
    ) -> Result<Option<Issued>, Failure> {
        let hash = secret::sha256(redemption.code);
        let pair = Pair::generate()?;
        self.transaction(|tx| {
            let Some(user) = spend_code(tx, &hash, redemption, life.now)? else {
                return Ok(None);
            };
            let grant = Grant::new(tx, kind, user, life)?;
            tx.execute(
                "UPDATE oauth_codes SET grant_id = ?1 WHERE code = ?2",
                params![grant.id, hash],
            )?;
            grant.issue_pair(tx, &pair, life).map(Some)
        })
    }

    /// Exchanges a refresh token for a new pair. What a second use does is the
    /// kind's own affair.
    pub(crate) fn rotate(
        &self,
        kind: Kind,
        token: &str,
        life: Life,
    ) -> Result<Option<Issued>, Failure> {
        let pair = Pair::generate()?;
        self.transaction(|tx| {
            let found = find(tx, token)?.filter(|found| found.refreshes(kind));
            let Some(found) = found.filter(|found| !found.revoked && found.expires_at > life.now)
            else {
                return Ok(None);
            };
            if !spend(tx, &found, life.now)? {
                if kind.punishes_reuse() {
                    revoke_grant(tx, found.grant_id, life.now)?;
                }
                return Ok(None);
            }
            if kind.replaces_access() {
                revoke_all(tx, found.grant_id, Usage::Access, life.now)?;
            }
            let life = if kind.prolongs() {
                prolong(tx, found.grant_id, life)?;
                life
            } else {
                life.until(found.grant_expires_at)
            };
            Grant::of(found).issue_pair(tx, &pair, life).map(Some)
        })
    }

    /// Ends the login that a refresh token belongs to, or one access token.
    pub(crate) fn revoke_granted(&self, token: &GrantToken, now: i64) -> Result<(), Failure> {
        if token.is_access() {
            self.revoke_token(token, now)
        } else {
            self.end_login(token, now)
        }
    }

    /// Ends one token and leaves the others of its login alone.
    pub(crate) fn revoke_token(&self, token: &GrantToken, now: i64) -> Result<(), Failure> {
        let sql = "UPDATE grant_tokens SET revoked_at = ?1 WHERE id = ?2 AND revoked_at IS NULL";
        self.transaction(|tx| tx.execute(sql, params![now, token.id]))?;
        Ok(())
    }

    /// Ends the login that a token belongs to, with all its tokens.
    pub(crate) fn end_login(&self, token: &GrantToken, now: i64) -> Result<(), Failure> {
        self.transaction(|tx| revoke_grant(tx, token.grant_id, now))?;
        Ok(())
    }

    /// Ends all logins of a kind and a person; returns how many were alive.
    pub(crate) fn end_all_logins(
        &self,
        kind: Kind,
        user_id: i64,
        now: i64,
    ) -> Result<usize, Failure> {
        self.transaction(|tx| {
            tx.execute(
                "UPDATE grants SET revoked_at = ?1
                 WHERE kind = ?3 AND user_id = ?2 AND revoked_at IS NULL AND expires_at > ?1",
                params![now, user_id, kind],
            )
        })
    }
}

/// The token with this text, whatever its state.
pub(super) fn find(tx: &Transaction, token: &str) -> rusqlite::Result<Option<GrantToken>> {
    let Presented::Grant { prefix, secret } = Presented::parse(token) else {
        return Ok(None);
    };
    let found = tx
        .prepare_cached(
            "SELECT users.id, users.name, users.email, t.id AS token_id, t.grant_id, g.kind, t.usage, t.expires_at,
             t.spent_at IS NOT NULL AS spent, coalesce(t.revoked_at, g.revoked_at) IS NOT NULL AS revoked,
             g.revoked_at IS NOT NULL AS ended, g.expires_at AS grant_expires_at
         FROM grant_tokens t JOIN grants g ON g.id = t.grant_id JOIN users ON users.id = g.user_id
         WHERE t.token = ?1",
        )?
        .query_row([secret::sha256(secret)], read)
        .optional()?;
    Ok(found.filter(|found| found.kind.prefix(found.usage) == prefix))
}

/// Marks a refresh token as exchanged; false if it was before.
pub(super) fn spend(tx: &Transaction, token: &GrantToken, now: i64) -> rusqlite::Result<bool> {
    let sql = "UPDATE grant_tokens SET spent_at = ?1 WHERE id = ?2 AND spent_at IS NULL";
    Ok(tx.execute(sql, params![now, token.id])? == 1)
}

/// Ends all tokens of a login that have this use.
pub(super) fn revoke_all(
    tx: &Transaction,
    grant: i64,
    usage: Usage,
    now: i64,
) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE grant_tokens SET revoked_at = ?1 WHERE grant_id = ?2 AND usage = ?3 AND revoked_at IS NULL",
        params![now, grant, usage],
    )
}

/// The secrets of a pair.
struct Pair {
    access: String,
    refresh: String,
}

impl Pair {
    fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self {
            access: secret::generate()?,
            refresh: secret::generate()?,
        })
    }
}

/// A login that tokens are being issued for.
pub(super) struct Grant {
    id: i64,
    kind: Kind,
    pub(super) user: User,
}

impl Grant {
    pub(super) fn of(token: GrantToken) -> Self {
        Self {
            id: token.grant_id,
            kind: token.kind,
            user: token.user,
        }
    }

    fn new(tx: &Transaction, kind: Kind, user: User, life: Life) -> rusqlite::Result<Self> {
        let sql =
            "INSERT INTO grants (kind, user_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)";
        tx.execute(sql, params![kind, user.id, life.now, life.refresh_end])?;
        let id = tx.last_insert_rowid();
        Ok(Self { id, kind, user })
    }

    fn issue_pair(self, tx: &Transaction, pair: &Pair, life: Life) -> rusqlite::Result<Issued> {
        Ok(Issued {
            access: self.issue(tx, Usage::Access, &pair.access, life)?,
            refresh: Some(self.issue(tx, Usage::Refresh, &pair.refresh, life)?),
            user: self.user,
        })
    }

    /// Notes a token and returns its text.
    pub(super) fn issue(
        &self,
        tx: &Transaction,
        usage: Usage,
        secret: &str,
        life: Life,
    ) -> rusqlite::Result<String> {
        let end = match usage {
            Usage::Access => life.access_end,
            Usage::Refresh => life.refresh_end,
        };
        tx.execute(
            "INSERT INTO grant_tokens (grant_id, usage, token, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![self.id, usage, secret::sha256(secret), life.now, end],
        )?;
        if let Some(prefix) = self.kind.prefix(usage) {
            return Ok(format!("{prefix}{secret}"));
        }
        let subject = Subject {
            kind: self.kind,
            usage,
            user: &self.user,
            grant: self.id,
            issued_at: life.now,
            expires_at: end,
        };
        Ok(jwt::text(&subject, secret))
    }
}

/// Marks a code as used if everything fits. A code that comes back ends what
/// it was exchanged for (RFC 6749, 4.1.2).
fn spend_code(
    tx: &Transaction,
    hash: &str,
    redemption: &Redemption,
    now: i64,
) -> rusqlite::Result<Option<User>> {
    let spent = tx.execute(
        "UPDATE oauth_codes SET spent_at = ?1
         WHERE code = ?2 AND spent_at IS NULL AND expires_at > ?1 AND redirect_uri = ?3 AND challenge = ?4",
        params![now, hash, redemption.redirect_uri, redemption.challenge],
    )?;
    if spent == 0 {
        tx.execute(
            "UPDATE grants SET revoked_at = ?1 WHERE revoked_at IS NULL
             AND id = (SELECT grant_id FROM oauth_codes WHERE code = ?2)",
            params![now, hash],
        )?;
        return Ok(None);
    }
    tx.query_row(
        "SELECT users.id, name, email FROM users JOIN oauth_codes ON user_id = users.id WHERE code = ?1",
        [hash],
        super::user,
    )
    .optional()
}

fn prolong(tx: &Transaction, grant: i64, life: Life) -> rusqlite::Result<usize> {
    let sql = "UPDATE grants SET expires_at = ?1 WHERE id = ?2";
    tx.execute(sql, params![life.refresh_end, grant])
}

fn revoke_grant(tx: &Transaction, grant: i64, now: i64) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE grants SET revoked_at = ?1 WHERE id = ?2 AND revoked_at IS NULL",
        params![now, grant],
    )
}

fn read(row: &Row) -> rusqlite::Result<GrantToken> {
    Ok(GrantToken {
        id: row.get("token_id")?,
        grant_id: row.get("grant_id")?,
        user: super::user(row)?,
        kind: row.get("kind")?,
        usage: row.get("usage")?,
        expires_at: row.get("expires_at")?,
        spent: row.get("spent")?,
        revoked: row.get("revoked")?,
        ended: row.get("ended")?,
        grant_expires_at: row.get("grant_expires_at")?,
    })
}
