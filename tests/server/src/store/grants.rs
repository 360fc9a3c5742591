//! Logins with an access and a refresh token (Django, OAuth 2). A grant is one
//! login and at the same time the family that dies when a spent refresh token
//! comes back.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Store, User};
use crate::answer::Failure;
use crate::secret;

/// An authorization code lives this long, in ms.
const CODE_LIFETIME_MS: i64 = 60_000;

/// A row of `grant_tokens` with its grant.
#[derive(Clone)]
pub(crate) struct GrantToken {
    pub(crate) id: i64,
    pub(crate) grant_id: i64,
    pub(crate) user: User,
    /// `django` or `oauth2`.
    pub(crate) kind: String,
    /// `access` or `refresh`.
    pub(crate) usage: String,
    pub(crate) expires_at: i64,
    spent: bool,
    revoked: bool,
    grant_expires_at: i64,
}

/// A fresh pair; Django's refresh brings an access token alone.
pub(crate) struct Issued {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) user: User,
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

impl GrantToken {
    pub(crate) fn label(&self) -> String {
        match self.usage.as_str() {
            "refresh" => format!("{}-refresh:{}", self.kind, self.id),
            _ => format!("{}:{}", self.kind, self.id),
        }
    }

    pub(crate) fn is_live(&self, now: i64) -> bool {
        !self.revoked && !self.spent && self.expires_at > now
    }

    pub(crate) fn is_access(&self) -> bool {
        self.usage == "access"
    }
}

impl Store {
    /// Signs a person in through Django.
    pub(crate) fn issue_django(
        &self,
        user: &User,
        access_ms: i64,
        refresh_ms: i64,
        now: i64,
    ) -> Result<Issued, Failure> {
        let (access, refresh) = (secret::generate()?, secret::generate()?);
        self.transaction(|tx| {
            let grant = new_grant(tx, "django", user.id, now, now + refresh_ms)?;
            insert(tx, grant, "access", &access, now, now + access_ms)?;
            insert(tx, grant, "refresh", &refresh, now, now + refresh_ms)
        })?;
        Ok(Issued {
            access: format!("{}{access}", secret::DJANGO_ACCESS),
            refresh: Some(format!("{}{refresh}", secret::DJANGO_REFRESH)),
            user: user.clone(),
        })
    }

