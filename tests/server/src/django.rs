//! A Django style API: `/auth/*/` with a short access token and a refresh token
//! that stays the same. Paths end with a slash, and Django insists on it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::answer::{Answer, json_answer, too_many};
use crate::gate::bearer;
use crate::kind::Kind;
use crate::limits::Exceeded;
use crate::store::{Known, User};
use crate::wire::{Seen, noted};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/auth/login/", post(login))
        .route("/auth/refresh/", post(refresh))
        .route("/auth/logout/", post(logout))
        .route("/auth/logout-all/", post(logout_all))
        .route("/auth/me/", get(me))
        .route("/auth/login", any(append_slash))
        .route("/auth/refresh", any(append_slash))
        .route("/auth/logout", any(append_slash))
        .route("/auth/logout-all", any(append_slash))
        .route("/auth/me", any(append_slash))
}

/// For an access token that is dead or unknown.
pub(crate) fn unauthorized() -> Response {
    error(
        StatusCode::UNAUTHORIZED,
        "Invalid access token",
        "Access token is invalid or expired",
    )
}

/// The person behind a live Django access token.
struct Person(User);

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let token = bearer(&parts.headers).ok_or_else(unauthorized)?;
        match app.store.find(token).map_err(IntoResponse::into_response)? {
            Some(Known::Grant(token))
                if token.kind == Kind::Django
                    && token.is_access()
                    && token.is_live(app.clock.now_ms()) =>
            {
                Ok(Self(token.user))
            }
            _ => Err(unauthorized()),
        }
    }
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct RefreshBody {
    refresh_token: String,
}

async fn login(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    if let Err(exceeded) = app.count_login("django") {
        return Ok(throttled(&exceeded));
    }
    let Ok(Credentials { email, password }) = serde_json::from_slice(&body) else {
        return Ok(error(
            StatusCode::BAD_REQUEST,
            "Invalid request",
            "email and password are required",
        ));
    };
    let Some(user) = app.store.sign_in(&email, &password)? else {
        return Ok(error(
            StatusCode::UNAUTHORIZED,
            "Invalid credentials",
            "Email or password is incorrect",
        ));
    };
    let issued = app.store.issue(Kind::Django, &user, app.life())?;
    let body = json!({
        "access_token": issued.access,
        "refresh_token": issued.refresh,
        "expires_in": app.lifetimes().access,
        "user": issued.user,
    });
    Ok(json_answer(StatusCode::OK, body))
}

async fn refresh(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Ok(RefreshBody { refresh_token }) = serde_json::from_slice(&body) else {
        return Ok(error(
            StatusCode::BAD_REQUEST,
            "Invalid request",
            "refresh_token is required",
        ));
    };
    let known = app.store.find(&refresh_token)?;
    let seen = known.as_ref().map(Seen::of);
    if let Err(exceeded) = app.count_refresh("django", known.as_ref()) {
        return Ok(noted(throttled(&exceeded), seen));
    }
    let response = match app.store.renew(Kind::Django, &refresh_token, app.life())? {
        Some(issued) => json_answer(
            StatusCode::OK,
            json!({ "access_token": issued.access, "expires_in": app.lifetimes().access }),
        ),
        None => error(
            StatusCode::UNAUTHORIZED,
            "Invalid refresh token",
            "Refresh token is invalid or expired",
        ),
    };
    Ok(noted(response, seen))
}

async fn logout(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let Ok(RefreshBody { refresh_token }) = serde_json::from_slice(&body) else {
        return Ok(error(
            StatusCode::BAD_REQUEST,
            "Invalid request",
            "refresh_token is required",
        ));
    };
    let known = app.store.find(&refresh_token)?;
    let seen = known.as_ref().map(Seen::of);
    // An unknown token is as signed out as can be.
    if let Some(Known::Grant(token)) = known
        && token.refreshes(Kind::Django)
    {
        app.store.end_login(&token, app.clock.now_ms())?;
    }
    Ok(noted(StatusCode::NO_CONTENT.into_response(), seen))
}

async fn logout_all(State(app): State<Arc<App>>, Person(user): Person) -> Answer {
    let revoked = app
        .store
        .end_all_logins(Kind::Django, user.id, app.clock.now_ms())?;
    Ok(json_answer(
        StatusCode::OK,
        json!({ "revoked_count": revoked }),
    ))
}

async fn me(Person(user): Person) -> Response {
    json_answer(StatusCode::OK, json!(user))
}

/// Django's `APPEND_SLASH`: also for POST, which a browser then repeats as GET.
pub(crate) async fn append_slash(uri: Uri) -> Response {
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let location = format!("{}/{query}", uri.path());
    match HeaderValue::from_str(&location) {
        Ok(location) => (StatusCode::MOVED_PERMANENTLY, [(LOCATION, location)]).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn error(status: StatusCode, error: &str, details: &str) -> Response {
    json_answer(status, json!({ "error": error, "details": details }))
}

fn throttled(exceeded: &Exceeded) -> Response {
    let details = format!(
        "Request was throttled. Expected available in {} seconds.",
        exceeded.retry_after
    );
    too_many(
        exceeded,
        json!({ "error": "Too many requests", "details": details }),
    )
}
