//! What every API request passes through: CORS, the wire counts, the faults and
//! the Date header.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, DATE, ORIGIN, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::answer::message;
use crate::faults::{Drop, Fault};
use crate::listen::Connection;
use crate::wire::{self, Arrival, End, Seen};
use crate::{App, cookie, cors};

/// Longest request body, in bytes.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// The answer, with the fault that touched it; none, the connection is dropped.
type Outcome = Option<(Response, Option<Fault>)>;

/// The middleware around the API's router.
pub(crate) async fn gate(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let page = origin.map(|origin| {
        let trust = cors::trust(&app, &origin, request.uri().path());
        (origin, trust)
    });
    let (mut response, fault) = if cors::is_preflight(&request) {
        (cors::preflight(request.headers()), None)
    } else {
        // A task of its own: like PHP or Django, the server finishes what it
        // began even when the client hangs up.
        match tokio::spawn(handle(app.clone(), request, next)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                connection.close();
                std::future::pending().await
            }
            Err(_) => (
                message(StatusCode::INTERNAL_SERVER_ERROR, "Server Error"),
                None,
            ),
        }
    };
    let (hide, unexposed) = fault.map_or((false, false), |fault| (fault.no_cors, fault.no_expose));
    let headers = response.headers_mut();
    if !hide {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some((origin, trust)) = &page {
            cors::allow(headers, origin, *trust, !unexposed);
        }
    }
    headers.insert(DATE, app.clock.http_date());
    response
}

async fn handle(app: Arc<App>, request: Request, next: Next) -> Outcome {
    if is_backstage(request.uri().path()) {
        return Some((next.run(request).await, None));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return Some((
            message(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large."),
            None,
        ));
    };
    let ticket = app
        .wire
        .begin(arrival(&app, &parts, &body), app.clock.now_ms());
    let fault = if app.options.faults {
        app.faults.take(&parts.method, parts.uri.path())
    } else {
        None
    };
    let Some(fault) = fault else {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        app.wire
            .end(ticket, &End::Answered(response.status()), seen(&response));
        return Some((response, None));
    };
    let request = Request::from_parts(parts, Body::from(body));
    let (end, response) = with_fault(&fault, request, next).await;
    app.wire.end(ticket, &end, response.as_ref().and_then(seen));
    match (end, response) {
        (End::Answered(_), Some(response)) => Some((response, Some(fault))),
        _ => None,
    }
}

/// Runs one request under a fault. The response is there even when it is
/// dropped afterwards, since the work behind it was done.
async fn with_fault(fault: &Fault, request: Request, next: Next) -> (End, Option<Response>) {
    pause(fault.delay_ms).await;
    if fault.drop == Some(Drop::Before) {
        return (End::Dropped { committed: None }, None);
    }
    let mut response = match fault.canned() {
        Some(canned) if !fault.commit => canned,
        canned => {
            let real = next.run(request).await;
            canned.unwrap_or(real)
        }
    };
    pause(fault.delay_after_ms).await;
    if fault.drop == Some(Drop::After) {
        return (
            End::Dropped {
                committed: Some(response.status()),
            },
            Some(response),
        );
    }
    response = fault.spoil(response).await;
    (End::Answered(response.status()), Some(response))
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// Routes for whoever runs a test; not part of what is being tested.
fn is_backstage(path: &str) -> bool {
    path == "/wire" || path.starts_with("/__test/")
}

fn seen(response: &Response) -> Option<Seen> {
    response.extensions().get().cloned()
}

fn arrival(app: &App, parts: &Parts, body: &Bytes) -> Arrival {
    let token = bearer(&parts.headers).or_else(|| cookie::access(&parts.headers));
    let seen = match token {
        None => Seen {
            token: "none".to_owned(),
            user: None,
        },
        Some(token) => match app.store.find(token) {
            Ok(Some(known)) => Seen::of(&known),
            _ => Seen {
                token: "unknown".to_owned(),
                user: None,
            },
        },
    };
    Arrival {
        call: wire::classify(
            &parts.method,
            parts.uri.path(),
            parts.uri.query().unwrap_or_default(),
            body,
        ),
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        origin: parts
            .headers
            .get(ORIGIN)
            .and_then(|origin| origin.to_str().ok())
            .map(str::to_owned),
        seen,
        body_sha256: crate::secret::sha256(body),
    }
}

/// The token of an `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
