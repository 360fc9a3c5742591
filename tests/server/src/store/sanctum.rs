//! `personal_access_tokens`: one token that is access and refresh credential at
//! once, so each refresh revokes it and issues a successor.

use rusqlite::{OptionalExtension, Row, Transaction, named_params, params};

use super::{Store, User};
use crate::answer::Failure;
use crate::secret;

const HOUR_MS: i64 = 3_600_000;

/// A row of `personal_access_tokens`; times in ms since the epoch.
#[derive(Clone)]
pub(crate) struct SanctumToken {
    pub(crate) id: i64,
    pub(crate) user: User,
    pub(crate) name: String,
    /// `short_lived` or `long_lived`.
    pub(crate) type_: String,
    pub(crate) device_id: String,
    pub(crate) expires_at: i64,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) created_at: i64,
    refresh_count: u32,
    refresh_window_at: i64,
}

/// What a login or a refresh asks for.
pub(crate) struct NewToken<'a> {
    pub(crate) user_id: i64,
    pub(crate) name: &'a str,
    pub(crate) type_: &'a str,
    pub(crate) device_id: &'a str,
    pub(crate) lifetime_ms: i64,
}

/// How often one login may be refreshed in an hour; 0 = as often as it likes.
#[derive(Clone, Copy)]
pub(crate) struct RefreshLimit(pub(crate) u32);

/// How a refresh went.
pub(crate) enum Rotation {
    /// The successor: its text for the client, and its end in ms.
    Done {
        token: String,
        expires_at: i64,
    },
    Expired,
    Revoked,
    /// Over the limit; seconds until the window ends.
    TooMany {
        retry_after: i64,
    },
}

impl Store {
    /// Signs a device in: a fresh token, and with `single_device` the end of
    /// all tokens of the person's other devices. Returns the token's text and
    /// its end in ms.
    pub(crate) fn issue_sanctum(
        &self,
        new: &NewToken,
        single_device: bool,
        now: i64,
    ) -> Result<(String, i64), Failure> {
        let secret = secret::generate()?;
        self.transaction(|tx| {
            if single_device {
                tx.execute(
                    "UPDATE personal_access_tokens SET revoked_at = ?1, updated_at = ?1
                     WHERE tokenable_id = ?2 AND device_id <> ?3 AND revoked_at IS NULL",
                    params![now, new.user_id, new.device_id],
                )?;
            }
            insert(tx, new, &secret, (0, now), now)
        })
    }

    /// Exchanges a live token for its successor. The revocation is the
    /// compare-and-swap: of two parallel refreshes only one changes a row.
    pub(crate) fn rotate_sanctum(
        &self,
        old: &SanctumToken,
        lifetime_ms: i64,
        limit: RefreshLimit,
        now: i64,
    ) -> Result<Rotation, Failure> {
        let secret = secret::generate()?;
        self.transaction(|tx| {
            let Some(old) = by_id(tx, old.id)? else { return Ok(Rotation::Revoked) };
            if old.expires_at <= now {
                return Ok(Rotation::Expired);
            }
            let (count, window_at) = old.refreshes(now);
            if limit.0 > 0 && count >= limit.0 && old.revoked_at.is_none() {
                let retry_after = ((window_at + HOUR_MS - now + 999) / 1000).max(1);
                return Ok(Rotation::TooMany { retry_after });
            }
            let changed = tx.execute(
                "UPDATE personal_access_tokens SET revoked_at = ?1, updated_at = ?1, refresh_count = ?2
                 WHERE id = ?3 AND revoked_at IS NULL",
                params![now, count + 1, old.id],
            )?;
            if changed == 0 {
                return Ok(Rotation::Revoked);
            }
            let (token, expires_at) = insert(tx, &old.successor(lifetime_ms), &secret, (count + 1, window_at), now)?;
            Ok(Rotation::Done { token, expires_at })
        })
    }

    /// Notes the use of a token.
    pub(crate) fn touch_sanctum(&self, id: i64, now: i64) -> Result<(), Failure> {
        self.transaction(|tx| {
            tx.execute(
                "UPDATE personal_access_tokens SET last_used_at = ?1 WHERE id = ?2",
                params![now, id],
            )?;
            Ok(())
        })
    }

