//! The JWTs of simplejwt and GoTrue, as their clients get them. The signature
//! is the token's random secret: the server looks tokens up and verifies none,
//! so that tests can tell each from every other by its third segment.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::gotrue;
use crate::kind::{Kind, Usage};
use crate::secret;
use crate::store::User;

/// What the claims are made of.
pub(crate) struct Subject<'a> {
    pub(crate) kind: Kind,
    pub(crate) usage: Usage,
    pub(crate) user: &'a User,
    /// The login's id in the database.
    pub(crate) grant: i64,
    /// ms since the epoch.
    pub(crate) issued_at: i64,
    /// ms since the epoch.
    pub(crate) expires_at: i64,
}

/// The token's text. Times are whole seconds, rounded down as everywhere.
pub(crate) fn text(subject: &Subject, secret: &str) -> String {
    let claims = match subject.kind {
        Kind::GoTrue => gotrue_claims(subject),
        _ => simplejwt_claims(subject, secret),
    };
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    format!("{}.{}.{secret}", segment(&header), segment(&claims))
}

fn simplejwt_claims(subject: &Subject, secret: &str) -> Value {
    let usage = match subject.usage {
        Usage::Access => "access",
        Usage::Refresh => "refresh",
    };
    json!({
        "token_type": usage,
        "exp": seconds(subject.expires_at),
        "iat": seconds(subject.issued_at),
        // Its own for each token, and tells nothing about the secret.
        "jti": secret::sha256(secret)[..32],
        "user_id": subject.user.id,
    })
}

fn gotrue_claims(subject: &Subject) -> Value {
    json!({
        "iss": "supabase",
        "sub": gotrue::uuid_of(subject.user.id),
        "aud": "authenticated",
        "exp": seconds(subject.expires_at),
        "iat": seconds(subject.issued_at),
        "email": subject.user.email,
        "role": "authenticated",
        "aal": "aal1",
        "session_id": gotrue::uuid_of(subject.grant),
    })
}

fn segment(claims: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
}

fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1000)
}
