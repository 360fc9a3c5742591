//! Password hashes: PBKDF2-HMAC-SHA256 with a salt of its own per person.

use pbkdf2::pbkdf2_hmac_array;
use sha2::Sha256;

use crate::secret;

/// Far below what production needs (600,000): tests sign in a lot, and the two
/// passwords of this server are printed in its README.
const ROUNDS: u32 = 500;

/// `salt$hash`, both as text.
pub(crate) fn hash(password: &str) -> Result<String, getrandom::Error> {
    let salt = secret::generate()?;
    let hash = derive(password, &salt);
    Ok(format!("{salt}${hash}"))
}

/// Whether `password` belongs to `stored`. Takes as long when there is no such
/// person, so that the time does not tell which addresses exist.
pub(crate) fn verify(password: &str, stored: Option<&str>) -> bool {
    let (salt, expected) = stored
        .and_then(|stored| stored.split_once('$'))
        .unwrap_or(("", ""));
    let actual = derive(password, salt);
    let differing = actual
        .bytes()
        .zip(expected.bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    differing == 0 && actual.len() == expected.len()
}

fn derive(password: &str, salt: &str) -> String {
    let key = pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt.as_bytes(), ROUNDS);
    secret::hex(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_fits() {
        let stored = hash("lovelace-1815").unwrap();
        assert!(verify("lovelace-1815", Some(&stored)));
        assert!(!verify("lovelace-1816", Some(&stored)));
        assert!(!verify("", None));
    }
}
