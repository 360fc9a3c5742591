//! djangorestframework-simplejwt: `/simplejwt/api/token/*/`. Both tokens are
//! JWTs and no answer says how long they live.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{any, post};
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::answer::{Answer, json_answer, too_many};
use crate::django::append_slash;
use crate::kind::Kind;
use crate::limits::Exceeded;
use crate::store::Known;
use crate::wire::{Seen, noted};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/simplejwt/api/token/", post(login))
        .route("/simplejwt/api/token/refresh/", post(refresh))
        .route("/simplejwt/api/token/blacklist/", post(blacklist))
        .route("/simplejwt/api/token", any(append_slash))
        .route("/simplejwt/api/token/refresh", any(append_slash))
        .route("/simplejwt/api/token/blacklist", any(append_slash))
}

/// For an access token that is dead.
pub(crate) fn unauthorized(expired: bool) -> Response {
    let message = if expired {
        "Token is expired"
    } else {
        "Token is invalid"
    };
    let body = json!({
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [{ "token_class": "AccessToken", "token_type": "access", "message": message }],
    });
    refused(body)
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(alias = "username")]
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct RefreshBody {
    refresh: String,
}

async fn login(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    if let Err(exceeded) = app.count_login("simplejwt") {
        return Ok(throttled(&exceeded));
    }
    let Ok(Credentials { email, password }) = serde_json::from_slice(&body) else {
        return Ok(required(&["email", "password"]));
    };
    let Some(user) = app.store.sign_in(&email, &password)? else {
        return Ok(refused(json!({
            "detail": "No active account found with the given credentials",
            "code": "no_active_account",
        })));
    };
    let issued = app.store.issue(Kind::SimpleJwt, &user, app.life())?;
    let body = json!({ "refresh": issued.refresh, "access": issued.access });
    Ok(json_answer(StatusCode::OK, body))
}

async fn refresh(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Ok(RefreshBody { refresh }) = serde_json::from_slice(&body) else {
        return Ok(required(&["refresh"]));
    };
    let known = app.store.find(&refresh)?;
    let seen = known.as_ref().map(Seen::of);
    if let Err(exceeded) = app.count_refresh("simplejwt", known.as_ref()) {
        return Ok(noted(throttled(&exceeded), seen));
    }
    let life = app.life();
    let issued = if app.switches().simplejwt_rotate {
        app.store.rotate(Kind::SimpleJwt, &refresh, life)?
    } else {
        app.store.renew(Kind::SimpleJwt, &refresh, life)?
    };
    let response = match issued {
        Some(issued) => {
            let mut body = json!({ "access": issued.access });
            if let Some(refresh) = issued.refresh {
                body["refresh"] = json!(refresh);
            }
            json_answer(StatusCode::OK, body)
        }
        None => dead(known.as_ref(), life.now),
    };
    Ok(noted(response, seen))
}

/// Ends the refresh token alone; an access token stays good until it expires.
async fn blacklist(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Ok(RefreshBody { refresh }) = serde_json::from_slice(&body) else {
        return Ok(required(&["refresh"]));
    };
    let now = app.clock.now_ms();
    let known = app.store.find(&refresh)?;
    let response = match &known {
        Some(Known::Grant(token)) if token.refreshes(Kind::SimpleJwt) && token.is_live(now) => {
            app.store.revoke_token(token, now)?;
            json_answer(StatusCode::OK, json!({}))
        }
        known => dead(known.as_ref(), now),
    };
    Ok(noted(response, known.as_ref().map(Seen::of)))
}

/// For a refresh token that is dead or unknown.
fn dead(known: Option<&Known>, now: i64) -> Response {
    let detail = match known {
        Some(Known::Grant(token)) if token.refreshes(Kind::SimpleJwt) => {
            if token.expires_at <= now {
                "Token is expired"
            } else {
                "Token is blacklisted"
            }
        }
        _ => "Token is invalid",
    };
    refused(json!({ "detail": detail, "code": "token_not_valid" }))
}

fn refused(body: serde_json::Value) -> Response {
    let mut response = json_answer(StatusCode::UNAUTHORIZED, body);
    response.headers_mut().insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"api\""),
    );
    response
}

fn required(fields: &[&str]) -> Response {
    let body: serde_json::Map<_, _> = fields
        .iter()
        .map(|field| ((*field).to_owned(), json!(["This field is required."])))
        .collect();
    json_answer(StatusCode::BAD_REQUEST, body.into())
}

fn throttled(exceeded: &Exceeded) -> Response {
    let detail = format!(
        "Request was throttled. Expected available in {} seconds.",
        exceeded.retry_after
    );
    too_many(exceeded, json!({ "detail": detail }))
}
