//! The static listener: pages on an origin of their own, and a sink that plays
//! the foreign server no token may ever reach.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, DATE, ORIGIN,
};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use crate::answer::{Failure, message};
use crate::wire::{Arrival, Call, End, Seen};
use crate::{App, cors, secret};

/// Longest body that the sink takes, in bytes.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// Where the API listens.
#[derive(Clone, Copy)]
struct ApiAddress(SocketAddr);

pub(crate) fn router(app: Arc<App>, api: SocketAddr) -> Router {
    Router::new()
        .route("/demo.json", get(demo))
        .route("/sink/", any(sink))
        .route("/sink/{*path}", any(sink))
        .fallback(get(file))
        .layer(from_fn_with_state(app.clone(), headers))
        .layer(Extension(ApiAddress(api)))
        .with_state(app)
}

async fn headers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // Always asked for anew; `no-store` would keep the pages out of the back-forward cache.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(DATE, app.clock.http_date());
    response
}

/// What a page needs to know about the server it was served with.
async fn demo(State(app): State<Arc<App>>, Extension(api): Extension<ApiAddress>) -> Json<Value> {
    let lifetimes = app.lifetimes();
    Json(json!({
        "api": format!("http://{}", api.0),
        "faults": app.options.faults,
        "short_lived": lifetimes.short_lived,
        "long_lived": lifetimes.long_lived,
        "access_lifetime": lifetimes.access,
    }))
}

/// Takes anything from anywhere and tells `/wire` if a token came along.
async fn sink(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = if cors::is_preflight(&request) {
        cors::preflight(request.headers())
    } else {
        let (parts, body) = request.into_parts();
        match to_bytes(body, BODY_LIMIT).await {
            Ok(body) => note(&app, &parts, &body)?,
            Err(_) => message(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large."),
        }
    };
    let anyone = HeaderValue::from_static("*");
    response
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.unwrap_or(anyone));
    Ok(response)
}

fn note(app: &App, parts: &Parts, body: &Bytes) -> Result<Response, Failure> {
    let foreign = parts.headers.contains_key(AUTHORIZATION) || carries_token(app, parts, body)?;
    if foreign {
        app.wire.foreign_token();
    }
    let token = if foreign { "unknown" } else { "none" };
    let arrival = Arrival {
        call: Call::Sink,
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        origin: parts
            .headers
            .get(ORIGIN)
            .and_then(|origin| origin.to_str().ok())
            .map(str::to_owned),
        seen: Seen {
            token: token.to_owned(),
            user: None,
        },
        body_sha256: secret::sha256(body),
    };
    let ticket = app.wire.begin(arrival, app.clock.now_ms());
    app.wire.end(ticket, &End::Answered(StatusCode::OK), None);
    Ok(Json(json!({ "ok": true })).into_response())
}

/// Looks at the URL, the headers and the body. Not at cookies: those go to every
/// port of a host, and it is not the page that sends them.
fn carries_token(app: &App, parts: &Parts, body: &Bytes) -> Result<bool, Failure> {
    let url = parts.uri.to_string();
    let headers = parts
        .headers
        .iter()
        .filter(|(name, _)| *name != COOKIE)
        .map(|(_, value)| String::from_utf8_lossy(value.as_bytes()));
    let texts = headers.chain([url.into(), String::from_utf8_lossy(body)]);
    for text in texts {
        if app.store.occurs_in(&text)? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn file(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(path) = locate(&app, request.uri().path()) else {
        return not_found();
    };
    match tokio::fs::read(&path).await {
        Ok(content) => ([(CONTENT_TYPE, mime(&path))], content).into_response(),
        Err(_) => not_found(),
    }
}

/// The file behind a URL path; none if it would leave the folder.
fn locate(app: &App, url_path: &str) -> Option<PathBuf> {
    let (root, rest) = match url_path.strip_prefix("/keepfresh/") {
        Some(rest) => (app.options.pkg.as_ref()?, rest),
        None => (app.options.www.as_ref()?, url_path.strip_prefix('/')?),
    };
    // Names with a percent sign are none of ours, so nothing is decoded.
    let relative = Path::new(rest);
    let inside = relative
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    let file = root.join(relative);
    let index = rest.is_empty() || rest.ends_with('/');
    inside.then(|| if index { file.join("index.html") } else { file })
}

fn mime(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt" | "md" | "ts") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Not Found").into_response()
}
