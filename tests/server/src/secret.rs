//! Token secrets: made here, hashed here, recognised here. The database only
//! ever sees the hash.
//!
//! Every secret is 40 characters of [A-Za-z0-9]; what stands before it says
//! which kind of token it is: `12|…` for Sanctum, a prefix or, in a JWT, whose
//! third segment the secret is, header and claims for the others.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::kind;

/// Length of a secret in characters; 62^40 is about 238 bits.
pub(crate) const LENGTH: usize = 40;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Longest text that [`candidates`] looks into, in bytes.
const SCAN_LIMIT: usize = 64 * 1024;

/// A token as a client presents it, not yet looked up.
#[derive(Clone, Copy)]
pub(crate) enum Presented<'a> {
    Sanctum {
        id: i64,
        secret: &'a str,
    },
    Grant {
        /// None: it looks like a JWT.
        prefix: Option<&'static str>,
        secret: &'a str,
    },
    Unknown,
}

impl<'a> Presented<'a> {
    pub(crate) fn parse(token: &'a str) -> Self {
        if let Some((id, secret)) = token.split_once('|') {
            return id
                .parse()
                .map_or(Self::Unknown, |id| Self::Sanctum { id, secret });
        }
        if let Some((prefix, secret)) = kind::split_prefix(token) {
            return Self::Grant {
                prefix: Some(prefix),
                secret,
            };
        }
        match token.split('.').collect::<Vec<_>>()[..] {
            [_, _, secret] => Self::Grant {
                prefix: None,
                secret,
            },
            _ => Self::Unknown,
        }
    }
}

/// A fresh random secret.
pub(crate) fn generate() -> Result<String, getrandom::Error> {
    let mut secret = String::with_capacity(LENGTH);
    let mut random = [0_u8; 64];
    while secret.len() < LENGTH {
        getrandom::fill(&mut random)?;
        extend(&mut secret, &random);
    }
    Ok(secret)
}

/// The secret that follows `parent`: always the same one for the same `seed`.
/// So it can be told again to who holds the parent, and the database, which
/// knows the seed and the parent's hash, still cannot tell it.
pub(crate) fn successor(parent: &str, seed: &str) -> String {
    let mut secret = String::with_capacity(LENGTH);
    let mut block = Sha256::digest(format!("{parent}.{seed}"));
    while secret.len() < LENGTH {
        extend(&mut secret, &block);
        block = Sha256::digest(format!("{parent}.{}", hex(&block)));
    }
    secret
}

/// Turns random bytes into letters, until the secret is full.
fn extend(secret: &mut String, random: &[u8]) {
    // 248 = 4 * 62: larger bytes would favour the first letters.
    let letters = random.iter().filter(|&&byte| byte < 248);
    let missing = LENGTH - secret.len();
    secret.extend(
        letters
            .take(missing)
            .map(|&byte| char::from(ALPHABET[usize::from(byte % 62)])),
    );
}

/// A random version 4 UUID.
pub(crate) fn uuid() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    ))
}

/// Lower-case hex of SHA-256.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hashes of everything in `text` that has the shape of a secret.
pub(crate) fn candidates(text: &str) -> impl Iterator<Item = String> {
    let end = text.floor_char_boundary(SCAN_LIMIT);
    text[..end]
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .flat_map(|run| run.as_bytes().windows(LENGTH).map(sha256))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_one_shape() {
        let secret = generate().unwrap();
        assert_eq!(secret.len(), LENGTH);
        assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(secret, generate().unwrap());
    }

    #[test]
    fn a_successor_needs_parent_and_seed() {
        let secret = successor("parent", "seed");
        assert_eq!(secret.len(), LENGTH);
        assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(secret, successor("parent", "seed"));
        assert_ne!(secret, successor("parent", "other"));
        assert_ne!(secret, successor("other", "seed"));
    }

    #[test]
    fn uuid_is_version_4() {
        let id = uuid().unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
    }

    #[test]
    fn a_secret_is_found_inside_text() {
        let secret = generate().unwrap();
        let text = format!("Bearer 12|{secret}&x=1");
        assert!(candidates(&text).any(|hash| hash == sha256(&secret)));
        assert_eq!(candidates("no secret here").count(), 0);
    }
}
