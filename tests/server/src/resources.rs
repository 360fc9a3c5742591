//! Protected resources. Each takes an access token of any kind, as Bearer or in
//! its cookie, and refuses a dead one in that kind's own words.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, message, too_many};
use crate::gate::bearer;
use crate::kind::Kind;
use crate::limits::Bucket;
use crate::store::{GrantToken, Known, User};
use crate::{App, cookie, django, gotrue, oauth2, sanctum, secret, simplejwt};

/// The paths of protected resources: this file's routes and GoTrue's neighbour.
pub(crate) const PATHS: [&str; 6] = [
    "/api/bookings",
    "/api/echo",
    "/api/slow",
    "/api/always-401",
    "/api/redirect",
    "/supabase/rest/v1/bookings",
];

/// Longest pause of `/api/slow`, in ms.
const SLOWEST_MS: u64 = 120_000;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/bookings", get(bookings))
        .route("/api/echo", any(echo))
        .route("/api/slow", get(slow))
        .route("/api/always-401", any(always_401))
        .route("/api/redirect", any(redirect))
}

/// The person behind a valid access token; its absence is the answer itself.
pub(crate) struct Person(pub(crate) User);

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let user = authenticate(app, parts)?;
        let limit = app.options.requests_per_minute;
        app.limits
            .hit(Bucket::Request, &user.email, limit, app.clock.now_ms())
            .map_err(|exceeded| too_many(&exceeded, json!({ "message": "Too Many Attempts." })))?;
        Ok(Self(user))
    }
}

fn authenticate(app: &App, parts: &Parts) -> Result<User, Response> {
    let now = app.clock.now_ms();
    let in_header = bearer(&parts.headers);
    let Some(token) = in_header.or_else(|| cookie::access(&parts.headers)) else {
        return Err(challenge("Bearer realm=\"keepfresh\""));
    };
    if in_header.is_none() && !parts.method.is_safe() {
        cookie::check_csrf(app, &parts.headers)?;
    }
    let unknown = || challenge("Bearer realm=\"keepfresh\", error=\"invalid_token\"");
    match app.store.find(token).map_err(IntoResponse::into_response)? {
        Some(Known::Sanctum(token)) => sanctum::check(app, &token, now).map(|()| token.user),
        // What belongs into a cookie counts nowhere else.
        Some(Known::Grant(token)) if (token.kind == Kind::Cookie) != in_header.is_none() => {
            Err(unknown())
        }
        Some(Known::Grant(token)) if token.is_access() && token.is_live(now) => Ok(token.user),
        Some(Known::Grant(token)) => Err(dead(app, &token, now)),
        None => Err(unknown()),
    }
}

fn dead(app: &App, token: &GrantToken, now: i64) -> Response {
    match token.kind {
        Kind::Django => django::unauthorized(),
        Kind::OAuth2 => oauth2::invalid_token(token.expires_at <= now),
        Kind::Passport | Kind::Cookie => message(StatusCode::UNAUTHORIZED, "Unauthenticated."),
        Kind::SimpleJwt => simplejwt::unauthorized(token.expires_at <= now),
        Kind::GoTrue => gotrue::dead(app, token, now),
    }
}

/// For no token, or one that is of no known kind.
fn challenge(header: &'static str) -> Response {
    let mut response = message(StatusCode::UNAUTHORIZED, "Unauthenticated.");
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(header));
    response
}

async fn bookings(State(app): State<Arc<App>>, Person(user): Person) -> Answer {
    let bookings = app.store.bookings(user.id)?;
    Ok(Json(json!({ "data": bookings })).into_response())
}

async fn echo(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Person(user): Person,
    body: Bytes,
) -> Response {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    Json(json!({
        "method": method.as_str(),
        "query": uri.query().unwrap_or_default(),
        "content_type": content_type,
        "length": body.len(),
        "sha256": secret::sha256(&body),
        "user": user,
    }))
    .into_response()
}

#[derive(Deserialize)]
struct SlowQuery {
    #[serde(default)]
    ms: u64,
}

async fn slow(Person(user): Person, Query(query): Query<SlowQuery>) -> Response {
    let waited = query.ms.min(SLOWEST_MS);
    tokio::time::sleep(Duration::from_millis(waited)).await;
    Json(json!({ "waited_ms": waited, "user": user })).into_response()
}

async fn always_401() -> Response {
    message(StatusCode::UNAUTHORIZED, "Unauthenticated.")
}

#[derive(Deserialize)]
struct RedirectQuery {
    to: String,
    status: Option<u16>,
}

async fn redirect(Person(_): Person, Query(query): Query<RedirectQuery>) -> Response {
    let status = match query.status {
        None => StatusCode::FOUND,
        Some(status @ (301 | 302 | 303 | 307 | 308)) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND)
        }
        Some(_) => {
            return message(
                StatusCode::UNPROCESSABLE_ENTITY,
                "That is not the status of a redirect.",
            );
        }
    };
    match HeaderValue::from_str(&query.to) {
        Ok(location) => (status, [(LOCATION, location)]).into_response(),
        Err(_) => message(
            StatusCode::UNPROCESSABLE_ENTITY,
            "That cannot be a Location.",
        ),
    }
}
