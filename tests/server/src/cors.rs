//! CORS for pages on loopback, whatever their port. Cookies, and `/cookie/`, are
//! for fewer of them.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::App;

const ALWAYS_ALLOWED: &str = "Authorization, Content-Type, Accept";
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// Without these a page on another origin can read neither the clock nor the
/// reason of a refusal nor the length of a pause.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Date, Retry-After, WWW-Authenticate, X-Sb-Error-Code");
/// Seconds that a browser may remember a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

pub(crate) fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight, still without the origin (see [`allow`]).
pub(crate) fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    let wanted = asked
        .get(ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|wanted| wanted.to_str().ok());
    let allowed = wanted.map_or(ALWAYS_ALLOWED.to_owned(), |wanted| {
        format!("{ALWAYS_ALLOWED}, {wanted}")
    });
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

/// What the pages of an origin may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Read no answer.
    None,
    /// Read answers to requests without cookies.
    Read,
    /// Send cookies along.
    Credentials,
}

/// What a page of `origin` may do at `path`. Without CORS no such page gets a
/// preflight through, and so cannot send the header that unsafe requests with
/// cookies need.
pub(crate) fn trust(app: &App, origin: &HeaderValue, path: &str) -> Trust {
    let Some(origin) = origin.to_str().ok().filter(|origin| is_loopback(origin)) else {
        return Trust::None;
    };
    let listed = app.www.is_some_and(|www| origin == format!("http://{www}"));
    if listed || app.options.faults && !app.switches().strict_origins {
        Trust::Credentials
    } else if path.starts_with("/cookie/") {
        Trust::None
    } else {
        Trust::Read
    }
}

/// Lets an origin read the answer; with `expose` its useful headers too.
pub(crate) fn allow(headers: &mut HeaderMap, origin: &HeaderValue, trust: Trust, expose: bool) {
    if trust == Trust::None {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if trust == Trust::Credentials {
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    if expose {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn is_loopback(origin: &str) -> bool {
    let Some(host_port) = origin.strip_prefix("http://") else {
        return false;
    };
    ["127.0.0.1", "localhost", "[::1]"]
        .into_iter()
        .any(|host| match host_port.strip_prefix(host) {
            Some("") => true,
            Some(rest) => rest
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok()),
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_origins() {
        for origin in [
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:1",
        ] {
            assert!(is_loopback(origin), "{origin}");
        }
        for origin in [
            "https://127.0.0.1",
            "http://127.0.0.1.evil.test",
            "http://localhost:x",
            "null",
            "http://evil",
        ] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }
}