    pub(crate) fn revoke_sanctum(&self, id: i64, now: i64) -> Result<(), Failure> {
        self.transaction(|tx| {
            tx.execute(
                "UPDATE personal_access_tokens SET revoked_at = ?1, updated_at = ?1 WHERE id = ?2 AND revoked_at IS NULL",
                params![now, id],
            )?;
            Ok(())
        })
    }

    /// Revokes all tokens of a person; returns how many had not been revoked.
    pub(crate) fn revoke_all_sanctum(&self, user_id: i64, now: i64) -> Result<usize, Failure> {
        self.transaction(|tx| {
            tx.execute(
                "UPDATE personal_access_tokens SET revoked_at = ?1, updated_at = ?1
                 WHERE tokenable_id = ?2 AND revoked_at IS NULL",
                params![now, user_id],
            )
        })
    }
}

impl SanctumToken {
    /// Refreshes in the window that `now` falls into, and when it began.
    fn refreshes(&self, now: i64) -> (u32, i64) {
        let inside = (0..HOUR_MS).contains(&(now - self.refresh_window_at));
        if inside {
            (self.refresh_count, self.refresh_window_at)
        } else {
            (0, now)
        }
    }

    fn successor(&self, lifetime_ms: i64) -> NewToken<'_> {
        NewToken {
            user_id: self.user.id,
            name: &self.name,
            type_: &self.type_,
            device_id: &self.device_id,
            lifetime_ms,
        }
    }
}

pub(super) fn find(
    tx: &Transaction,
    id: i64,
    secret: &str,
) -> rusqlite::Result<Option<SanctumToken>> {
    let sql = format!("{SELECT} WHERE t.id = ?1 AND t.token = ?2");
    tx.prepare_cached(&sql)?
        .query_row(params![id, secret::sha256(secret)], read)
        .optional()
}

const SELECT: &str =
    "SELECT users.id, users.name, users.email, t.id AS token_id, t.name AS token_name, t.type,
     t.device_id, t.expires_at, t.revoked_at, t.created_at, t.refresh_count, t.refresh_window_at
     FROM personal_access_tokens t JOIN users ON users.id = t.tokenable_id";

fn by_id(tx: &Transaction, id: i64) -> rusqlite::Result<Option<SanctumToken>> {
    tx.prepare_cached(&format!("{SELECT} WHERE t.id = ?1"))?
        .query_row([id], read)
        .optional()
}

fn insert(
    tx: &Transaction,
    new: &NewToken,
    secret: &str,
    (refresh_count, refresh_window_at): (u32, i64),
    now: i64,
) -> rusqlite::Result<(String, i64)> {
    let expires_at = now + new.lifetime_ms;
    tx.execute(
        "INSERT INTO personal_access_tokens (tokenable_id, name, token, type, device_id, expires_at,
             refresh_count, refresh_window_at, created_at, updated_at)
         VALUES (:user, :name, :token, :type, :device, :expires, :count, :window, :now, :now)",
        named_params! {
            ":user": new.user_id, ":name": new.name, ":token": secret::sha256(secret), ":type": new.type_,
            ":device": new.device_id, ":expires": expires_at, ":count": refresh_count,
            ":window": refresh_window_at, ":now": now,
        },
    )?;
    Ok((format!("{}|{secret}", tx.last_insert_rowid()), expires_at))
}

fn read(row: &Row) -> rusqlite::Result<SanctumToken> {
    Ok(SanctumToken {
        id: row.get("token_id")?,
        user: super::user(row)?,
        name: row.get("token_name")?,
        type_: row.get("type")?,
        device_id: row.get("device_id")?,
        expires_at: row.get("expires_at")?,
        revoked_at: row.get("revoked_at")?,
        created_at: row.get("created_at")?,
        refresh_count: row.get("refresh_count")?,
        refresh_window_at: row.get("refresh_window_at")?,
    })
}