    /// A further access token for a Django refresh token, which stays as it is.
    pub(crate) fn refresh_django(
        &self,
        token: &str,
        access_ms: i64,
        now: i64,
    ) -> Result<Option<Issued>, Failure> {
        let access = secret::generate()?;
        let Some(secret) = token.strip_prefix(secret::DJANGO_REFRESH) else {
            return Ok(None);
        };
        self.transaction(|tx| {
            let found = find(tx, "django", "refresh", secret)?.filter(|found| found.is_live(now));
            let Some(found) = found else { return Ok(None) };
            insert(tx, found.grant_id, "access", &access, now, now + access_ms)?;
            Ok(Some(Issued {
                access: format!("{}{access}", secret::DJANGO_ACCESS),
                refresh: None,
                user: found.user,
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
        redemption: &Redemption,
        access_ms: i64,
        refresh_ms: i64,
        now: i64,
    ) -> Result<Option<Issued>, Failure> {
        let hash = secret::sha256(redemption.code);
        let pair = (secret::generate()?, secret::generate()?);
        self.transaction(|tx| {
            let Some(user) = spend_code(tx, &hash, redemption, now)? else {
                return Ok(None);
            };
            let grant = new_grant(tx, "oauth2", user.id, now, now + refresh_ms)?;
            tx.execute(
                "UPDATE oauth_codes SET grant_id = ?1 WHERE code = ?2",
                params![grant, hash],
            )?;
            issue_pair(
                tx,
                grant,
                user,
                &pair,
                now,
                (now + access_ms, now + refresh_ms),
            )
            .map(Some)
        })
    }

    /// Exchanges an OAuth 2 refresh token for a new pair. One that was spent
    /// before revokes its whole family, access tokens included.
    pub(crate) fn rotate_oauth2(
        &self,
        token: &str,
        access_ms: i64,
        now: i64,
    ) -> Result<Option<Issued>, Failure> {
        let pair = (secret::generate()?, secret::generate()?);
        let Some(secret) = token.strip_prefix(secret::OAUTH2_REFRESH) else {
            return Ok(None);
        };
        self.transaction(|tx| {
            let found = find(tx, "oauth2", "refresh", secret)?;
            let Some(found) = found.filter(|found| !found.revoked && found.expires_at > now) else {
                return Ok(None);
            };
            let won = tx.execute(
                "UPDATE grant_tokens SET spent_at = ?1 WHERE id = ?2 AND spent_at IS NULL",
                params![now, found.id],
            )? == 1;
            if !won {
                revoke_grant(tx, found.grant_id, now)?;
                return Ok(None);
            }
            let ends = (now + access_ms, found.grant_expires_at);
            issue_pair(tx, found.grant_id, found.user, &pair, now, ends).map(Some)
        })
    }

    /// Ends the login that a refresh token belongs to, or one access token.
    pub(crate) fn revoke_granted(&self, token: &GrantToken, now: i64) -> Result<(), Failure> {
        self.transaction(|tx| {
            if token.is_access() {
                let sql =
                    "UPDATE grant_tokens SET revoked_at = ?1 WHERE id = ?2 AND revoked_at IS NULL";
                tx.execute(sql, params![now, token.id])
            } else {
                revoke_grant(tx, token.grant_id, now)
            }
        })?;
        Ok(())
    }

    /// Ends all Django logins of a person; returns how many were alive.
    pub(crate) fn revoke_all_django(&self, user_id: i64, now: i64) -> Result<usize, Failure> {
        self.transaction(|tx| {
            tx.execute(
                "UPDATE grants SET revoked_at = ?1
                 WHERE kind = 'django' AND user_id = ?2 AND revoked_at IS NULL AND expires_at > ?1",
                params![now, user_id],
            )
        })
    }
}

pub(super) fn find(
    tx: &Transaction,
    kind: &str,
    usage: &str,
    secret: &str,
) -> rusqlite::Result<Option<GrantToken>> {
    tx.prepare_cached(
        "SELECT users.id, users.name, users.email, t.id AS token_id, t.grant_id, g.kind, t.usage, t.expires_at,
             t.spent_at IS NOT NULL AS spent, coalesce(t.revoked_at, g.revoked_at) IS NOT NULL AS revoked,
             g.expires_at AS grant_expires_at
         FROM grant_tokens t JOIN grants g ON g.id = t.grant_id JOIN users ON users.id = g.user_id
         WHERE t.token = ?1 AND g.kind = ?2 AND t.usage = ?3",
    )?
    .query_row(params![secret::sha256(secret), kind, usage], read)
    .optional()
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

fn new_grant(
    tx: &Transaction,
    kind: &str,
    user_id: i64,
    now: i64,
    expires_at: i64,
) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO grants (kind, user_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, params![kind, user_id, now, expires_at])?;
    Ok(tx.last_insert_rowid())
}

fn insert(
    tx: &Transaction,
    grant: i64,
    usage: &str,
    secret: &str,
    now: i64,
    end: i64,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO grant_tokens (grant_id, usage, token, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![grant, usage, secret::sha256(secret), now, end],
    )?;
    Ok(())
}

fn issue_pair(
    tx: &Transaction,
    grant: i64,
    user: User,
    (access, refresh): &(String, String),
    now: i64,
    (access_end, refresh_end): (i64, i64),
) -> rusqlite::Result<Issued> {
    insert(tx, grant, "access", access, now, access_end)?;
    insert(tx, grant, "refresh", refresh, now, refresh_end)?;
    Ok(Issued {
        access: format!("{}{access}", secret::OAUTH2_ACCESS),
        refresh: Some(format!("{}{refresh}", secret::OAUTH2_REFRESH)),
        user,
    })
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
        grant_expires_at: row.get("grant_expires_at")?,
    })
}
