//! Laravel Sanctum with expiring tokens: `/api/auth/*`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, json_answer, message, too_many};
use crate::clock::iso;
use crate::gate::bearer;
use crate::limits::{Bucket, Exceeded};
use crate::store::{Known, NewToken, RefreshLimit, Rotation, SanctumToken};
use crate::{App, secret};

const SHORT: &str = "short_lived";
const LONG: &str = "long_lived";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/auth/login", post(login))
        .route("/api/auth/refresh", post(refresh))
        .route("/api/auth/logout", post(logout))
        .route("/api/auth/logout-all", post(logout_all))
        .route("/api/auth/me", get(me))
}

/// Refuses a dead token; notes the use of a live one.
pub(crate) fn check(app: &App, token: &SanctumToken, now: i64) -> Result<(), Response> {
    if token.expires_at <= now {
        let body = json!({
            "message": "The token has expired.", "code": "TOKEN_EXPIRED", "expires_at": iso(token.expires_at),
        });
        return Err(json_answer(StatusCode::UNAUTHORIZED, body));
    }
    if token.revoked_at.is_some() {
        let body = json!({ "message": "The token has been revoked.", "code": "TOKEN_REVOKED" });
        return Err(json_answer(StatusCode::UNAUTHORIZED, body));
    }
    app.store
        .touch_sanctum(token.id, now)
        .map_err(IntoResponse::into_response)
}

/// A Sanctum token that exists, dead or alive.
struct Held(SanctumToken);

/// A Sanctum token that is alive.
struct Live(SanctumToken);

impl FromRequestParts<Arc<App>> for Held {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let unauthenticated = || message(StatusCode::UNAUTHORIZED, "Unauthenticated.");
        let token = bearer(&parts.headers).ok_or_else(unauthenticated)?;
        match app.store.find(token).map_err(IntoResponse::into_response)? {
            Some(Known::Sanctum(token)) => Ok(Self(token)),
            _ => Err(unauthenticated()),
        }
    }
}

impl FromRequestParts<Arc<App>> for Live {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Held(token) = Held::from_request_parts(parts, app).await?;
        check(app, &token, app.clock.now_ms())?;
        Ok(Self(token))
    }
}

#[derive(Deserialize)]
struct Credentials {
    email: Option<String>,
    password: Option<String>,
    #[serde(default)]
    remember_me: bool,
    device_name: Option<String>,
    device_id: Option<String>,
}

async fn login(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let now = app.clock.now_ms();
    if let Err(exceeded) =
        app.limits
            .hit(Bucket::Login, "sanctum", app.options.login_per_minute, now)
    {
        return Ok(throttled(&exceeded));
    }
    let Ok(credentials) = serde_json::from_slice::<Credentials>(&body) else {
        return Ok(message(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The given data was invalid.",
        ));
    };
    let (Some(email), Some(password)) = (&credentials.email, &credentials.password) else {
        return Ok(missing_fields(&credentials));
    };
    let Some(user) = app.store.sign_in(email, password)? else {
        return Ok(message(
            StatusCode::UNAUTHORIZED,
            "The email or the password is wrong.",
        ));
    };
    let type_ = if credentials.remember_me { LONG } else { SHORT };
    let device_id = match credentials.device_id {
        Some(id) => id,
        None => secret::uuid()?,
    };
    let new = NewToken {
        user_id: user.id,
        name: credentials
            .device_name
            .as_deref()
            .unwrap_or("Unknown device"),
        type_,
        device_id: &device_id,
        lifetime_ms: lifetime_ms(&app, type_),
    };
    let (token, expires_at) = app
        .store
        .issue_sanctum(&new, app.options.single_device, now)?;
    let body = json!({
        "message": "Signed in.",
        "token": token,
        "user": user,
        "expires_at": iso(expires_at),
        "expires_in_minutes": minutes(new.lifetime_ms),
        "expires_in_seconds": new.lifetime_ms / 1000,
        "type": type_,
        "device_id": device_id,
    });
    Ok(json_answer(StatusCode::CREATED, body))
}

