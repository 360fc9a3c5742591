//! Laravel Passport, which is league/oauth2-server: `/passport/oauth/token`.
//! The page to sign in is OAuth 2's. A refresh ends the access token before it;
//! a second use of a refresh token is refused and harms nobody else.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use crate::App;
use crate::answer::{Answer, json_answer, message, too_many};
use crate::gate::bearer;
use crate::kind::Kind;
use crate::oauth2::{self, CLIENT_ID, Form, no_store};
use crate::store::{Issued, Known, User};
use crate::wire::{Seen, noted};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/passport/oauth/token", post(token))
        .route("/passport/api/user", get(user))
}

/// The person behind a live Passport access token.
struct Person(User);

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let unauthenticated = || message(StatusCode::UNAUTHORIZED, "Unauthenticated.");
        let token = bearer(&parts.headers).ok_or_else(unauthenticated)?;
        match app.store.find(token).map_err(IntoResponse::into_response)? {
            Some(Known::Grant(token))
                if token.kind == Kind::Passport
                    && token.is_access()
                    && token.is_live(app.clock.now_ms()) =>
            {
                Ok(Self(token.user))
            }
            _ => Err(unauthenticated()),
        }
    }
}

async fn token(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let form = oauth2::form(&body).unwrap_or_default();
    if form.get("client_id").is_none_or(|id| id != CLIENT_ID) {
        let text = "Client authentication failed";
        return Ok(error(StatusCode::UNAUTHORIZED, "invalid_client", text, ""));
    }
    match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => exchange_code(&app, &form),
        Some("refresh_token") => refresh(&app, &form),
        _ => Ok(error(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "The authorization grant type is not supported by the authorization server.",
            "Check that all required parameters have been provided",
        )),
    }
}

fn exchange_code(app: &App, form: &Form) -> Answer {
    let Some(redeemed) = oauth2::redeem(app, Kind::Passport, form) else {
        return Ok(missing("code"));
    };
    Ok(match redeemed? {
        Some(issued) => tokens(&issued, app.lifetimes().access),
        None => error(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "The provided authorization grant is invalid, expired or revoked.",
            "Authorization code has been revoked",
        ),
    })
}

fn refresh(app: &App, form: &Form) -> Answer {
    let Some(token) = form.get("refresh_token") else {
        return Ok(missing("refresh_token"));
    };
    let known = app.store.find(token)?;
    let seen = known.as_ref().map(Seen::of);
    if let Err(exceeded) = app.count_refresh("passport", known.as_ref()) {
        let body = json!({ "message": "Too Many Attempts." });
        return Ok(noted(too_many(&exceeded, body), seen));
    }
    let life = app.life();
    let response = match app.store.rotate(Kind::Passport, token, life)? {
        Some(issued) => tokens(&issued, app.lifetimes().access),
        None => dead(app, known.as_ref(), life.now),
    };
    Ok(noted(response, seen))
}

fn dead(app: &App, known: Option<&Known>, now: i64) -> Response {
    let hint = match known {
        Some(Known::Grant(token)) if token.refreshes(Kind::Passport) => {
            if token.expires_at <= now {
                "Token has expired"
            } else {
                "Token has been revoked"
            }
        }
        _ => "Cannot decrypt the refresh token",
    };
    let (status, code) = match app.switches().league {
        8 => (StatusCode::UNAUTHORIZED, "invalid_request"),
        _ => (StatusCode::BAD_REQUEST, "invalid_grant"),
    };
    error(status, code, "The refresh token is invalid.", hint)
}

async fn user(Person(user): Person) -> Response {
    json_answer(StatusCode::OK, json!(user))
}

fn tokens(issued: &Issued, access_lifetime: u32) -> Response {
    let body = json!({
        "token_type": "Bearer",
        "expires_in": access_lifetime,
        "access_token": issued.access,
        "refresh_token": issued.refresh,
    });
    no_store(json_answer(StatusCode::OK, body))
}

fn missing(parameter: &str) -> Response {
    error(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        "The request is missing a required parameter.",
        &format!("Check the `{parameter}` parameter"),
    )
}

fn error(status: StatusCode, code: &str, description: &str, hint: &str) -> Response {
    let mut body = json!({
        "error": code,
        "error_description": description,
        "message": description,
    });
    if !hint.is_empty() {
        body["hint"] = json!(hint);
    }
    json_answer(status, body)
}
