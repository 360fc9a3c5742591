//! FOR TESTS ONLY: rules that make the server fail on purpose. Without the flag
//! `--faults` no rule is ever consulted and no route can set one.

use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

const LOGIN_PAGE: &str = "<!doctype html><title>Sign in</title><h1>Sign in</h1>\
    <form method=post><input name=email><input name=password type=password><button>Sign in</button></form>";

/// One rule. The first rule that matches a request and still has `times` left
/// decides about it.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fault {
    /// A prefix of "METHOD path", or "*".
    #[serde(rename = "match")]
    pub(crate) pattern: String,
    /// How many requests it still hits; none, all of them.
    pub(crate) times: Option<u64>,
    /// How many matching requests pass before it starts.
    pub(crate) skip: u64,
    /// Pause before the work, in ms.
    pub(crate) delay_ms: u64,
    /// Pause between the work and the answer, in ms.
    pub(crate) delay_after_ms: u64,
    pub(crate) status: Option<u16>,
    pub(crate) body: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) retry_after: Option<String>,
    /// Close the connection without an answer.
    pub(crate) drop: Option<Drop>,
    /// Answer 200 with a login page.
    pub(crate) html: bool,
    /// Cut the body in half.
    pub(crate) truncate: bool,
    pub(crate) no_cors: bool,
    pub(crate) no_expose: bool,
    /// Redirect there (302 unless `status` says otherwise).
    pub(crate) redirect: Option<String>,
    /// Do the real work even though the answer is replaced.
    pub(crate) commit: bool,
}

/// When a connection is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Drop {
    /// Before the request is worked on.
    Before,
    /// After its work was committed.
    After,
}

/// The rules in force.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Rules>);

#[derive(Default)]
struct Rules {
    last_id: u64,
    rules: Vec<Rule>,
}

/// A rule as `GET /__test/faults` shows it.
#[derive(Clone, Serialize)]
pub(crate) struct Rule {
    id: u64,
    #[serde(flatten)]
    fault: Fault,
    /// How many requests it has hit.
    hits: u64,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) -> u64 {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.last_id += 1;
        let id = rules.last_id;
        rules.rules.push(Rule { id, fault, hits: 0 });
        id
    }

    pub(crate) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rules
            .clear();
    }

    pub(crate) fn list(&self) -> Vec<Rule> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rules
            .clone()
    }

    /// The fault that hits this request, if any.
    pub(crate) fn take(&self, method: &Method, path: &str) -> Option<Fault> {
        let line = format!("{method} {path}");
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.rules.iter_mut().find_map(|rule| rule.take(&line))
    }
}

impl Rule {
    fn take(&mut self, line: &str) -> Option<Fault> {
        let fault = &mut self.fault;
        let fits = fault.pattern == "*" || line.starts_with(&fault.pattern);
        if !fits || fault.times == Some(0) {
            return None;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        self.hits += 1;
        Some(fault.clone())
    }
}

impl Fault {
    /// The answer that stands in for the real one, if the rule brings one.
    pub(crate) fn canned(&self) -> Option<Response> {
        let (default_status, body, content_type) = match self {
            Self {
                redirect: Some(_), ..
            } => (StatusCode::FOUND, "", "text/html"),
            Self { html: true, .. } => (StatusCode::OK, LOGIN_PAGE, "text/html; charset=utf-8"),
            Self {
                body: Some(body), ..
            } => (StatusCode::OK, body.as_str(), "application/json"),
            Self {
                status: Some(_), ..
            } => (StatusCode::OK, "", "text/plain"),
            Self {
                retry_after: Some(_),
                ..
            } => (StatusCode::SERVICE_UNAVAILABLE, "", "text/plain"),
            _ => return None,
        };
        let status = self
            .status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(default_status);
        let mut response = (status, body.to_owned()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        set(headers, RETRY_AFTER, self.retry_after.as_deref());
        set(headers, LOCATION, self.redirect.as_deref());
        Some(response)
    }

    /// Damages an answer that is about to be sent.
    pub(crate) async fn spoil(&self, mut response: Response) -> Response {
        set(
            response.headers_mut(),
            CONTENT_TYPE,
            self.content_type.as_deref(),
        );
        if !self.truncate {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(CONTENT_LENGTH);
        let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let half = whole.slice(..whole.len() / 2);
        Response::from_parts(parts, Body::from(half))
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}
