//! Protected resources. Each takes an access token of any of the three kinds
//! and refuses a dead one in that kind's own words.

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
use crate::limits::Bucket;
use crate::store::{Known, User};
use crate::{App, django, oauth2, sanctum, secret};

/// The paths of this file's routes.
pub(crate) const PATHS: [&str; 5] = [
    "/api/bookings",
    "/api/echo",
    "/api/slow",
    "/api/always-401",
    "/api/redirect",
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
        let user = authenticate(app, &parts.headers)?;
        let limit = app.options.requests_per_minute;
        app.limits
            .hit(Bucket::Request, &user.email, limit, app.clock.now_ms())
            .map_err(|exceeded| too_many(&exceeded, json!({ "message": "Too Many Attempts." })))?;
        Ok(Self(user))
    }
}

fn authenticate(app: &App, headers: &HeaderMap) -> Result<User, Response> {
    let now = app.clock.now_ms();
    let Some(token) = bearer(headers) else {
        return Err(challenge("Bearer realm=\"keepfresh\""));
    };
    match app.store.find(token).map_err(IntoResponse::into_response)? {
        Some(Known::Sanctum(token)) => sanctum::check(app, &token, now).map(|()| token.user),
        Some(Known::Grant(token)) if token.is_access() && token.is_live(now) => Ok(token.user),
        Some(Known::Grant(token)) if token.kind == "django" => Err(django::unauthorized()),
        Some(Known::Grant(token)) => Err(oauth2::invalid_token(token.expires_at <= now)),
        None => Err(challenge(
            "Bearer realm=\"keepfresh\", error=\"invalid_token\"",
        )),
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
