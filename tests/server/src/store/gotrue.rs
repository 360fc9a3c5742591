//! GoTrue's refresh tokens: the parent of the active one may be used again and
//! brings the same successor; anything older ends the family.

use rusqlite::{OptionalExtension, Transaction, params};

use super::grants::{self, Grant, GrantToken};
use super::{Issued, Life, Store};
use crate::answer::Failure;
use crate::kind::{Kind, Usage};
use crate::secret::{self, Presented};

/// Why a refresh token was refused.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    NotFound,
    AlreadyUsed,
    SessionExpired,
}

impl Store {
    /// Exchanges a GoTrue refresh token.
    pub(crate) fn rotate_gotrue(
        &self,
        token: &str,
        life: Life,
    ) -> Result<Result<Issued, Refusal>, Failure> {
        let (access, seed) = (secret::generate()?, secret::generate()?);
        self.transaction(|tx| {
            let found = grants::find(tx, token)?.filter(|found| found.refreshes(Kind::GoTrue));
            let Some(found) = found.filter(|found| !found.ended) else {
                return Ok(Err(Refusal::NotFound));
            };
            if found.expires_at <= life.now {
                return Ok(Err(Refusal::SessionExpired));
            }
            let Some(refresh) = successor(tx, &found, token, &seed, life)? else {
                grants::revoke_all(tx, found.grant_id, Usage::Refresh, life.now)?;
                return Ok(Err(Refusal::AlreadyUsed));
            };
            let grant = Grant::of(found);
            Ok(Ok(Issued {
                access: grant.issue(tx, Usage::Access, &access, life)?,
                refresh: Some(refresh),
                user: grant.user,
            }))
        })
    }
}

/// The refresh token that follows `found`: a new one, or, if `found` is the
/// parent of the active one, that one again. None for anything older.
fn successor(
    tx: &Transaction,
    found: &GrantToken,
    token: &str,
    seed: &str,
    life: Life,
) -> rusqlite::Result<Option<String>> {
    let Presented::Grant {
        prefix: Some(prefix),
        secret,
    } = Presented::parse(token)
    else {
        return Ok(None);
    };
    if found.revoked {
        return Ok(None);
    }
    if grants::spend(tx, found, life.now)? {
        let secret = secret::successor(secret, seed);
        let life = life.until(found.grant_expires_at);
        let grant = Grant::of(found.clone());
        let refresh = grant.issue(tx, Usage::Refresh, &secret, life)?;
        tx.execute(
            "UPDATE grant_tokens SET parent_id = ?1, seed = ?2 WHERE id = ?3",
            params![found.id, seed, tx.last_insert_rowid()],
        )?;
        return Ok(Some(refresh));
    }
    let seed: Option<String> = tx
        .query_row(
            "SELECT seed FROM grant_tokens WHERE parent_id = ?1 AND spent_at IS NULL",
            [found.id],
            |row| row.get(0),
        )
        .optional()?;
    Ok(seed.map(|seed| format!("{prefix}{}", secret::successor(secret, &seed))))
}
