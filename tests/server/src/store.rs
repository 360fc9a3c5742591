//! The database: people, bookings and hashed tokens.
//!
//! Queries run on the calling thread. They take microseconds, and one
//! connection behind a mutex is what one writer at a time amounts to anyway.
//! Still, everything that must not happen twice is a compare-and-swap inside an
//! immediate transaction, so that a second process on the same file is safe too.

mod gotrue;
mod grants;
mod sanctum;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;

use crate::answer::Failure;
use crate::password;
use crate::secret::{self, Presented};

pub(crate) use gotrue::Refusal;
pub(crate) use grants::{CodeRequest, GrantToken, Issued, Life, Redemption};
pub(crate) use sanctum::{NewToken, RefreshLimit, Rotation, SanctumToken};

const DAY_MS: i64 = 86_400_000;

const PEOPLE: [(&str, &str, &str); 2] = [
    ("Ada Lovelace", "ada@example.com", "lovelace-1815"),
    ("Grace Hopper", "grace@example.com", "hopper-1906"),
];

const BOOKINGS: [(i64, &str, &str, i64); 5] = [
    (1, "Hotel Analytique, London", "2026-12-10", 3),
    (1, "Villa Diodati, Cologny", "2027-06-16", 5),
    (1, "Ockham Park, Surrey", "2027-07-08", 2),
    (2, "Harbour Inn, Arlington", "2026-12-09", 4),
    (2, "Mark One Lodge, Cambridge", "2027-02-07", 1),
];

pub(crate) struct Store {
    connection: Mutex<Connection>,
}

/// A person, as every endpoint shows them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) email: String,
}

#[derive(Serialize)]
pub(crate) struct Booking {
    id: i64,
    hotel: String,
    check_in: String,
    nights: i64,
}

/// Any token that was found in the database, dead or alive.
pub(crate) enum Known {
    Sanctum(SanctumToken),
    Grant(GrantToken),
}

impl Known {
    /// The database id that stands for the token in `/wire`, such as `sanctum:12`.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Sanctum(token) => format!("sanctum:{}", token.id),
            Self::Grant(token) => token.label(),
        }
    }

    pub(crate) fn user(&self) -> &User {
        match self {
            Self::Sanctum(token) => &token.user,
            Self::Grant(token) => &token.user,
        }
    }
}

