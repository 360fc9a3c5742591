//! `/oauth/authorize`: the page on which a person signs in, Passport's too.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Form, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::HeaderValue};
use serde::{Deserialize, Serialize};

use super::CLIENT_ID;
use crate::App;
use crate::answer::Answer;
use crate::store::CodeRequest;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth/authorize", get(ask).post(sign_in))
        .route("/passport/oauth/authorize", get(ask).post(sign_in))
}

/// The query of the page, which its form sends back as hidden fields.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Authorization {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    scope: String,
    state: String,
    code_challenge: String,
    code_challenge_method: String,
}

#[derive(Deserialize)]
struct SignIn {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(flatten)]
    authorization: Authorization,
}

async fn ask(Query(authorization): Query<Authorization>) -> Response {
    match authorization.check() {
        Ok(()) => page(StatusCode::OK, &authorization, ""),
        Err(refusal) => refusal,
    }
}

async fn sign_in(State(app): State<Arc<App>>, Form(form): Form<SignIn>) -> Answer {
    let authorization = form.authorization;
    if let Err(refusal) = authorization.check() {
        return Ok(refusal);
    }
    if app.count_login("oauth2").is_err() {
        return Ok(page(
            StatusCode::TOO_MANY_REQUESTS,
            &authorization,
            "Too many attempts. Wait a minute.",
        ));
    }
    let Some(user) = app.store.sign_in(&form.email, &form.password)? else {
        return Ok(page(
            StatusCode::UNAUTHORIZED,
            &authorization,
            "The email or the password is wrong.",
        ));
    };
    let request = CodeRequest {
        user_id: user.id,
        redirect_uri: &authorization.redirect_uri,
        challenge: &authorization.code_challenge,
    };
    let code = app.store.issue_code(&request, app.clock.now_ms())?;
    Ok(authorization.send_back(&[("code", &code)]))
}

impl Authorization {
    /// An unknown client or redirect URI is shown to the person, since nobody
    /// may be redirected there; any other mistake goes back to the client.
    fn check(&self) -> Result<(), Response> {
        if self.client_id != CLIENT_ID || !is_loopback(&self.redirect_uri) {
            let text = "<!doctype html><title>Error</title><p>Unknown client_id or redirect_uri.";
            return Err((StatusCode::BAD_REQUEST, Html(text)).into_response());
        }
        if self.response_type != "code" {
            return Err(self.send_back(&[("error", "unsupported_response_type")]));
        }
        // 43 characters: SHA-256 in base64url without padding.
        if self.code_challenge_method != "S256" || self.code_challenge.len() != 43 {
            let description = "PKCE with S256 is required";
            return Err(self.send_back(&[
                ("error", "invalid_request"),
                ("error_description", description),
            ]));
        }
        Ok(())
    }

    fn send_back(&self, fields: &[(&str, &str)]) -> Response {
        let mut fields = fields.to_vec();
        if !self.state.is_empty() {
            fields.push(("state", &self.state));
        }
        let query = serde_urlencoded::to_string(&fields).unwrap_or_default();
        let separator = if self.redirect_uri.contains('?') {
            '&'
        } else {
            '?'
        };
        match HeaderValue::from_str(&format!("{}{separator}{query}", self.redirect_uri)) {
            Ok(location) => (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response(),
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        }
    }

    fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("response_type", &self.response_type),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", &self.scope),
            ("state", &self.state),
            ("code_challenge", &self.code_challenge),
            ("code_challenge_method", &self.code_challenge_method),
        ]
    }
}

fn page(status: StatusCode, authorization: &Authorization, problem: &str) -> Response {
    let mut hidden = String::new();
    for (name, value) in authorization.fields() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            hidden,
            "<input type=hidden name={name} value=\"{}\">",
            escape(value)
        );
    }
    let html = format!(
        "<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content=\"width=device-width\">
<title>Sign in</title>
<h1>Sign in</h1>
<p role=alert>{problem}</p>
<form method=post action=/oauth/authorize>
{hidden}<p><label>Email <input name=email type=email autocomplete=username required autofocus></label>
<p><label>Password <input name=password type=password autocomplete=current-password required></label>
<p><button>Sign in</button>
</form>
"
    );
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    (status, headers, Html(html)).into_response()
}

fn is_loopback(redirect_uri: &str) -> bool {
    let Ok(uri) = redirect_uri.parse::<Uri>() else {
        return false;
    };
    let plain = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    let host = uri.host().unwrap_or_default();
    plain && uri.scheme_str() == Some("http") && ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_loopback() {
        for uri in [
            "http://127.0.0.1:8080/cb",
            "http://localhost/cb?x=1",
            "http://[::1]:3000/",
        ] {
            assert!(is_loopback(uri), "{uri}");
        }
        for uri in [
            "http://evil.test/",
            "http://127.0.0.1@evil.test/",
            "javascript:alert(1)",
            "/cb",
            "https://localhost",
        ] {
            assert!(!is_loopback(uri), "{uri}");
        }
    }

    #[test]
    fn hidden_fields_cannot_break_out() {
        assert_eq!(escape("\"><b>&"), "&quot;&gt;&lt;b&gt;&amp;");
    }
}
