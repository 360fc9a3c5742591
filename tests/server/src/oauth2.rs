//! OAuth 2 for a public client: authorization code with PKCE (RFC 7636),
//! rotating refresh tokens with reuse detection (RFC 9700, 4.14.2) and
//! revocation (RFC 7009).

mod authorize;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::App;
use crate::answer::{Answer, Failure, json_answer, too_many};
use crate::gate::bearer;
use crate::kind::Kind;
use crate::store::{Issued, Known, Redemption, User};
use crate::wire::{Seen, noted};

pub(crate) const CLIENT_ID: &str = "demo";
const SCOPE: &str = "profile";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(authorize::routes())
        .route("/oauth/token", post(token))
        .route("/oauth/revoke", post(revoke))
        .route("/oauth/userinfo", get(userinfo))
}

/// The grant type in the body of a token request.
pub(crate) fn grant_type(body: &[u8]) -> Option<String> {
    form(body)?.remove("grant_type")
}

/// 401 as RFC 6750 section 3 has it.
pub(crate) fn invalid_token(expired: bool) -> Response {
    let (header, description) = if expired {
        (
            "Bearer realm=\"keepfresh\", error=\"invalid_token\", error_description=\"The access token expired\"",
            "The access token expired",
        )
    } else {
        (
            "Bearer realm=\"keepfresh\", error=\"invalid_token\", error_description=\"The access token is not valid\"",
            "The access token is not valid",
        )
    };
    let mut response = error(StatusCode::UNAUTHORIZED, "invalid_token", description);
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(header));
    response
}

/// The person behind a live OAuth 2 access token.
struct Person(User);

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let now = app.clock.now_ms();
        let Some(token) = bearer(&parts.headers) else {
            let bare = [(WWW_AUTHENTICATE, "Bearer realm=\"keepfresh\"")];
            return Err((StatusCode::UNAUTHORIZED, bare).into_response());
        };
        match app.store.find(token).map_err(IntoResponse::into_response)? {
            Some(Known::Grant(token)) if token.kind == Kind::OAuth2 && token.is_access() => {
                if token.is_live(now) {
                    Ok(Self(token.user))
                } else {
                    Err(invalid_token(token.expires_at <= now))
                }
            }
            _ => Err(invalid_token(false)),
        }
    }
}

pub(crate) type Form = HashMap<String, String>;

async fn token(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Some(form) = form(&body) else {
        return Ok(bad_request("invalid_request", "The body must be a form"));
    };
    if form.get("client_id").is_none_or(|id| id != CLIENT_ID) {
        return Ok(error(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "Unknown client",
        ));
    }
    match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => exchange_code(&app, &form),
        Some("refresh_token") => rotate(&app, &form),
        Some(_) => Ok(bad_request(
            "unsupported_grant_type",
            "Only authorization_code and refresh_token",
        )),
        None => Ok(bad_request("invalid_request", "grant_type is missing")),
    }
}

fn exchange_code(app: &App, form: &Form) -> Answer {
    let Some(redeemed) = redeem(app, Kind::OAuth2, form) else {
        return Ok(bad_request(
            "invalid_request",
            "code, code_verifier and redirect_uri are needed",
        ));
    };
    Ok(match redeemed? {
        Some(issued) => tokens(&issued, app.lifetimes().access),
        None => bad_request(
            "invalid_grant",
            "The code is unknown, used, expired or made for something else",
        ),
    })
}

/// What the code in a form brings; none if the form is not complete.
pub(crate) fn redeem(
    app: &App,
    kind: Kind,
    form: &Form,
) -> Option<Result<Option<Issued>, Failure>> {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(form.get("code_verifier")?));
    let redemption = Redemption {
        code: form.get("code")?,
        redirect_uri: form.get("redirect_uri")?,
        challenge: &challenge,
    };
    Some(app.store.redeem_code(kind, &redemption, app.life()))
}

fn rotate(app: &App, form: &Form) -> Answer {
    let Some(token) = form.get("refresh_token") else {
        return Ok(bad_request("invalid_request", "refresh_token is missing"));
    };
    let known = app.store.find(token)?;
    let response = match app.count_refresh("oauth2", known.as_ref()) {
        Err(exceeded) => too_many(&exceeded, json!({ "error": "temporarily_unavailable" })),
        Ok(()) => rotated(app, token)?,
    };
    Ok(noted(response, known.as_ref().map(Seen::of)))
}

fn rotated(app: &App, token: &str) -> Result<Response, Failure> {
    Ok(match app.store.rotate(Kind::OAuth2, token, app.life())? {
        Some(issued) => tokens(&issued, app.lifetimes().access),
        None => bad_request(
            "invalid_grant",
            "The refresh token is unknown, expired, revoked or was used before",
        ),
    })
}

async fn revoke(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Some(token) = form(&body).and_then(|mut form| form.remove("token")) else {
        return Ok(bad_request("invalid_request", "token is missing"));
    };
    let mut response = StatusCode::OK.into_response();
    if let Some(known) = app.store.find(&token)? {
        response.extensions_mut().insert(Seen::of(&known));
        if let Known::Grant(granted) = known
            && granted.kind == Kind::OAuth2
        {
            app.store.revoke_granted(&granted, app.clock.now_ms())?;
        }
    }
    Ok(response)
}

async fn userinfo(Person(user): Person) -> Response {
    let claims = json!({ "sub": user.id.to_string(), "name": user.name, "email": user.email });
    json_answer(StatusCode::OK, claims)
}

pub(crate) fn form(body: &[u8]) -> Option<Form> {
    serde_urlencoded::from_bytes(body).ok()
}

fn tokens(issued: &Issued, access_lifetime: u32) -> Response {
    let body = json!({
        "access_token": issued.access,
        "token_type": "Bearer",
        "expires_in": access_lifetime,
        "refresh_token": issued.refresh,
        "scope": SCOPE,
    });
    no_store(json_answer(StatusCode::OK, body))
}

fn bad_request(code: &str, description: &str) -> Response {
    error(StatusCode::BAD_REQUEST, code, description)
}

fn error(status: StatusCode, code: &str, description: &str) -> Response {
    no_store(json_answer(
        status,
        json!({ "error": code, "error_description": description }),
    ))
}

pub(crate) fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