impl Store {
    /// Opens the database (in memory without a path) and seeds it when empty.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let connection = match path {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(include_str!("store/schema.sql"))?;
        let store = Self {
            connection: Mutex::new(connection),
        };
        store.seed()?;
        Ok(store)
    }

    /// The person with this address and password.
    pub(crate) fn sign_in(&self, email: &str, password: &str) -> Result<Option<User>, Failure> {
        let found = self.transaction(|tx| {
            tx.query_row(
                "SELECT id, name, email, password FROM users WHERE email = ?1",
                [email],
                |row| Ok((user(row)?, row.get::<_, String>(3)?)),
            )
            .optional()
        })?;
        let fits = password::verify(password, found.as_ref().map(|(_, stored)| stored.as_str()));
        Ok(found.filter(|_| fits).map(|(user, _)| user))
    }

    pub(crate) fn bookings(&self, user_id: i64) -> Result<Vec<Booking>, Failure> {
        self.transaction(|tx| {
            let mut query = tx.prepare_cached(
                "SELECT id, hotel, check_in, nights FROM bookings WHERE user_id = ?1 ORDER BY id",
            )?;
            let rows = query.query_map([user_id], |row| {
                Ok(Booking {
                    id: row.get(0)?,
                    hotel: row.get(1)?,
                    check_in: row.get(2)?,
                    nights: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Looks up a token by its hash, whatever its kind and state.
    pub(crate) fn find(&self, token: &str) -> Result<Option<Known>, Failure> {
        self.transaction(|tx| match Presented::parse(token) {
            Presented::Sanctum { id, secret } => {
                Ok(sanctum::find(tx, id, secret)?.map(Known::Sanctum))
            }
            Presented::Grant { .. } => Ok(grants::find(tx, token)?.map(Known::Grant)),
            Presented::Unknown => Ok(None),
        })
    }

    /// Whether any token of this server occurs in `text`.
    pub(crate) fn occurs_in(&self, text: &str) -> Result<bool, Failure> {
        self.transaction(|tx| {
            let mut query = tx.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM personal_access_tokens WHERE token = ?1)
                     OR EXISTS (SELECT 1 FROM grant_tokens WHERE token = ?1)",
            )?;
            for hash in secret::candidates(text) {
                if query.query_row([hash], |row| row.get(0))? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Deletes what expired or was revoked more than `retention_days` ago;
    /// returns the number of tokens deleted.
    pub(crate) fn clean_up(&self, retention_days: u32, now: i64) -> Result<usize, Failure> {
        let before = now - i64::from(retention_days) * DAY_MS;
        self.transaction(|tx| {
            let sanctum =
                tx.execute("DELETE FROM personal_access_tokens WHERE expires_at < ?1 OR revoked_at < ?1", [before])?;
            // A spent refresh token stays while its family lives: it is what
            // makes a reuse recognisable.
            let granted = tx.execute(
                "DELETE FROM grant_tokens WHERE (usage = 'access' AND (expires_at < ?1 OR revoked_at < ?1))
                 OR grant_id IN (SELECT id FROM grants WHERE expires_at < ?1 OR revoked_at < ?1)",
                [before],
            )?;
            tx.execute("DELETE FROM grants WHERE expires_at < ?1 OR revoked_at < ?1", [before])?;
            tx.execute("DELETE FROM oauth_codes WHERE expires_at < ?1", [before])?;
            Ok(sanctum + granted)
        })
    }

    /// Every live access token expires now; of one person, or of all.
    pub(crate) fn expire_access(&self, email: Option<&str>, now: i64) -> Result<usize, Failure> {
        self.transaction(|tx| {
            let sanctum = tx.execute(
                "UPDATE personal_access_tokens SET expires_at = ?1, updated_at = ?1
                 WHERE expires_at > ?1 AND revoked_at IS NULL AND (?2 IS NULL OR tokenable_id IN
                     (SELECT id FROM users WHERE email = ?2))",
                params![now, email],
            )?;
            let granted = tx.execute(
                "UPDATE grant_tokens SET expires_at = ?1
                 WHERE usage = 'access' AND expires_at > ?1 AND (?2 IS NULL OR grant_id IN
                     (SELECT grants.id FROM grants JOIN users ON users.id = user_id WHERE email = ?2))",
                params![now, email],
            )?;
            Ok(sanctum + granted)
        })
    }

    /// Every token is revoked now, refresh tokens too; of one person, or of all.
    pub(crate) fn revoke_everything(
        &self,
        email: Option<&str>,
        now: i64,
    ) -> Result<usize, Failure> {
        self.transaction(|tx| {
            let sanctum = tx.execute(
                "UPDATE personal_access_tokens SET revoked_at = ?1, updated_at = ?1 WHERE revoked_at IS NULL
                 AND (?2 IS NULL OR tokenable_id IN (SELECT id FROM users WHERE email = ?2))",
                params![now, email],
            )?;
            let granted = tx.execute(
                "UPDATE grants SET revoked_at = ?1 WHERE revoked_at IS NULL
                 AND (?2 IS NULL OR user_id IN (SELECT id FROM users WHERE email = ?2))",
                params![now, email],
            )?;
            Ok(sanctum + granted)
        })
    }

    fn seed(&self) -> Result<(), Failure> {
        let passwords = PEOPLE.map(|(_, _, password)| password::hash(password));
        let [ada, grace] = passwords;
        let passwords = [ada?, grace?];
        self.transaction(|tx| {
            if tx.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))? {
                return Ok(());
            }
            for ((name, email, _), password) in PEOPLE.iter().zip(&passwords) {
                tx.execute("INSERT INTO users (name, email, password) VALUES (?1, ?2, ?3)", params![
                    name, email, password
                ])?;
            }
            for booking in BOOKINGS {
                tx.execute("INSERT INTO bookings (user_id, hotel, check_in, nights) VALUES (?1, ?2, ?3, ?4)", booking)?;
            }
            Ok(())
        })
    }

    fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&tx)?;
        tx.commit()?;
        Ok(result)
    }
}

/// The person in columns `id`, `name`, `email`.
fn user(row: &Row) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get("id")?,
        name: row.get("name")?,
        email: row.get("email")?,
    })
}