async fn refresh(State(app): State<Arc<App>>, Held(token): Held) -> Answer {
    let now = app.clock.now_ms();
    let per_minute = app.options.refresh_per_minute;
    if let Err(exceeded) = app
        .limits
        .hit(Bucket::Refresh, &token.user.email, per_minute, now)
    {
        return Ok(throttled(&exceeded));
    }
    let lifetime_ms = lifetime_ms(&app, &token.type_);
    let limit = RefreshLimit(app.options.max_refreshes_per_hour);
    Ok(
        match app.store.rotate_sanctum(&token, lifetime_ms, limit, now)? {
            Rotation::Done {
                token: successor,
                expires_at,
            } => {
                let body = json!({
                    "message": "Token refreshed.",
                    "token": successor,
                    "user": token.user,
                    "expires_at": iso(expires_at),
                    "expires_in_minutes": minutes(lifetime_ms),
                    "type": token.type_,
                    "old_token_status": "revoked",
                });
                json_answer(StatusCode::OK, body)
            }
            Rotation::Expired => refused(
                "The token has expired. Please sign in again.",
                "TOKEN_EXPIRED",
            ),
            Rotation::Revoked => refused(
                "The token has been revoked. Please sign in again.",
                "TOKEN_REVOKED",
            ),
            Rotation::TooMany { retry_after } => {
                let body = json!({
                    "message": "This login was refreshed too often. Please try again later.",
                    "code": "TOO_MANY_REFRESHES",
                });
                too_many(
                    &Exceeded {
                        limit: limit.0,
                        retry_after,
                    },
                    body,
                )
            }
        },
    )
}

async fn logout(State(app): State<Arc<App>>, Live(token): Live) -> Answer {
    let now = app.clock.now_ms();
    app.store.revoke_sanctum(token.id, now)?;
    Ok(json_answer(
        StatusCode::OK,
        json!({ "message": "Signed out.", "revoked_at": iso(now) }),
    ))
}

async fn logout_all(State(app): State<Arc<App>>, Live(token): Live) -> Answer {
    let revoked = app
        .store
        .revoke_all_sanctum(token.user.id, app.clock.now_ms())?;
    let text = format!("Signed out on all devices. Tokens revoked: {revoked}.");
    Ok(json_answer(
        StatusCode::OK,
        json!({ "message": text, "revoked_count": revoked }),
    ))
}

async fn me(State(app): State<Arc<App>>, Live(token): Live) -> Answer {
    let now = app.clock.now_ms();
    let left_ms = token.expires_at - now;
    let body = json!({
        "user": token.user,
        "token": {
            "name": token.name,
            "type": token.type_,
            "device_id": token.device_id,
            "expires_at": iso(token.expires_at),
            "expires_in_minutes": minutes(left_ms),
            "expires_in_seconds": left_ms / 1000,
            "created_at": iso(token.created_at),
            "last_used_at": iso(now),
        },
    });
    Ok(json_answer(StatusCode::OK, body))
}

fn lifetime_ms(app: &App, type_: &str) -> i64 {
    let lifetimes = app.lifetimes();
    i64::from(if type_ == LONG {
        lifetimes.long_lived
    } else {
        lifetimes.short_lived
    }) * 1000
}

/// Whole minutes, as Laravel's `diffInMinutes` gave them: 0 in the last minute.
fn minutes(ms: i64) -> i64 {
    ms / 60_000
}

fn refused(text: &str, code: &str) -> Response {
    json_answer(
        StatusCode::UNAUTHORIZED,
        json!({ "message": text, "code": code }),
    )
}

fn throttled(exceeded: &Exceeded) -> Response {
    too_many(exceeded, json!({ "message": "Too Many Attempts." }))
}

fn missing_fields(credentials: &Credentials) -> Response {
    let missing = [
        ("email", credentials.email.is_none()),
        ("password", credentials.password.is_none()),
    ];
    let errors: serde_json::Map<String, Value> = missing
        .into_iter()
        .filter(|(_, missing)| *missing)
        .map(|(field, _)| {
            (
                field.to_owned(),
                json!([format!("The {field} field is required.")]),
            )
        })
        .collect();
    let body = json!({ "message": "The given data was invalid.", "errors": errors });
    json_answer(StatusCode::UNPROCESSABLE_ENTITY, body)
}
