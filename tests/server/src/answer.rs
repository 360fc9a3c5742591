//! Small helpers for answers, and what becomes of an error inside a handler.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::limits::Exceeded;

/// What a handler gives back.
pub(crate) type Answer = Result<Response, Failure>;

/// Something inside the server broke; the client learns no more than that.
pub(crate) enum Failure {
    Database(rusqlite::Error),
    Random(getrandom::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<getrandom::Error> for Failure {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => write!(f, "database: {error}"),
            Self::Random(error) => write!(f, "random numbers: {error}"),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("keepfresh-server: {self}");
        json_answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "message": "Server Error" }),
        )
    }
}

pub(crate) fn json_answer(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

/// `{"message": …}`, as Laravel says most things.
pub(crate) fn message(status: StatusCode, text: &str) -> Response {
    json_answer(status, json!({ "message": text }))
}

/// 429 as Laravel's throttle middleware answers it, with a body of the caller's.
pub(crate) fn too_many(exceeded: &Exceeded, body: Value) -> Response {
    let mut response = json_answer(StatusCode::TOO_MANY_REQUESTS, body);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(exceeded.retry_after));
    headers.insert(
        HeaderName::from_static("x-ratelimit-limit"),
        HeaderValue::from(exceeded.limit),
    );
    headers.insert(
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderValue::from(0),
    );
    response
}
