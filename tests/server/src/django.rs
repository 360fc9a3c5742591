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
use crate::limits::{Bucket, Exceeded};
use crate::store::{Known, User};
use crate::wire::Seen;

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
                if token.kind == "django"
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
    let now = app.clock.now_ms();
    if let Err(exceeded) =
        app.limits
            .hit(Bucket::Login, "django", app.options.login_per_minute, now)
    {
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
    let lifetimes = app.lifetimes();
    let (access_ms, refresh_ms) = (
        i64::from(lifetimes.access) * 1000,
        i64::from(lifetimes.refresh) * 1000,
    );
    let issued = app.store.issue_django(&user, access_ms, refresh_ms, now)?;
    let body = json!({
        "access_token": issued.access,
        "refresh_token": issued.refresh,
        "expires_in": lifetimes.access,
        "user": issued.user,
    });
    Ok(json_answer(StatusCode::OK, body))
}

async fn refresh(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    let now = app.clock.now_ms();
    let Ok(RefreshBody { refresh_token }) = serde_json::from_slice(&body) else {
        return Ok(error(
            StatusCode::BAD_REQUEST,
            "Invalid request",
            "refresh_token is required",
        ));
    };
    let known = app.store.find(&refresh_token)?;
    let seen = known.as_ref().map(Seen::of);
    let key = known
        .as_ref()
        .map_or("django", |known| known.user().email.as_str());
    if let Err(exceeded) = app
        .limits
        .hit(Bucket::Refresh, key, app.options.refresh_per_minute, now)
    {
        return Ok(noted(throttled(&exceeded), seen));
    }
    let lifetime = app.lifetimes().access;
    let response =
        match app
            .store
            .refresh_django(&refresh_token, i64::from(lifetime) * 1000, now)?
        {
            Some(issued) => json_answer(
                StatusCode::OK,
                json!({ "access_token": issued.access, "expires_in": lifetime }),
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
        && token.kind == "django"
        && !token.is_access()
    {
        app.store.revoke_granted(&token, app.clock.now_ms())?;
    }
    Ok(noted(StatusCode::NO_CONTENT.into_response(), seen))
}

async fn logout_all(State(app): State<Arc<App>>, Person(user): Person) -> Answer {
    let revoked = app.store.revoke_all_django(user.id, app.clock.now_ms())?;
    Ok(json_answer(
        StatusCode::OK,
        json!({ "revoked_count": revoked }),
    ))
}

async fn me(Person(user): Person) -> Response {
    json_answer(StatusCode::OK, json!(user))
}

/// Django's `APPEND_SLASH`: also for POST, which a browser then repeats as GET.
async fn append_slash(uri: Uri) -> Response {
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

fn noted(mut response: Response, seen: Option<Seen>) -> Response {
    if let Some(seen) = seen {
        response.extensions_mut().insert(seen);
    }
    response
}
